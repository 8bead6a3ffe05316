"""The typed questions a task asks, and the validation of an answer against them.

A task stores a list of questions (JSON); an annotation stores ``{question name: answer}`` (JSON). Both pass through
the models here and nowhere else, so what is stored always fits. Completions are named by their 0-based index in the
*stored* order of the instance; the order on screen belongs to the assignment. Text offsets are code points of the
stored source.

Answers by kind (see ``docs/glossary.md``):

* preference ``{"value": "a-is-clearly-better", "aspects": {"helpful": "tie"}, "confidence": 4, "reasons": [...]}``
* ranking    ``{"groups": [[2], [0, 1]], "unacceptable": [1]}`` best group first; completions left out are unranked
* rating     ``{"ratings": {"helpfulness": [4, 2]}}`` a value per completion (``null``: not rated), or one per instance
* span       ``{"spans": [{"target": 0, "start": 3, "end": 9, "type": "Unverifiable", ...}], "missing": [...]}``
* critique   ``{"critiques": ["...", ""], "refinements": [null, "..."]}``
* choice     ``{"values": ["yes"]}``
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

MAX_TEXT = 100_000
NAME = re.compile(r"^[a-z][a-z0-9_-]{0,63}$")
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
    """Ask only when another choice question has one of these values."""

    question: str
    values: list[str] = Field(min_length=1, max_length=50)


class QuestionBase(Strict):
    name: str = Field(max_length=64)
    title: str = Field(min_length=1, max_length=300)
    description: str = Field(default="", max_length=4000)
    required: bool = True

    @model_validator(mode="after")
    def _name_is_an_identifier(self) -> QuestionBase:
        if not NAME.match(self.name):
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
        return self


class RatingQuestion(QuestionBase):
    kind: Literal["rating"]
    per: Literal["completion", "instance"] = "completion"
    widget: Literal["likert", "slider", "rubric"] = "likert"
    scales: list[Scale] = Field(min_length=1, max_length=12)


class SpanType(Strict):
    name: str = Field(min_length=1, max_length=80)
    subtypes: list[Annotated[str, Field(min_length=1, max_length=80)]] = Field(default=[], max_length=40)


class SpanQuestion(QuestionBase):
    kind: Literal["span"]
    types: list[SpanType] = Field(min_length=1, max_length=40)
    severities: dict[Annotated[str, Field(max_length=40)], float] = Field(default={}, max_length=10)
    on_prompt: bool = False
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
    when: Condition | None = None


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
        raise InvalidQuestions(_sentences(error)) from error
    names = [question.name for question in questions]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InvalidQuestions(dict.fromkeys(repeated, "two questions have this name"))
    for question in questions:
        if isinstance(question, ChoiceQuestion) and question.when and question.when.question not in names:
            raise InvalidQuestions({f"{question.name}.when": f"no question is named {question.when.question!r}"})
    return questions


def _sentences(error: ValidationError) -> dict[str, str]:
    return {
        ".".join(str(part) for part in item["loc"]) or "questions": item["msg"].removeprefix("Value error, ")
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    }


class PreferenceAnswer(Strict):
    value: str
    aspects: dict[str, str] = {}
    confidence: int | None = Field(default=None, ge=1, le=5)
    reasons: list[str] = []
    other_reason: str = Field(default="", max_length=4000)


class RankingAnswer(Strict):
    groups: list[list[int]]
    unacceptable: list[int] = []


class RatingAnswer(Strict):
    ratings: dict[str, list[int | None]]


class Span(Strict):
    """``target`` is a completion's index, or -1 - m for message m of the prompt; ``[start, end)`` in code points."""

    target: int
    start: int = Field(ge=0)
    end: int = Field(ge=1)
    type: str
    subtype: str = ""
    severity: str = ""
    comment: str = Field(default="", max_length=4000)
    confidence: int | None = Field(default=None, ge=1, le=5)


class MissingItem(Strict):
    """Information a completion lacks; ``passage`` is the index of the passage that holds it, when there is one."""

    target: int = Field(ge=0)
    text: str = Field(max_length=4000)
    passage: int | None = Field(default=None, ge=0)
    sentences: list[int] = []


class SpanAnswer(Strict):
    spans: list[Span] = Field(default=[], max_length=5000)
    missing: list[MissingItem] = Field(default=[], max_length=200)


class CritiqueAnswer(Strict):
    critiques: list[str]
    refinements: list[str | None] = []


class ChoiceAnswer(Strict):
    values: list[str]


_ANSWERS: dict[str, type[Strict]] = {
    "preference": PreferenceAnswer,
    "ranking": RankingAnswer,
    "rating": RatingAnswer,
    "span": SpanAnswer,
    "critique": CritiqueAnswer,
    "choice": ChoiceAnswer,
}


def check_answers(
    questions: Sequence[Question],
    answers: object,
    *,
    completions: Sequence[str],
    prompt: Sequence[str] = (),
    partial: bool = False,
) -> dict[str, dict[str, Any]]:
    """Validate ``answers`` ({question name: answer}) for one instance and return them in canonical form.

    ``completions`` and ``prompt`` are the source texts (for counts and span bounds). ``partial`` accepts a missing
    required answer: drafts, recorded annotations and judges that answer only some questions.
    Raises InvalidAnswer whose ``errors`` map ``question.field`` to a sentence.
    """
    if not isinstance(answers, Mapping):
        raise InvalidAnswer({"answers": "must be an object of question names"})
    by_name = {question.name: question for question in questions}
    errors = {str(name): "this task has no such question" for name in answers if name not in by_name}
    clean: dict[str, dict[str, Any]] = {}
    for name, question in by_name.items():
        if name not in answers:
            if question.required and not partial and _is_asked(question, answers):
                errors[name] = "an answer is required"
            continue
        try:
            clean[name] = check_answer(question, answers[name], completions=completions, prompt=prompt)
        except InvalidAnswer as error:
            errors.update({f"{name}.{path}": message for path, message in error.errors.items()})
    if errors:
        raise InvalidAnswer(errors)
    return clean


def _is_asked(question: Question, answers: Mapping[str, Any]) -> bool:
    if not isinstance(question, ChoiceQuestion) or question.when is None:
        return True
    other = answers.get(question.when.question)
    values = other.get("values", []) if isinstance(other, Mapping) else []
    return bool(set(question.when.values) & set(values if isinstance(values, list) else []))


def check_answer(
    question: Question, answer: object, *, completions: Sequence[str], prompt: Sequence[str] = ()
) -> dict[str, Any]:
    """Validate one answer; returns its canonical JSON form. Raises InvalidAnswer."""
    try:
        parsed = _ANSWERS[question.kind].model_validate(answer, strict=True)
    except ValidationError as error:
        raise InvalidAnswer(_sentences(error)) from error
    errors = _misfits(question, parsed, completions, prompt)
    if errors:
        raise InvalidAnswer(errors)
    return parsed.model_dump()


def _misfits(question: Question, answer: Strict, completions: Sequence[str], prompt: Sequence[str]) -> dict[str, str]:
    n = len(completions)
    match question, answer:
        case PreferenceQuestion(), PreferenceAnswer():
            return _preference_misfits(question, answer, n)
        case RankingQuestion(), RankingAnswer():
            return _ranking_misfits(question, answer, n)
        case RatingQuestion(), RatingAnswer():
            return _rating_misfits(question, answer, n)
        case SpanQuestion(), SpanAnswer():
            return _span_misfits(question, answer, completions, prompt)
        case CritiqueQuestion(), CritiqueAnswer():
            return _critique_misfits(question, answer, n)
        case ChoiceQuestion(), ChoiceAnswer():
            return _choice_misfits(question, answer)
    raise AssertionError(f"no check for {question.kind}")


def _preference_misfits(question: PreferenceQuestion, answer: PreferenceAnswer, n: int) -> dict[str, str]:
    errors: dict[str, str] = {}
    allowed = question.values()
    if n != 2:
        errors["value"] = f"a preference needs 2 completions, this instance has {n}"
    elif answer.value not in allowed:
        errors["value"] = f"{answer.value!r} is not one of {', '.join(allowed)}"
    for aspect, value in answer.aspects.items():
        if aspect not in question.aspects:
            errors[f"aspects.{aspect}"] = "this question has no such aspect"
        elif value not in allowed:
            errors[f"aspects.{aspect}"] = f"{value!r} is not one of {', '.join(allowed)}"
    if answer.confidence is not None and not question.ask_confidence:
        errors["confidence"] = "this question does not ask for confidence"
    unknown = [reason for reason in answer.reasons if reason not in question.reasons]
    if unknown or len(set(answer.reasons)) != len(answer.reasons):
        errors["reasons"] = f"unknown or repeated reason: {', '.join(unknown) or 'repeated'}"
    if answer.other_reason and not question.allow_other_reason:
        errors["other_reason"] = "this question does not take an own reason"
    return errors


def _ranking_misfits(question: RankingQuestion, answer: RankingAnswer, n: int) -> dict[str, str]:
    errors: dict[str, str] = {}
    ranked = [index for group in answer.groups for index in group]
    if any(not 0 <= index < n for index in [*ranked, *answer.unacceptable]):
        errors["groups"] = f"completions are numbered 0 to {n - 1}"
    elif len(set(ranked)) != len(ranked) or any(not group for group in answer.groups):
        errors["groups"] = "each completion stands in one group, and no group is empty"
    elif len(ranked) < n and not question.allow_partial:
        errors["groups"] = f"all {n} completions must be ranked"
    if not question.allow_ties and any(len(group) > 1 for group in answer.groups):
        errors["groups"] = "this question does not allow ties"
    if answer.unacceptable and not question.allow_unacceptable:
        errors["unacceptable"] = "this question does not ask for unacceptable completions"
    return errors


def _rating_misfits(question: RatingQuestion, answer: RatingAnswer, n: int) -> dict[str, str]:
    errors: dict[str, str] = {}
    scales = {scale.name: scale for scale in question.scales}
    length = n if question.per == "completion" else 1
    for name, values in answer.ratings.items():
        scale = scales.get(name)
        if scale is None:
            errors[f"ratings.{name}"] = "this question has no such scale"
        elif len(values) != length:
            errors[f"ratings.{name}"] = f"needs {length} values, has {len(values)}"
        elif any(value is not None and not scale.low <= value <= scale.high for value in values):
            errors[f"ratings.{name}"] = f"values run from {scale.low} to {scale.high}"
    return errors


def _span_misfits(
    question: SpanQuestion, answer: SpanAnswer, completions: Sequence[str], prompt: Sequence[str]
) -> dict[str, str]:
    errors: dict[str, str] = {}
    types = {span_type.name: span_type for span_type in question.types}
    for i, span in enumerate(answer.spans):
        text = _span_text(span.target, completions, prompt if question.on_prompt else ())
        if text is None:
            errors[f"spans.{i}.target"] = "no such text"
        elif not span.start < span.end <= len(text):
            errors[f"spans.{i}.end"] = f"needs start < end <= {len(text)} code points"
        if span.type not in types:
            errors[f"spans.{i}.type"] = f"{span.type!r} is not one of {', '.join(types)}"
        elif span.subtype and span.subtype not in types[span.type].subtypes:
            errors[f"spans.{i}.subtype"] = f"{span.subtype!r} is no subtype of {span.type!r}"
        if span.severity and span.severity not in question.severities:
            errors[f"spans.{i}.severity"] = f"{span.severity!r} is no severity of this question"
    if answer.missing and not question.allow_missing:
        errors["missing"] = "this question does not ask for missing information"
    if any(item.target >= len(completions) for item in answer.missing):
        errors["missing"] = f"completions are numbered 0 to {len(completions) - 1}"
    return errors


def _span_text(target: int, completions: Sequence[str], prompt: Sequence[str]) -> str | None:
    if 0 <= target < len(completions):
        return completions[target]
    message = -1 - target
    return prompt[message] if 0 <= message < len(prompt) else None


def _critique_misfits(question: CritiqueQuestion, answer: CritiqueAnswer, n: int) -> dict[str, str]:
    errors: dict[str, str] = {}
    if len(answer.critiques) != n:
        errors["critiques"] = f"needs {n} texts, has {len(answer.critiques)}"
    if answer.refinements and not question.ask_refinement:
        errors["refinements"] = "this question does not ask for a refinement"
    elif answer.refinements and len(answer.refinements) != n:
        errors["refinements"] = f"needs {n} entries, has {len(answer.refinements)}"
    return errors


def _choice_misfits(question: ChoiceQuestion, answer: ChoiceAnswer) -> dict[str, str]:
    unknown = [value for value in answer.values if value not in question.options]
    if unknown:
        return {"values": f"{unknown[0]!r} is not one of {', '.join(question.options)}"}
    if len(set(answer.values)) != len(answer.values):
        return {"values": "an option is ticked twice"}
    if not question.multiple and len(answer.values) != 1:
        return {"values": "choose one option"}
    return {}
