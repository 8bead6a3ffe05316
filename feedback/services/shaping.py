"""The rows of each export shape, from one instance with what was said of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from ..formats.media_column import File, media_rows
from ..formats.rated_shapes import ranked, rated
from ..formats.shapes import Shape, preference_row, raw_row
from ..formats.splits import prompt_hash
from ..formats.text_shapes import critiqued, span_feedback
from ..formats.trl_shapes import Origin, Wanted, language_modelling_row, plain, prompt_completion_row, unpaired_row
from ..preferences import TIE, A, B, Outcome, Pair
from ..questions import (
    CritiqueQuestion,
    PreferenceQuestion,
    Question,
    QuestionBase,
    RankingQuestion,
    RatingQuestion,
    SpanQuestion,
)
from ..refinements import Refinement

LETTERS = "abcdefghijkl"
Row = dict[str, Any]


class Said(NamedTuple):
    """One annotation as the freeze reads it."""

    instance_id: int
    annotator_id: int
    source: str
    answers: dict[str, Any]
    details: dict[str, Any]
    public_id: Any
    order: list[int]
    guideline: int | None
    questions_version: int
    active_ms: int
    submitted_at: datetime
    state: str

    @property
    def decided(self) -> bool:
        """Whether it is a reviewer's decision and no vote."""
        return self.state == "decided"


class Held(NamedTuple):
    """One instance as the freeze reads it; ``shown_prompt`` and ``shown`` are prompt and completions with all parts of
    their contents, the others with their texts."""

    pk: int
    public_id: Any
    external_id: str
    prompt: list[dict[str, Any]]
    completions: list[dict[str, Any]]
    prompt_hash: str
    meta: dict[str, Any]
    shown_prompt: list[dict[str, Any]]
    shown: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Subject:
    """One instance, the votes that count for it and the decision on it, the aggregate of each pair that gives a row,
    the refinements that count as chosen, and the media files of the task by name."""

    held: Held
    said: Sequence[Said]
    decision: Said | None
    results: Sequence[tuple[Pair, Outcome]]
    refined: Sequence[Refinement]
    split: str
    questions: Sequence[Question]
    pseudonyms: Mapping[int, str]
    files: Mapping[str, File]

    def media(self, *shown: tuple[str, int]) -> Row:
        """The column ``media`` of a row that shows the prompt and these completions ``(of, index)``, by default all;
        no column in a task without media."""
        if not self.files:
            return {}
        held = self.held
        wanted = shown or [("completion", index) for index in range(len(held.shown))]
        completions = [(of, index, held.shown[index]) for of, index in wanted]
        return {"media": list(media_rows(held.shown_prompt, completions, self.files))}

    def text(self, index: int) -> str:
        return str(self.held.completions[index]["content"])

    def answers(self, kind: type[QuestionBase]) -> Iterator[tuple[Any, Said, dict[str, Any]]]:
        """``(question, annotation, answer)`` of every answer to the questions of one kind: a decision's, else the
        votes'."""
        for question in self.questions:
            if isinstance(question, kind):
                answered = [one for one in self.said if fits(question, one.answers.get(question.name))]
                if self.decision is not None and fits(question, self.decision.answers.get(question.name)):
                    answered = [self.decision]
                yield from ((question, one, one.answers[question.name]) for one in answered)


def fits(question: Question, answer: Any) -> bool:
    """Whether an answer, maybe made under earlier questions, still has this question's form."""
    if not isinstance(answer, dict):
        return False
    return not isinstance(question, PreferenceQuestion) or answer.get("value") in question.values()


def source_of(result: Outcome) -> str:
    """``judge`` or ``human``: who the comparisons behind an aggregate are of."""
    return "judge" if result.used[0].source == "judge" else "human"


def preference_rows(shape: Shape, subject: Subject) -> Iterator[Row]:
    for pair, result in subject.results:
        yield _preference(shape, subject, pair, result)
    for number, refined in enumerate(subject.refined):
        row = preference_row(
            shape,
            id=_refined_id(subject, number, refined),
            prompt=subject.held.prompt,
            chosen=refined.text,
            rejected=subject.text(refined.index),
            split=subject.split,
            source=refined.source,
            annotators=[subject.pseudonyms[one] for one in refined.annotators],
        )
        yield row | subject.media(("chosen", refined.index), ("rejected", refined.index))


def _refined_id(subject: Subject, number: int, refined: Refinement) -> str:
    return f"{subject.held.public_id}-refined-{refined.index}-{number}"


def _preference(shape: Shape, subject: Subject, pair: Pair, result: Outcome) -> Row:
    held, tie = subject.held, result.label == TIE
    first, second = pair if result.label != B else pair[::-1]
    towards = result.strength if result.label == B else -result.strength
    row = preference_row(
        shape,
        id=str(held.public_id) if len(held.completions) == 2 else f"{held.public_id}-{pair[0]}-{pair[1]}",
        prompt=held.prompt,
        chosen=subject.text(first),
        rejected=subject.text(second),
        split=subject.split,
        strength=max(1, round(towards)),
        margin=0.0 if tie else max(0.0, towards),
        soft_label=0.5 if tie else result.p_a if result.label == A else 1 - result.p_a,
        source=source_of(result),
        annotators=[subject.pseudonyms[one.annotator] for one in result.used],
        agreement=result.agreement,
    )
    row |= subject.media(("chosen", first), ("rejected", second))
    return row | {"strength": 0} if tie else row


class _Standing(NamedTuple):
    wins: Counter[int]
    losses: Counter[int]
    source: str
    annotators: list[str]


def _standing(subject: Subject) -> _Standing:
    """How often each completion is chosen and rejected, also for its refinement; ties count for neither."""
    decided = [(pair, result) for pair, result in subject.results if result.label != TIE]
    wins = Counter(pair[0] if result.label == A else pair[1] for pair, result in decided)
    losses = Counter(pair[1] if result.label == A else pair[0] for pair, result in decided)
    losses.update(one.index for one in subject.refined)
    sources = [*(source_of(result) for _, result in decided), *(one.source for one in subject.refined), "human"]
    compared = [one.annotator for _, result in decided for one in result.used]
    who = dict.fromkeys([*compared, *(pk for one in subject.refined for pk in one.annotators)])
    return _Standing(wins, losses, sources[0], [subject.pseudonyms[pk] for pk in who])


def _wanted(subject: Subject, key: str, completion: str, source: str, annotators: Sequence[str]) -> Wanted:
    return Wanted(key, subject.held.prompt, completion, source, annotators, subject.split)


def _refinements(subject: Subject) -> Iterator[tuple[int, Wanted]]:
    """Each refinement, with the index of the completion that it refines."""
    for number, one in enumerate(subject.refined):
        who = [subject.pseudonyms[pk] for pk in one.annotators]
        yield one.index, _wanted(subject, _refined_id(subject, number, one), one.text, one.source, who)


def unpaired_rows(shape: Shape, subject: Subject) -> Iterator[Row]:
    wins, losses, source, annotators = _standing(subject)
    for index in range(len(subject.held.completions)):
        if wins[index] != losses[index]:
            key = f"{subject.held.public_id}-{index}"
            wanted = _wanted(subject, key, subject.text(index), source, annotators)
            row = unpaired_row(wanted, wins=wins[index], losses=losses[index])
            yield row | subject.media(("completion", index))
    for index, wanted in _refinements(subject):
        yield unpaired_row(wanted, wins=1, losses=0) | subject.media(("completion", index))


def _worth_learning(subject: Subject, make: Callable[[Wanted, Origin], Row]) -> Iterator[Row]:
    """Rows of the one completion preferred over all others, if there is one, and of every refinement."""
    wins, losses, source, annotators = _standing(subject)
    net = sorted(((wins[index] - losses[index], index) for index in range(len(subject.held.completions))), reverse=True)
    if net[0][0] > max(0, net[1][0] if len(net) > 1 else 0):
        best = net[0][1]
        wanted = _wanted(subject, str(subject.held.public_id), subject.text(best), source, annotators)
        yield make(wanted, "preferred") | subject.media(("completion", best))
    for index, wanted in _refinements(subject):
        yield make(wanted, "refinement") | subject.media(("completion", index))


def prompt_completion_rows(shape: Shape, subject: Subject) -> Iterator[Row]:
    return _worth_learning(subject, prompt_completion_row)


def language_modelling_rows(shape: Shape, subject: Subject) -> Iterator[Row]:
    return _worth_learning(subject, language_modelling_row)


def _completions(held: Held) -> list[Row]:
    return [{"content": each["content"], "model": each.get("model")} for each in held.completions]


def ranked_rows(shape: Shape, subject: Subject) -> Iterator[Row]:
    held = subject.held
    texts = {"prompt": plain(held.prompt), "completions": [str(each["content"]) for each in held.completions]}
    models = [each.get("model") for each in held.completions]
    for question, one, answer in subject.answers(RankingQuestion):
        columns = ranked(answer, len(held.completions))
        yield {**_head(subject, one, question.name, ""), **texts, "models": models, **columns, **subject.media()}


def rating_rows(shape: Shape, subject: Subject) -> Iterator[Row]:
    held, prompt = subject.held, plain(subject.held.prompt)
    for question, one, answer in subject.answers(RatingQuestion):
        for index, columns in rated(question, answer, len(held.completions)):
            about: Row = {} if index is None else held.completions[index]
            texts = {"prompt": prompt, "completion": about.get("content"), "model": about.get("model")}
            suffix = "" if index is None else f"-{index}"
            media = subject.media() if index is None else subject.media(("completion", index))
            yield {**_head(subject, one, question.name, suffix), **texts, **columns, **media}


def span_rows(shape: Shape, subject: Subject) -> Iterator[Row]:
    held = subject.held
    for question, one, answer in subject.answers(SpanQuestion):
        texts = {"question": question_text(held.prompt), "prompt": plain(held.prompt)}
        feedback = span_feedback(answer, subject.questions, one.answers)
        head = _head(subject, one, question.name, "")
        yield {**head, **texts, "completions": _completions(held), "feedback": feedback, **subject.media()}


def question_text(prompt: Sequence[Mapping[str, Any]]) -> str:
    """What was asked: the last message of the user."""
    return next((str(message["content"]) for message in reversed(prompt) if message["role"] == "user"), "")


def critique_rows(shape: Shape, subject: Subject) -> Iterator[Row]:
    prompt = plain(subject.held.prompt)
    for question, one, answer in subject.answers(CritiqueQuestion):
        for index, columns in critiqued(question, answer):
            completion = subject.held.completions[index]
            texts = {"prompt": prompt, "completion": completion["content"], "model": completion.get("model")}
            media = subject.media(("completion", index))
            yield {**_head(subject, one, question.name, f"-{index}"), **texts, **columns, **media}


def _head(subject: Subject, one: Said, asked: str, suffix: str) -> Row:
    return {
        "id": f"{one.public_id}-{asked}{suffix}",
        "instance_id": str(subject.held.public_id),
        "prompt_id": prompt_hash(subject.held.prompt),
        "asked": asked,
        "source": one.source,
        "annotator": subject.pseudonyms[one.annotator_id],
        "split": subject.split,
    }


def raw_rows(shape: Shape, subject: Subject) -> Iterator[Row]:
    said = [*subject.said, subject.decision] if subject.decision else subject.said
    return (_raw(shape, subject, one) for one in said)


def _raw(shape: Shape, subject: Subject, one: Said) -> Row:
    held = subject.held
    known = [question for question in subject.questions if fits(question, one.answers.get(question.name))]
    row = raw_row(
        known,
        one.answers,
        id=str(one.public_id),
        instance_id=str(held.public_id),
        external_id=held.external_id,
        prompt=plain(held.prompt),
        completions=_completions(held),
        source=one.source,
        annotator=subject.pseudonyms[one.annotator_id],
        order="".join(LETTERS[index] for index in one.order),
        guideline_version=one.guideline,
        questions_version=one.questions_version,
        adjudicated=one.decided,
        active_seconds=one.active_ms / 1000 if one.active_ms else None,
        annotated_at=one.submitted_at,
        rationale=one.details.get("rationale"),
        details={name: value for name, value in one.details.items() if name != "rationale"},
        meta=held.meta,
        split=subject.split,
    )
    names = set(shape.schema.names)
    return {name: value for name, value in row.items() if name in names} | subject.media()


ROWS: dict[str, Callable[[Shape, Subject], Iterator[Row]]] = {
    "preference": preference_rows,
    "preference-conversational": preference_rows,
    "preference-implicit": preference_rows,
    "unpaired": unpaired_rows,
    "prompt-completion": prompt_completion_rows,
    "language-modelling": language_modelling_rows,
    "ranked": ranked_rows,
    "ratings": rating_rows,
    "spans": span_rows,
    "critiques": critique_rows,
    "raw": raw_rows,
}
