"""The typed answers to a task's questions, and their validation against the questions and the instance.

An annotation stores ``{question name: answer}`` (JSON). Completions are named by their 0-based index in the *stored*
order of the instance; the order on screen belongs to the assignment. Text offsets are code points of the stored source.

Answers by kind (see ``docs/glossary.md``):

* preference ``{"value": "a-is-clearly-better", "aspects": {"helpful": "tie"}, "confidence": 4, "reasons": [...]}``
* ranking    ``{"groups": [[2], [0, 1]], "unacceptable": [1]}`` best group first; completions left out are unranked
* rating     ``{"ratings": {"helpfulness": [4, 2]}}`` a value per completion (``null``: not rated), or one per instance
* span       ``{"spans": [{"target": 0, "start": 3, "end": 9, "type": "Unverifiable", ...}], "missing": [...]}``, and
  ``"times"`` where times of media are marked (see :mod:`feedback.span_answers`)
* critique   ``{"critiques": ["...", ""], "refinements": [null, "..."]}``
* choice     ``{"values": ["yes"]}``
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, ValidationError

from feedback.content import Shown
from feedback.questions import (
    ChoiceQuestion,
    Condition,
    CritiqueQuestion,
    InvalidAnswer,
    PreferenceQuestion,
    Question,
    RankingQuestion,
    RatingQuestion,
    SpanQuestion,
    Strict,
    sentences,
)
from feedback.span_answers import SpanAnswer, span_misfits
from feedback.wording import Sentence, not_one_of


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
    shown: Shown,
    *,
    partial: bool = False,
) -> dict[str, dict[str, Any]]:
    """Validate ``answers`` ({question name: answer}) for one instance and return them in canonical form.

    ``partial`` accepts a missing required answer, and an unfinished one: drafts, recorded annotations and judges that
    answer only some questions.
    A question that is not asked (see :func:`not_asked`) needs no answer and takes none.
    Raises InvalidAnswer whose ``errors`` map ``question.field`` to a sentence.
    """
    if not isinstance(answers, Mapping):
        raise InvalidAnswer({"answers": Sentence("must be an object of question names")})
    by_name = {question.name: question for question in questions}
    errors: dict[str, str] = {
        str(name): Sentence("this task has no such question") for name in answers if name not in by_name
    }
    clean: dict[str, dict[str, Any]] = {}
    for name, question in by_name.items():
        unasked = not_asked(question, answers, len(shown.completions))
        if name not in answers:
            if question.required and not partial and not unasked:
                errors[name] = Sentence("an answer is required")
            continue
        try:
            if unasked:
                raise InvalidAnswer({"": unasked})
            clean[name] = check_answer(question, answers[name], shown, partial=partial)
        except InvalidAnswer as error:
            errors.update({f"{name}.{path}".rstrip("."): message for path, message in error.errors.items()})
    if not partial and all(not_asked(question, answers, len(shown.completions)) for question in questions):
        errors["answers"] = Sentence("nothing is asked of this instance; skip it")
    if errors:
        raise InvalidAnswer(errors)
    return clean


def not_asked(question: Question, answers: Mapping[str, Any], n_completions: int) -> str:
    """Why ``question`` is not asked of an instance, given the other answers, as a sentence; empty when it is asked.

    A preference compares two completions; any question may have a condition on an earlier choice or preference.
    """
    if isinstance(question, PreferenceQuestion) and n_completions != 2:
        return Sentence("a preference needs 2 completions, this instance has %(n)s", n=n_completions)
    if question.when is None or any(value in question.when.values for value in _values(answers, question.when)):
        return ""
    values = ", ".join(question.when.values)
    return Sentence("is asked only when %(name)s is one of: %(values)s", name=question.when.question, values=values)


def _values(answers: Mapping[str, Any], condition: Condition) -> list[Any]:
    """What the question of a condition was answered with: the options of a choice, the one value of a preference."""
    answer = answers.get(condition.question)
    if not isinstance(answer, Mapping):
        return []
    values = answer.get("values", [answer.get("value")])
    return values if isinstance(values, list) else []


def check_answer(question: Question, answer: object, shown: Shown, *, partial: bool = False) -> dict[str, Any]:
    """Validate one answer; returns its canonical JSON form. An answer to a required question must be whole unless
    ``partial``. Raises InvalidAnswer."""
    try:
        parsed = _ANSWERS[question.kind].model_validate(answer, strict=True)
    except ValidationError as error:
        raise InvalidAnswer(sentences(error)) from error
    if isinstance(question, SpanQuestion) and isinstance(parsed, SpanAnswer):
        errors = span_misfits(question, parsed, shown)
    else:
        errors = _misfits(question, parsed, len(shown.completions))
    if not errors and question.required and not partial:
        errors = _lacking(question, parsed)
    if errors:
        raise InvalidAnswer(errors)
    return parsed.model_dump()


def _misfits(question: Question, answer: Strict, n: int) -> dict[str, str]:
    match question, answer:
        case PreferenceQuestion(), PreferenceAnswer():
            return _preference_misfits(question, answer)
        case RankingQuestion(), RankingAnswer():
            return _ranking_misfits(question, answer, n)
        case RatingQuestion(), RatingAnswer():
            return _rating_misfits(question, answer, n)
        case CritiqueQuestion(), CritiqueAnswer():
            return _critique_misfits(question, answer, n)
        case ChoiceQuestion(), ChoiceAnswer():
            return _choice_misfits(question, answer)
    raise AssertionError(f"no check for {question.kind}")


def _lacking(question: Question, answer: Strict) -> dict[str, str]:
    """What a fitting answer to a required question still lacks."""
    match question, answer:
        case RankingQuestion(), RankingAnswer(groups=[], unacceptable=[]):
            return {"groups": Sentence("rank at least one completion")}
        case CritiqueQuestion(), CritiqueAnswer(critiques=texts) if not any(text.strip() for text in texts):
            return {"critiques": Sentence("write at least one critique")}
        case ChoiceQuestion(), ChoiceAnswer(values=[]):
            return {"values": Sentence("choose at least one option")}
        case SpanQuestion(), SpanAnswer(spans=[], missing=[], times=[]):
            return {"spans": Sentence("mark at least one span")}
        case RatingQuestion(), RatingAnswer():
            rated = {name: None not in values for name, values in answer.ratings.items()}
            unrated = [scale.name for scale in question.scales if not rated.get(scale.name)]
            whole = question.per == "instance"
            words = Sentence("the instance needs a value") if whole else Sentence("every completion needs a value")
            return {f"ratings.{name}": words for name in unrated}
    return {}


def _preference_misfits(question: PreferenceQuestion, answer: PreferenceAnswer) -> dict[str, str]:
    errors: dict[str, str] = {}
    allowed = question.values()
    if answer.value not in allowed:
        errors["value"] = not_one_of(answer.value, allowed)
    for aspect, value in answer.aspects.items():
        if aspect not in question.aspects:
            errors[f"aspects.{aspect}"] = Sentence("this question has no such aspect")
        elif value not in allowed:
            errors[f"aspects.{aspect}"] = not_one_of(value, allowed)
    if answer.confidence is not None and not question.ask_confidence:
        errors["confidence"] = Sentence("this question does not ask for confidence")
    unknown = [reason for reason in answer.reasons if reason not in question.reasons]
    if unknown or len(set(answer.reasons)) != len(answer.reasons):
        names = {"reasons": ", ".join(unknown)}
        errors["reasons"] = (
            Sentence("unknown: %(reasons)s", **names) if unknown else Sentence("a reason is ticked twice")
        )
    if answer.other_reason and not question.allow_other_reason:
        errors["other_reason"] = Sentence("this question does not take an own reason")
    return errors


def _ranking_misfits(question: RankingQuestion, answer: RankingAnswer, n: int) -> dict[str, str]:
    errors: dict[str, str] = {}
    ranked = [index for group in answer.groups for index in group]
    if any(not 0 <= index < n for index in ranked):
        errors["groups"] = Sentence("completions are numbered 0 to %(last)s", last=n - 1)
    elif len(set(ranked)) != len(ranked) or any(not group for group in answer.groups):
        errors["groups"] = Sentence("each completion stands in one group, and no group is empty")
    elif len(ranked) < n and not question.allow_partial:
        errors["groups"] = Sentence("all %(n)s completions must be ranked", n=n)
    elif not question.allow_ties and any(len(group) > 1 for group in answer.groups):
        errors["groups"] = Sentence("this question does not allow ties")
    if answer.unacceptable and not question.allow_unacceptable:
        errors["unacceptable"] = Sentence("this question does not ask for unacceptable completions")
    elif any(not 0 <= index < n for index in answer.unacceptable):
        errors["unacceptable"] = Sentence("completions are numbered 0 to %(last)s", last=n - 1)
    elif len(set(answer.unacceptable)) != len(answer.unacceptable):
        errors["unacceptable"] = Sentence("a completion is named twice")
    return errors


def _rating_misfits(question: RatingQuestion, answer: RatingAnswer, n: int) -> dict[str, str]:
    errors: dict[str, str] = {}
    scales = {scale.name: scale for scale in question.scales}
    length = n if question.per == "completion" else 1
    for name, values in answer.ratings.items():
        scale = scales.get(name)
        if scale is None:
            errors[f"ratings.{name}"] = Sentence("this question has no such scale")
        elif len(values) != length:
            errors[f"ratings.{name}"] = Sentence("needs %(n)s values, has %(has)s", n=length, has=len(values))
        elif any(value is not None and not scale.low <= value <= scale.high for value in values):
            errors[f"ratings.{name}"] = Sentence("values run from %(low)s to %(high)s", low=scale.low, high=scale.high)
    return errors


def _critique_misfits(question: CritiqueQuestion, answer: CritiqueAnswer, n: int) -> dict[str, str]:
    errors: dict[str, str] = {}
    if len(answer.critiques) != n:
        errors["critiques"] = Sentence("needs %(n)s texts, has %(has)s", n=n, has=len(answer.critiques))
    if answer.refinements and not question.ask_refinement:
        errors["refinements"] = Sentence("this question does not ask for a refinement")
    elif answer.refinements and len(answer.refinements) != n:
        errors["refinements"] = Sentence("needs %(n)s entries, has %(has)s", n=n, has=len(answer.refinements))
    return errors


def _choice_misfits(question: ChoiceQuestion, answer: ChoiceAnswer) -> dict[str, str]:
    unknown = [value for value in answer.values if value not in question.options]
    if unknown:
        return {"values": not_one_of(unknown[0], question.options)}
    if len(set(answer.values)) != len(answer.values):
        return {"values": Sentence("an option is ticked twice")}
    if not question.multiple and len(answer.values) != 1:
        return {"values": Sentence("choose one option")}
    return {}
