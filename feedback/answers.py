"""The typed answers to a task's questions, and their validation against the questions and the instance.

An annotation stores ``{question name: answer}`` (JSON). Completions are named by their 0-based index in the *stored*
order of the instance; the order on screen belongs to the assignment. Text offsets are code points of the stored source.

Answers by kind (see ``docs/glossary.md``):

* preference ``{"value": "a-is-clearly-better", "aspects": {"helpful": "tie"}, "confidence": 4, "reasons": [...]}``
* ranking    ``{"groups": [[2], [0, 1]], "unacceptable": [1]}`` best group first; completions left out are unranked
* rating     ``{"ratings": {"helpfulness": [4, 2]}}`` a value per completion (``null``: not rated), or one per instance
* span       ``{"spans": [{"target": 0, "start": 3, "end": 9, "type": "Unverifiable", ...}], "missing": [...]}``
* critique   ``{"critiques": ["...", ""], "refinements": [null, "..."]}``
* choice     ``{"values": ["yes"]}``
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import Field, ValidationError

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
from feedback.wording import Sentence


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
    passages: int | None = None,
    partial: bool = False,
) -> dict[str, dict[str, Any]]:
    """Validate ``answers`` ({question name: answer}) for one instance and return them in canonical form.

    ``completions`` and ``prompt`` are the source texts (for counts and span bounds), ``passages`` is the number of
    passages (``None``: not known). ``partial`` accepts a missing
    required answer, and an unfinished one: drafts, recorded annotations and judges that answer only some questions.
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
        unasked = not_asked(question, answers, len(completions))
        if name not in answers:
            if question.required and not partial and not unasked:
                errors[name] = Sentence("an answer is required")
            continue
        try:
            if unasked:
                raise InvalidAnswer({"": unasked})
            texts = {"completions": completions, "prompt": prompt}
            clean[name] = check_answer(question, answers[name], **texts, passages=passages, partial=partial)
        except InvalidAnswer as error:
            errors.update({f"{name}.{path}".rstrip("."): message for path, message in error.errors.items()})
    if not partial and all(not_asked(question, answers, len(completions)) for question in questions):
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


def check_answer(
    question: Question,
    answer: object,
    *,
    completions: Sequence[str],
    prompt: Sequence[str] = (),
    passages: int | None = None,
    partial: bool = False,
) -> dict[str, Any]:
    """Validate one answer; returns its canonical JSON form. An answer to a required question must be whole unless
    ``partial``. Raises InvalidAnswer."""
    try:
        parsed = _ANSWERS[question.kind].model_validate(answer, strict=True)
    except ValidationError as error:
        raise InvalidAnswer(sentences(error)) from error
    errors = _misfits(question, parsed, completions, prompt, passages)
    if not errors and question.required and not partial:
        errors = _lacking(question, parsed)
    if errors:
        raise InvalidAnswer(errors)
    return parsed.model_dump()


def passage_count(meta: Mapping[str, Any]) -> int:
    """How many passages an instance brings (``meta.passages``), which missing information may point at."""
    passages = meta.get("passages")
    return len(passages) if isinstance(passages, list) else 0


def _misfits(
    question: Question, answer: Strict, completions: Sequence[str], prompt: Sequence[str], passages: int | None
) -> dict[str, str]:
    n = len(completions)
    match question, answer:
        case PreferenceQuestion(), PreferenceAnswer():
            return _preference_misfits(question, answer)
        case RankingQuestion(), RankingAnswer():
            return _ranking_misfits(question, answer, n)
        case RatingQuestion(), RatingAnswer():
            return _rating_misfits(question, answer, n)
        case SpanQuestion(), SpanAnswer():
            errors = _span_misfits(question, answer, completions, prompt)
            return errors | _missing_misfits(question, answer.missing, n, passages)
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
        case SpanQuestion(), SpanAnswer(spans=[], missing=[]):
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
        errors["value"] = _not_one_of(answer.value, allowed)
    for aspect, value in answer.aspects.items():
        if aspect not in question.aspects:
            errors[f"aspects.{aspect}"] = Sentence("this question has no such aspect")
        elif value not in allowed:
            errors[f"aspects.{aspect}"] = _not_one_of(value, allowed)
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


def _span_misfits(
    question: SpanQuestion, answer: SpanAnswer, completions: Sequence[str], prompt: Sequence[str]
) -> dict[str, str]:
    errors: dict[str, str] = {}
    types = {span_type.name: span_type for span_type in question.types}
    for i, span in enumerate(answer.spans):
        text = _span_text(span.target, completions, prompt if question.on_prompt else ())
        if text is None:
            errors[f"spans.{i}.target"] = Sentence("no such text")
        elif not span.start < span.end <= len(text):
            errors[f"spans.{i}.end"] = Sentence("needs start < end <= %(n)s code points", n=len(text))
        if span.type not in types:
            errors[f"spans.{i}.type"] = _not_one_of(span.type, types)
        elif span.subtype and span.subtype not in types[span.type].subtypes:
            errors[f"spans.{i}.subtype"] = Sentence(
                "%(subtype)s is no subtype of %(type)s", subtype=repr(span.subtype), type=repr(span.type)
            )
        if span.severity and span.severity not in question.severities:
            errors[f"spans.{i}.severity"] = _not_one_of(span.severity, question.severities)
    if not question.allow_overlap and not errors:
        errors |= _overlaps(answer.spans)
    return errors


def _overlaps(spans: Sequence[Span]) -> dict[str, str]:
    """A sentence for each span that begins before one that starts earlier in the same text has ended."""
    errors: dict[str, str] = {}
    ends: dict[int, int] = {}
    for i, span in sorted(enumerate(spans), key=lambda one: (one[1].start, one[1].end)):
        if span.start < ends.get(span.target, 0):
            errors[f"spans.{i}.start"] = Sentence(
                "overlaps another span of this text, which this question does not allow"
            )
        ends[span.target] = max(span.end, ends.get(span.target, 0))
    return errors


def _missing_misfits(
    question: SpanQuestion, items: Sequence[MissingItem], n: int, passages: int | None
) -> dict[str, str]:
    if items and not question.allow_missing:
        return {"missing": Sentence("this question does not ask for missing information")}
    errors: dict[str, str] = {}
    for i, item in enumerate(items):
        if item.target >= n:
            errors[f"missing.{i}.target"] = Sentence("completions are numbered 0 to %(last)s", last=n - 1)
        if item.passage is not None and passages is not None and item.passage >= passages:
            errors[f"missing.{i}.passage"] = Sentence("this instance has %(n)s passages, numbered from 0", n=passages)
        if not item.text.strip() and item.passage is None:
            errors[f"missing.{i}.text"] = Sentence("say what is missing, or name the passage that says it")
    return errors


def _not_one_of(value: str, allowed: Iterable[str]) -> Sentence:
    return Sentence("%(value)s is not one of %(allowed)s", value=repr(value), allowed=", ".join(allowed))


def _span_text(target: int, completions: Sequence[str], prompt: Sequence[str]) -> str | None:
    if 0 <= target < len(completions):
        return completions[target]
    message = -1 - target
    return prompt[message] if 0 <= message < len(prompt) else None


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
        return {"values": _not_one_of(unknown[0], question.options)}
    if len(set(answer.values)) != len(answer.values):
        return {"values": Sentence("an option is ticked twice")}
    if not question.multiple and len(answer.values) != 1:
        return {"values": Sentence("choose one option")}
    return {}
