"""Annotations that were made before an import, as rows: people's as they are, a judge's two orders as one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

from ..abilities import asked_by
from ..answers import check_answers
from ..content import Shown, media_of
from ..formats.records import ImportedInstance, RecordedAnnotation, RowError
from ..questions import InvalidAnswer, PreferenceQuestion, Question, strength, value_of_strength
from ..text import InvalidText

MAX_SEEN = 10_000
IN_ORDER = {"ab": [0, 1], "ba": [1, 0]}


@dataclass(frozen=True, slots=True)
class Said:
    """One annotation to store; ``answers`` are canonical."""

    annotator: str
    source: Literal["human", "judge"]
    answers: dict[str, Any]
    details: dict[str, Any] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    at: datetime | None = None


@dataclass(slots=True)
class Checked:
    """An instance that fits the task, with what was said of it; ``abstained``: judges without a readable verdict."""

    instance: ImportedInstance
    said: list[Said]
    abstained: int = 0


class Misfit(ValueError):
    """A recorded annotation does not fit the task's questions."""

    def __init__(self, field: str, reason: str, hint: str = "") -> None:
        self.field, self.reason, self.hint = field, reason, hint
        super().__init__(f"{field}: {reason}")


class Checker:
    """Records as they will be stored in a task with ``questions`` and ``media`` (the kinds of its files, by name);
    ``annotations=False`` leaves out what was said."""

    def __init__(
        self, questions: Sequence[Question], *, annotations: bool = True, media: Mapping[str, str] | None = None
    ) -> None:
        self._questions, self._annotations, self._media = questions, annotations, media or {}
        always = (one for one in questions if one.when is None)
        self._pair_needed = any(one.kind == "preference" and one.required for one in always)
        self._textless = all(question.kind in ("preference", "choice", "ranking", "rating") for question in questions)
        self._seen: dict[str, dict[str, Any]] = {}

    def __call__(self, record: ImportedInstance) -> Checked | RowError:
        """The record with its annotations in canonical form, or why it does not fit."""
        try:
            if self._pair_needed and len(record.completions) != 2:
                n = len(record.completions)
                reason = f"this task asks for a preference, which needs 2 completions; the row has {n}"
                raise Misfit("completions", reason, "Import it into a task that asks for a ranking or ratings.")
            check_media(record, self._media)
            _check_abilities(record)
            if not self._annotations or not record.annotations:
                return Checked(record, [])
            return self._with_annotations(record)
        except Misfit as misfit:
            return RowError(record.line, misfit.field, misfit.reason, misfit.hint)

    def _with_annotations(self, record: ImportedInstance) -> Checked:
        by_annotator: dict[tuple[str, str], list[RecordedAnnotation]] = {}
        for annotation in record.annotations:
            by_annotator.setdefault((annotation.source, annotation.annotator), []).append(annotation)
        checked = Checked(record, [])
        for recorded in by_annotator.values():
            readable = [self._canonical(one, record) for one in recorded if one.answers]
            if not readable:
                checked.abstained += recorded[0].source == "judge"
            elif recorded[0].source == "judge":
                checked.said.append(merged_verdict(readable, self._questions))
            else:
                checked.said.append(_only(readable))
        return checked

    def _canonical(self, recorded: RecordedAnnotation, record: ImportedInstance) -> RecordedAnnotation:
        """The annotation with checked answers. Raises Misfit."""
        if not self._textless:
            return replace(recorded, answers=self._check(recorded, record))
        # thousands of votes say the same few things, and these kinds depend on nothing but the number of completions
        key = json.dumps([len(record.completions), recorded.answers], sort_keys=True)
        if key not in self._seen and len(self._seen) < MAX_SEEN:
            self._seen[key] = self._check(recorded, record)
        answers = self._seen.get(key)
        return replace(recorded, answers=self._check(recorded, record) if answers is None else answers)

    def _check(self, recorded: RecordedAnnotation, record: ImportedInstance) -> dict[str, Any]:
        shown = Shown.by(record.prompt, record.completions, record.meta)
        try:
            return check_answers(self._questions, recorded.answers, shown, partial=True)
        except InvalidAnswer as error:
            path, reason = next(iter(error.errors.items()))
            hint = "Import into a task that asks this, or leave the recorded annotations out."
            raise Misfit(f"annotations.{recorded.annotator}.{path}", reason, hint) from error


def check_media(record: ImportedInstance, media: Mapping[str, str]) -> None:
    """Raises Misfit for a part that names none of the files in ``media`` (kind by name), or one of another kind."""
    for place, messages in (("prompt", record.prompt), ("completions", record.completions)):
        for n, message in enumerate(messages):
            for part in media_of(message["content"]):
                kind = media.get(part["file"])
                if kind != part["type"]:
                    told = f"is {kind}, not {part['type']}" if kind else "is not a media file of this task"
                    hint = "Upload the file to the task first, under this name."
                    raise Misfit(f"{place}.{n}.content", f"{part['file'][:60]!r} {told}", hint)


def _check_abilities(record: ImportedInstance) -> None:
    """Raises Misfit for a language or a skill that nobody could be asked for."""
    try:
        asked_by(record.meta)
    except InvalidText as error:
        hint = "Mend it, or leave the column out of the metadata."
        raise Misfit(error.path, error.reason, hint) from error


def _only(recorded: Sequence[RecordedAnnotation]) -> Said:
    one = recorded[0]
    if len(recorded) > 1:
        raise Misfit(f"annotations.{one.annotator}", "annotated this instance twice", "Keep one of the two.")
    details = one.details | ({"rationale": one.rationale} if one.rationale else {})
    return Said(one.annotator, one.source, one.answers, details, at=_moment(one.annotated_at))


def merged_verdict(recorded: Sequence[RecordedAnnotation], questions: Sequence[Question]) -> Said:
    """One judge's readable verdicts, at most one per order of showing, as one annotation.

    The value's strength is the mean over the orders, rounded towards the tie, so a verdict that flips with the order
    is a tie. ``p_a`` is the mean of a Beta(½, ½) posterior over the outcomes 1 (A), ½ (tie), 0 (B):
    ``(Σ outcome + ½) / (n + 1)``. Raises Misfit for two verdicts in one order.
    """
    first = recorded[0]
    question = next((question for question in questions if isinstance(question, PreferenceQuestion)), None)
    by_order = {one.order or "ab": one for one in recorded}
    if len(by_order) < len(recorded):
        raise Misfit(f"annotations.{first.annotator}", "has two verdicts in the same order", "Keep one of the two.")
    reasons = "\n\n".join(one.rationale for one in recorded if one.rationale)
    details: dict[str, Any] = first.details | ({"rationale": reasons} if reasons else {})
    answers = dict(first.answers)
    if question is not None and question.name in answers:
        values = {order: one.answers[question.name]["value"] for order, one in sorted(by_order.items())}
        answers[question.name] = {**answers[question.name], "value": _merged_value(values.values(), question.steps)}
        details |= {"orders": values, "p_a": _p_a(values.values(), question.steps)}
        sides = {_side(value, question.steps) for value in values.values()}
        details["order_consistent"] = len(sides) == 1 if len(values) == 2 else None
    order = IN_ORDER[first.order] if len(recorded) == 1 and first.order else []
    return Said(first.annotator, "judge", answers, details, order, _moment(first.annotated_at))


def _side(value: str, steps: int) -> int | None:
    signed = strength(value, steps)
    return None if signed is None else (signed > 0) - (signed < 0)


def _merged_value(values: Iterable[str], steps: Literal[3, 5, 7, 9]) -> str:
    said = list(values)
    signed = [strength(value, steps) for value in said]
    ordered = [one for one in signed if one is not None]
    if not ordered:
        return said[0]
    return value_of_strength(int(sum(ordered) / len(ordered)), steps)  # int() rounds towards zero: the tie


def _p_a(values: Iterable[str], steps: int) -> float:
    signed = [one for value in values if (one := strength(value, steps)) is not None]
    outcomes = [0.5 - 0.5 * ((one > 0) - (one < 0)) for one in signed]
    return round((sum(outcomes) + 0.5) / (len(outcomes) + 1), 6)


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
