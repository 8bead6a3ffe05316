"""A task out of its definition, and a definition out of a task."""

from __future__ import annotations

from ..definitions import FORMAT, SCHEMA_VERSION, Definition, InvalidDefinition, parse_definition
from ..exceptions import InvalidInput
from ..models import Project, Task, User
from ..text import InvalidText, check_texts
from . import tasks

SETTINGS = ("description", "overlap", "plan_only", "lease_minutes", "languages", "skills")


def checked(raw: object) -> Definition:
    """A definition from outside. Raises InvalidInput with a sentence for each bad field."""
    try:
        check_texts(raw)
        return parse_definition(raw)
    except InvalidText as error:
        raise InvalidInput(
            "This is no definition of a task.", errors={error.path: f"The text {error.reason}."}
        ) from error
    except InvalidDefinition as error:
        raise InvalidInput("This is no definition of a task.", errors=error.errors) from error


def create_from(project: Project, definition: Definition, *, actor: User) -> Task:
    """Make a task in draft that asks what the definition says. Raises InvalidInput, Conflict."""
    settings = {name: getattr(definition, name) for name in SETTINGS}
    questions = definition.stored_questions()
    return tasks.create_task(
        project, definition.name, questions, actor=actor, guideline=definition.guideline, **settings
    )


def definition_of(task: Task) -> dict[str, object]:
    """What :func:`create_from` makes the same task of: a JSON document."""
    return {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "name": task.name,
        **{name: getattr(task, name) for name in SETTINGS},
        "questions": task.questions,
        "guideline": task.guideline.text if task.guideline else "",
    }
