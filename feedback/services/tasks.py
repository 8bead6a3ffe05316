"""Tasks: make, edit, open, close."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, IntegerField, OuterRef, Subquery, Value
from django.db.models.functions import Coalesce, Greatest

from ..exceptions import Conflict, InvalidInput, WrongState
from ..models import (
    Assignment,
    AssignmentState,
    AuditEvent,
    Budget,
    GuidelineVersion,
    Instance,
    Project,
    QuestionsDraft,
    Task,
    TaskState,
    User,
)
from ..questions import parse_questions
from . import people
from .questions import canonical_questions, keep_readable, write_version
from .queue import line

ABILITIES = ("languages", "skills")
EDITABLE = {
    *("name", "description", "questions", "overlap", "plan_only", "lease_minutes", "human_price_micros"),
    *ABILITIES,
}


def create_task(
    project: Project,
    name: str,
    questions: object,
    *,
    actor: User,
    guideline: str = "",
    budget_micros: int = 0,
    **fields: Any,
) -> Task:
    """Make a task in draft with its first guideline version and budget. Raises InvalidInput, Conflict."""
    stored = canonical_questions(questions)
    fields = _checked(fields)
    try:
        with transaction.atomic():
            task = Task.objects.create(project=project, name=name, questions=stored, created_by=actor, **fields)
            write_version(task, task.questions_version, stored, actor=actor)
            QuestionsDraft.objects.create(task=task, updated_by=actor)
            Budget.objects.create(task=task, cap_micros=budget_micros)
            set_guideline(task, guideline, actor=actor)
            AuditEvent.write("task.create", actor=actor, project=project, subject=name)
    except IntegrityError as error:
        raise Conflict(f"This project already has a task named {name!r}.") from error
    return task


def set_guideline(task: Task, text: str, *, actor: User) -> GuidelineVersion:
    """Add a guideline version; assignments lent from now on carry it."""
    with transaction.atomic():
        last = task.guidelines.select_for_update(no_key=True).order_by("-number").first()
        version = GuidelineVersion.objects.create(
            task=task, number=last.number + 1 if last else 1, text=text, created_by=actor
        )
        task.guideline = version
        task.save(update_fields=["guideline"])
    return version


def edit_task(task: Task, *, actor: User, accept_misfits: bool = False, **fields: Any) -> Task:
    """Change a task. New questions become a new version; answers keep the version they were made under.

    Raises InvalidInput, AnswersMisfit when stored answers would no longer fit and that is not accepted, and Conflict.
    """
    fields = _checked(fields)
    if "questions" in fields:
        fields["questions"] = canonical_questions(fields["questions"])
        keep_readable(task, fields["questions"], accept_misfits=accept_misfits)
    try:
        with transaction.atomic():
            _store(task, fields, actor)
    except IntegrityError as error:
        raise Conflict("This project already has a task of that name.") from error
    return Task.objects.get(pk=task.pk)


def _store(task: Task, fields: dict[str, Any], actor: User) -> None:
    now = Task.objects.select_for_update(no_key=True).get(pk=task.pk)
    if "questions" in fields and parse_questions(fields["questions"]) != now.parsed_questions:
        fields["questions_version"] = now.questions_version + 1
        write_version(now, fields["questions_version"], fields["questions"], actor=actor)
    Task.objects.filter(pk=task.pk).update(**fields)
    if "overlap" in fields and not fields.get("plan_only", now.plan_only):
        _follow_overlap(task, fields["overlap"])
    AuditEvent.write("task.edit", actor=actor, project=task.project, subject=task.name, fields=sorted(fields))


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields as they are stored. Raises InvalidInput."""
    unknown = sorted(set(fields) - EDITABLE)
    if unknown:
        raise InvalidInput(errors=dict.fromkeys(unknown, "This cannot be set."))
    limits = {"overlap": (1, 100), "lease_minutes": (1, 1440), "human_price_micros": (0, 10**12)}
    errors = {
        name: f"Must be between {low:,} and {high:,}."
        for name, (low, high) in limits.items()
        if name in fields and not low <= fields[name] <= high
    }
    if errors:
        raise InvalidInput(errors=errors)
    return fields | people.abilities(*(fields.get(name) for name in ABILITIES))


def _follow_overlap(task: Task, overlap: int) -> None:
    """Open the slots that the new overlap leaves: overlap minus what is lent or submitted, never below zero.

    The instances are locked first, in a statement of its own: one that is being lent right now is then counted.
    """
    line.reform(task.pk)
    locked = (
        Instance.objects.select_for_update(no_key=True).filter(task=task).order_by("pk").values_list("pk", flat=True)
    )
    for _ in locked.iterator(chunk_size=10_000):
        pass
    taken = (
        Assignment.objects.filter(instance=OuterRef("pk"), state__in=[AssignmentState.LENT, AssignmentState.SUBMITTED])
        .order_by()
        .values("instance")
        .annotate(count=Count("pk"))
        .values("count")
    )
    left = Value(overlap) - Coalesce(Subquery(taken, output_field=IntegerField()), Value(0))
    Instance.objects.filter(task=task).update(
        open_slots=Greatest(left, Value(0)), owed=Greatest(Value(0) - left, Value(0))
    )


def open_task(task: Task, *, actor: User) -> None:
    """Let people label. Raises WrongState for a task without instances."""
    if not task.instances.exists():
        raise WrongState("Import instances before you open the task.")
    _set_state(task, TaskState.OPEN, actor)


def close_task(task: Task, *, actor: User) -> None:
    _set_state(task, TaskState.CLOSED, actor)


@transaction.atomic
def _set_state(task: Task, state: TaskState, actor: User) -> None:
    task.state = state
    task.save(update_fields=["state"])
    AuditEvent.write(f"task.{state}", actor=actor, project=task.project, subject=task.name)
