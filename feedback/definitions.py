"""A task's definition as one JSON document: what is exported, imported, and what presets are.

It holds what the task asks and how its queue works. It holds no money: prices and budgets belong to a project and its
currency.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from feedback.abilities import MAX_LANGUAGES, MAX_SKILL, MAX_SKILLS, MAX_TAG
from feedback.questions import InvalidQuestions, Question, Strict, parse_questions, sentences

FORMAT, SCHEMA_VERSION = "tiebreak-task", 1


class InvalidDefinition(InvalidQuestions):
    """A document is no definition of a task. ``errors`` maps a path such as ``questions.0.title`` to a sentence."""


class Definition(Strict):
    """What a task asks and how its queue works, with the version of this schema."""

    format: Literal["tiebreak-task"]
    schema_version: Literal[1]
    name: str = Field(min_length=1, max_length=120)
    description: str = Field(default="", max_length=4000)
    source: str = Field(default="", max_length=2000, description="Where these questions come from, in a sentence.")
    questions: Annotated[list[Question], Field(min_length=1, max_length=30)]
    guideline: str = Field(default="", max_length=100_000, description="Markdown.")
    overlap: int = Field(default=1, ge=1, le=100, description="How many people label each instance.")
    plan_only: bool = Field(default=False, description="People label only what a routing plan sends them.")
    lease_minutes: int = Field(default=30, ge=1, le=1440, description="How long an instance stays with a person.")
    languages: list[Annotated[str, Field(max_length=MAX_TAG)]] = Field(
        default=[], max_length=MAX_LANGUAGES, description="BCP 47 tags that everybody who labels must read."
    )
    skills: list[Annotated[str, Field(max_length=MAX_SKILL)]] = Field(
        default=[], max_length=MAX_SKILLS, description="What everybody who labels must have."
    )

    @field_validator("name")
    @classmethod
    def _name_says_something(cls, name: str) -> str:
        if not name.strip():
            raise ValueError("must not be blank")
        return name.strip()

    def stored_questions(self) -> list[dict[str, Any]]:
        return [question.model_dump() for question in self.questions]


def parse_definition(raw: object) -> Definition:
    """Validate a parsed JSON document. Raises InvalidDefinition with a sentence for each bad field."""
    if not isinstance(raw, dict):
        raise InvalidDefinition({"definition": "must be one JSON object"})
    if raw.get("format") != FORMAT:
        raise InvalidDefinition({"format": f"this is no definition of a task: the format must be {FORMAT!r}"})
    if raw.get("schema_version") != SCHEMA_VERSION:
        raise InvalidDefinition({"schema_version": f"only version {SCHEMA_VERSION} can be read"})
    try:
        definition = Definition.model_validate(raw)
        parse_questions(raw["questions"])
    except ValidationError as error:
        raise InvalidDefinition(sentences(error)) from error
    except InvalidQuestions as error:
        raise InvalidDefinition({f"questions.{path}": words for path, words in error.errors.items()}) from error
    return definition


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a definition."""
    schema = Definition.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Definition of a task"}
