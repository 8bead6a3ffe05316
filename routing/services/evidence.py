"""Rows → arrays: what is known of a task's instances before routing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedback.models import Annotation, Annotator, Source, Task
from feedback.questions import PreferenceQuestion, strength
from routing.judge.verdict import debias
from routing.ppm.preparation import Evidence, evidence_from_table
from routing.ppm.quality import Votes

from ..models import Judge, Verdict
from .describing import Described, Tell, described

SLIGHT, CLEAR = 0.7, 0.95
LEAST_SECTION = 10


@dataclass(frozen=True)
class TaskEvidence:
    """The evidence of a task's pool; row n of every array is instance ``ids[n]``. ``said``: the annotation of each of
    the votes."""

    pool: Described
    evidence: Evidence
    said: tuple[int, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        return self.pool.ids

    @property
    def public_ids(self) -> tuple[str, ...]:
        return self.pool.public_ids


@dataclass(frozen=True)
class Said:
    """What a judge said of one instance."""

    p_a: float
    consistent: bool


def load_evidence(
    task: Task,
    judge: Annotator | None,
    pilot: Sequence[str] | None = None,
    *,
    left_out: Sequence[str] = (),
    tell: Tell | None = None,
) -> TaskEvidence:
    """Everything that routing may know. With ``pilot`` (public ids) people's labels elsewhere are left out; tags and
    metadata fields ``left_out`` are no features. ``tell`` hears of describing what is new.

    A judge that cannot be run (recorded in an imported set) counts as asked everywhere.
    """
    pool = described(task, left_out, tell)
    place = {pk: row for row, pk in enumerate(pool.ids)}
    p_a, consistent, judged = _judge_columns(task, judge, place)
    wanted = None if pilot is None else set(pilot)
    allowed = None if wanted is None else {row for row, name in enumerate(pool.public_ids) if name in wanted}
    votes, said = _votes(task, place, allowed)
    evidence, _ = evidence_from_table(
        p_a,
        judged,
        consistent,
        votes,
        pool.features.table,
        pool.features.difference,
        sections=_sections(pool.categories),
    )
    return TaskEvidence(pool, evidence, said)


def _sections(categories: Sequence[str]) -> NDArray[np.int64] | None:
    """Prompt categories as numbers; ``None`` when there are none, or too few instances in one to average."""
    names, numbers, counts = np.unique(np.array(categories), return_inverse=True, return_counts=True)
    if len(names) < 2 or counts.min() < LEAST_SECTION:
        return None
    return np.asarray(numbers, dtype=np.int64)


def _judge_columns(
    task: Task, judge: Annotator | None, place: Mapping[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """P(a), whether both orders agreed, and whether the judge was asked."""
    p_a = np.full(len(place), np.nan)
    consistent = np.ones(len(place), dtype=bool)
    judged = np.zeros(len(place), dtype=bool)
    if judge is None:
        return p_a, consistent, judged
    asked = task.preference_question
    assert isinstance(asked, PreferenceQuestion)
    rows = Annotation.objects.live().filter(task=task, annotator=judge, source__in=[Source.JUDGE, Source.SIMULATED])
    for pk, answers, details in rows.values_list("instance_id", "answers", "details").iterator():
        said = said_of(answers, details, asked)
        if said and pk in place:
            p_a[place[pk]], consistent[place[pk]], judged[place[pk]] = said.p_a, said.consistent, True
    if not Judge.objects.filter(annotator=judge).exists():
        return p_a, consistent, np.ones(len(place), dtype=bool)
    abstained = Verdict.objects.filter(judge__annotator=judge, instance__task=task, annotation=None, unreached=False)
    judged[[place[pk] for pk in abstained.values_list("instance_id", flat=True) if pk in place]] = True
    return p_a, consistent, judged


def said_of(answers: Mapping[str, Any], details: Mapping[str, Any], asked: PreferenceQuestion) -> Said | None:
    """P(a) and order consistency of a judge's annotation, recorded or ours.

    ``p_a`` where it is given; else the orders' values debiased; else the value itself. ``None`` without a preference.
    """
    value = answers.get(asked.name, {}).get("value", "")
    orders = [p for p in (_p_of(v, asked) for v in (details.get("orders") or {}).values()) if p is not None]
    p_a = details.get("p_a")
    if p_a is None:
        p_a = debias(orders[0], orders[1]) if len(orders) == 2 else _p_of(value, asked)
    if p_a is None:
        return None
    consistent = details.get("order_consistent")
    if consistent is None:
        consistent = len(orders) < 2 or (orders[0] > 0.5) == (orders[1] > 0.5)
    return Said(float(p_a), bool(consistent))


def _p_of(value: object, asked: PreferenceQuestion) -> float | None:
    """P(a) of a preference value: slight is .7, the strongest .95, evenly between; a tie is .5."""
    if not isinstance(value, str) or value not in asked.values():
        return None
    signed = strength(value, asked.steps)
    if signed is None:
        return None
    if signed == 0:
        return 0.5
    half = asked.steps // 2
    sure = CLEAR if half == 1 else SLIGHT + (CLEAR - SLIGHT) * (abs(signed) - 1) / (half - 1)
    return sure if signed < 0 else 1.0 - sure


def _votes(task: Task, place: Mapping[int, int], allowed: set[int] | None) -> tuple[Votes, tuple[int, ...]]:
    """People's preferences with their annotations; *both bad* and *cannot judge* say nothing of the order."""
    asked = task.preference_question
    assert isinstance(asked, PreferenceQuestion)
    rows = Annotation.objects.live().filter(task=task, source=Source.HUMAN)
    said, instance, annotator, side = [], [], [], []
    numbers: dict[int, int] = {}
    columns = ("pk", "instance_id", "annotator_id", "answers")
    for annotation, pk, who, answers in rows.order_by("pk").values_list(*columns).iterator():
        row = place.get(pk)
        if row is None or (allowed is not None and row not in allowed):
            continue
        value = answers.get(asked.name, {}).get("value")
        p = _p_of(value, asked)
        if p is not None:
            said.append(annotation)
            instance.append(row)
            annotator.append(numbers.setdefault(who, len(numbers)))
            side.append(float(np.sign(p - 0.5)))
    votes = Votes(np.array(instance, np.int64), np.array(annotator, np.int64), np.array(side, np.float64))
    return votes, tuple(said)
