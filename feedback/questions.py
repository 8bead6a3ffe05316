"""The typed questions a task asks.

A task stores a list of questions (JSON), which passes through the models here and nowhere else, so what is stored
always fits. What may be answered is in ``feedback/answers.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import ErrorDetails

from feedback.wording import Sentence

MAX_TEXT = 100_000
MAX_STEPS = 11  # more buttons than this in a row are no longer a scale that one can read
NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
BOTH_BAD, CANNOT_JUDGE, TIE = "both-bad", "cannot-judge", "tie"

# adverbs from the middle outwards; a question of n steps uses the row with n // 2 of them
_ADVERBS: dict[int, tuple[str, ...]] = {
    3: ("",),
    5: ("slightly-", "clearly-"),
    7: ("slightly-", "", "clearly-"),
    9: ("slightly-", "", "clearly-", "overwhelmingly-"),
}


@cache
def preference_values(steps: int) -> tuple[str, ...]:
    """The preference values of a question with ``steps`` steps, from A to B: ``('a-is-clearly-better', …)``."""
    adverbs = _ADVERBS[steps]
    left = tuple(f"a-is-{adverb}better" for adverb in reversed(adverbs))
    right = tuple(f"b-is-{adverb}better" for adverb in adverbs)
    return (*left, TIE, *right)


def strength(value: str, steps: int) -> int | None:
    """Signed strength of a preference value: negative for A, 0 for a tie, positive for B.

    ``None`` for ``both-bad`` and ``cannot-judge``, which say nothing about the order.
    Raises ValueError for a value that a question with ``steps`` steps does not have.
    """
    if value in (BOTH_BAD, CANNOT_JUDGE):
        return None
    return preference_values(steps).index(value) - steps // 2


def value_of_strength(signed: int, steps: int) -> str:
    """Inverse of :func:`strength`. Raises IndexError when ``|signed| > steps // 2``."""
    if abs(signed) > steps // 2:
        raise IndexError(f"strength {signed} needs more than {steps} steps")
    return preference_values(steps)[signed + steps // 2]


class InvalidAnswer(ValueError):
    """An answer does not fit its question. ``errors`` maps a path such as ``overall.value`` to a sentence."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        self.errors = dict(errors)
        super().__init__("; ".join(f"{path}: {message}" for path, message in self.errors.items()))


class InvalidQuestions(InvalidAnswer):
    """A task's questions do not fit the schema."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_max_length=MAX_TEXT)


class Condition(Strict):
    """Ask only when an earlier choice or preference has one of these values. A chain of conditions has no circle then.

    Values of a preference are those of the stored order: ``a-is-better`` names completion 0, wherever it stood.
    """

    question: str
    values: list[str] = Field(min_length=1, max_length=50)


class QuestionBase(Strict):
    name: str = Field(max_length=64)
    title: str = Field(min_length=1, max_length=300)
    description: str = Field(default="", max_length=4000)
    required: bool = True
    when: Condition | None = None

    @model_validator(mode="after")
    def _name_is_an_identifier(self) -> QuestionBase:
        if not NAME.fullmatch(self.name):
            raise ValueError("name must start with a letter and hold only a-z, 0-9, _ and -")
        return self


class PreferenceQuestion(QuestionBase):
    kind: Literal["preference"]
    steps: Literal[3, 5, 7, 9] = 5
    allow_both_bad: bool = True
    allow_cannot_judge: bool = False
    aspects: list[Annotated[str, Field(min_length=1, max_length=60)]] = Field(default=[], max_length=8)
    ask_confidence: bool = False
    reasons: list[Annotated[str, Field(min_length=1, max_length=120)]] = Field(default=[], max_length=20)
    allow_other_reason: bool = True

    def values(self) -> tuple[str, ...]:
        extra = (BOTH_BAD,) * self.allow_both_bad + (CANNOT_JUDGE,) * self.allow_cannot_judge
        return (*preference_values(self.steps), *extra)


class RankingQuestion(QuestionBase):
    kind: Literal["ranking"]
    allow_ties: bool = True
    allow_partial: bool = False
    allow_unacceptable: bool = True


class Scale(Strict):
    """One aspect to rate, from ``low`` to ``high`` in whole numbers; ``weight`` counts in a rubric's total."""

    name: str = Field(min_length=1, max_length=60)
    low: int = Field(default=1, ge=0, le=100)
    high: int = Field(default=5, ge=1, le=100)
    weight: float = Field(default=1.0, ge=0, le=1000)
    labels: list[Annotated[str, Field(max_length=120)]] = Field(default=[], max_length=101)

    @model_validator(mode="after")
    def _low_is_below_high(self) -> Scale:
        if self.low >= self.high:
            raise ValueError("low must be below high")
        if len(self.labels) not in (0, 2, self.steps):
            raise ValueError(f"needs no labels, 2 for the ends, or {self.steps} for all values")
        return self

    @property
    def steps(self) -> int:
        return self.high - self.low + 1


class RatingQuestion(QuestionBase):
    kind: Literal["rating"]
    per: Literal["completion", "instance"] = "completion"
    widget: Literal["likert", "slider", "rubric"] = "likert"
    scales: list[Scale] = Field(min_length=1, max_length=12)

    @model_validator(mode="after")
    def _scales_can_be_shown(self) -> RatingQuestion:
        names = [scale.name for scale in self.scales]
        if len(set(names)) < len(names):
            raise ValueError("two scales have the same name")
        wide = next((scale for scale in self.scales if scale.steps > MAX_STEPS), None)
        if wide and self.widget != "slider":
            raise ValueError(f"{wide.name!r} has {wide.steps} values; more than {MAX_STEPS} need the slider")
        return self


class SpanType(Strict):
    name: str = Field(min_length=1, max_length=80)
    subtypes: list[Annotated[str, Field(min_length=1, max_length=80)]] = Field(default=[], max_length=40)


class SpanQuestion(QuestionBase):
    kind: Literal["span"]
    types: list[SpanType] = Field(min_length=1, max_length=40)
    severities: dict[Annotated[str, Field(max_length=40)], float] = Field(default={}, max_length=10)
    on_prompt: bool = False
    on_media: bool = False
    allow_overlap: bool = True
    allow_missing: bool = False
    required: bool = False


class CritiqueQuestion(QuestionBase):
    kind: Literal["critique"]
    ask_refinement: bool = False
    required: bool = False


class ChoiceQuestion(QuestionBase):
    kind: Literal["choice"]
    options: list[Annotated[str, Field(min_length=1, max_length=120)]] = Field(min_length=2, max_length=50)
    multiple: bool = False

    @model_validator(mode="after")
    def _options_differ(self) -> ChoiceQuestion:
        if len(set(self.options)) < len(self.options):
            raise ValueError("two options are the same")
        return self


Question = Annotated[
    PreferenceQuestion | RankingQuestion | RatingQuestion | SpanQuestion | CritiqueQuestion | ChoiceQuestion,
    Field(discriminator="kind"),
]
_QUESTIONS: TypeAdapter[list[Question]] = TypeAdapter(Annotated[list[Question], Field(min_length=1, max_length=30)])


def parse_questions(raw: object) -> list[Question]:
    """Validate a task's questions. Raises InvalidQuestions naming each bad field."""
    try:
        questions = _QUESTIONS.validate_python(raw)
    except ValidationError as error:
        raise InvalidQuestions(sentences(error)) from error
    names = [question.name for question in questions]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InvalidQuestions(dict.fromkeys(repeated, "two questions have this name"))
    unmet = _impossible_conditions(questions)
    if unmet:
        raise InvalidQuestions(unmet)
    return questions


def leading_question(questions: Sequence[Question], kind: str) -> Question | None:
    """The question of a kind that counts where none is named: the first that everybody is asked, else the first."""
    found = [question for question in questions if question.kind == kind]
    return next((question for question in found if question.when is None), found[0] if found else None)


def _impossible_conditions(questions: Sequence[Question]) -> dict[str, str]:
    """A sentence for each condition that does not name an earlier choice or preference and its values."""
    errors: dict[str, str] = {}
    earlier: dict[str, Sequence[str]] = {}
    for question in questions:
        if when := question.when:
            values = earlier.get(when.question)
            if values is None:
                words = f"no choice or preference before it is named {when.question!r}"
                errors[f"{question.name}.when"] = words
            elif unknown := sorted(set(when.values) - set(values)):
                errors[f"{question.name}.when"] = (
                    f"{when.question!r} has no value {unknown[0]!r}, only {', '.join(values)}"
                )
        if isinstance(question, ChoiceQuestion):
            earlier[question.name] = question.options
        elif isinstance(question, PreferenceQuestion):
            earlier[question.name] = question.values()
    return errors


def sentences(error: ValidationError) -> dict[str, str]:
    """A sentence for each bad field, by its dotted path."""
    return {
        ".".join(str(part) for part in item["loc"]) or "questions": _sentence(item)
        for item in error.errors(include_url=False, include_input=False)
    }


def _sentence(item: ErrorDetails) -> str:
    """What is wrong; what a person can meet on the annotating screen is a Sentence."""
    if item["type"] == "string_too_long":
        return Sentence("at most %(n)s characters", n=item["ctx"]["max_length"])
    return item["msg"].removeprefix("Value error, ")
