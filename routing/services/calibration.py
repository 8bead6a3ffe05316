"""How a judge compares with people, and how it leans: what its page shows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db.models import Avg, Count, Q

from feedback.aggregation.agreement import cohen_kappa
from feedback.models import Annotation, Annotator, AnnotatorKind, Project, Source
from feedback.questions import PreferenceQuestion
from routing.judge.bias import share_of

from ..models import Judge, JudgeCall, Verdict
from .evidence import said_of

MOST_READ = 5000


@dataclass(frozen=True)
class JudgeReport:
    """Shares are 0…1, ``None`` where there is nothing to count. ``agreement`` is over pairs of a verdict and one
    person's label on the same instance, ties counted as a third answer.

    ``position_bias``: share of decisive calls for the side shown first, minus one half. ``length_bias``: how much more
    often the judge than people prefer the longer completion. ``cost_per_thousand`` in micros.
    """

    annotator: Annotator
    judge: Judge | None
    verdicts: int
    pairs: int
    agreement: float | None
    agreement_low: float | None
    agreement_high: float | None
    kappa: float | None
    order_consistency: float | None
    position_bias: float | None
    length_bias: float | None
    abstained: float | None
    cost_per_thousand: int | None


@dataclass(frozen=True)
class _Label:
    """A: 0, tie: 1, B: 2; and whether the longer completion was preferred (``None`` for ties and equal lengths)."""

    label: int
    longer: bool | None


def judge_reports(project: Project) -> list[JudgeReport]:
    """One report per judge of a project: current configured ones, and recorded ones of imported sets."""
    current = {judge.annotator_id: judge for judge in Judge.objects.current().filter(project=project)}
    annotators = Annotator.objects.filter(project=project).exclude(kind=AnnotatorKind.HUMAN)
    shown = annotators.filter(Q(pk__in=current) | Q(judge=None, kind=AnnotatorKind.JUDGE)).order_by("name", "pk")
    return [report_of(annotator, current.get(annotator.pk)) for annotator in shown[:50]]


def report_of(annotator: Annotator, judge: Judge | None) -> JudgeReport:
    """Read the judge's newest annotations, and what people said of the same instances."""
    rows = Annotation.objects.live().filter(annotator=annotator).exclude(source=Source.HUMAN)
    newest = list(rows.select_related("task", "instance").order_by("-pk")[:MOST_READ])
    said = {row.instance_id: _label_of(row) for row in newest}
    consistent = [row.details["order_consistent"] for row in newest if row.details.get("order_consistent") is not None]
    votes = _people_on(list(said))
    pairs = [(said[pk], vote) for pk, given in votes.items() for vote in given if said[pk]]
    agreed = share_of([mine.label == vote.label for mine, vote in pairs if mine])
    return JudgeReport(
        annotator=annotator,
        judge=judge,
        verdicts=rows.count(),
        pairs=len(pairs),
        agreement=agreed.value,
        agreement_low=agreed.low,
        agreement_high=agreed.high,
        kappa=_kappa([(mine.label, vote.label) for mine, vote in pairs if mine]),
        order_consistency=_share(consistent),
        position_bias=_position_bias(judge),
        length_bias=_length_bias([(mine, vote) for mine, vote in pairs if mine]),
        abstained=_abstained(judge),
        cost_per_thousand=_cost_per_thousand(judge),
    )


def _label_of(row: Annotation) -> _Label | None:
    asked = row.task.preference_question
    said = said_of(row.answers, row.details, asked) if isinstance(asked, PreferenceQuestion) else None
    if said is None:
        return None
    lengths = [len(text) for text in row.instance.completion_texts()]
    even = abs(said.p_a - 0.5) < 1e-9 or _value(row, asked) == "tie"
    a_better = said.p_a > 0.5
    longer = None if even or len(lengths) != 2 or lengths[0] == lengths[1] else a_better == (lengths[0] > lengths[1])
    return _Label(1 if even else 0 if a_better else 2, longer)


def _value(row: Annotation, asked: object) -> str:
    name = asked.name if isinstance(asked, PreferenceQuestion) else ""
    return str(row.answers.get(name, {}).get("value", ""))


def _people_on(instance_ids: Sequence[int]) -> Mapping[int, list[_Label]]:
    votes: dict[int, list[_Label]] = defaultdict(list)
    for start in range(0, len(instance_ids), 900):
        part = instance_ids[start : start + 900]
        human = Annotation.objects.live().filter(source=Source.HUMAN, instance__in=part)
        for row in human.select_related("task", "instance"):
            label = _label_of(row)
            if label:
                votes[row.instance_id].append(label)
    return votes


def _share(flags: Sequence[Any]) -> float | None:
    return sum(map(bool, flags)) / len(flags) if flags else None


def _kappa(pairs: Sequence[tuple[int, int]]) -> float | None:
    if not pairs:
        return None
    mine, theirs = np.array(pairs).T
    return cohen_kappa(mine, theirs, n_labels=3)


def _length_bias(pairs: Sequence[tuple[_Label, _Label]]) -> float | None:
    mine = _share([a.longer for a, _ in pairs if a.longer is not None])
    people = _share([b.longer for _, b in pairs if b.longer is not None])
    return None if mine is None or people is None else mine - people


def _position_bias(judge: Judge | None) -> float | None:
    if judge is None:
        return None
    first = Q(order="ab", p_a__gt=0.5) | Q(order="ba", p_a__lt=0.5)
    decisive = JudgeCall.objects.filter(judge=judge, p_a__isnull=False).exclude(p_a=0.5)
    counts = decisive.aggregate(all=Count("pk"), first=Count("pk", filter=first))
    return counts["first"] / counts["all"] - 0.5 if counts["all"] else None


def _abstained(judge: Judge | None) -> float | None:
    if judge is None:
        return None
    told = Verdict.objects.filter(judge=judge, unreached=False)
    counts = told.aggregate(all=Count("pk"), none=Count("pk", filter=Q(annotation=None)))
    return counts["none"] / counts["all"] if counts["all"] else None


def _cost_per_thousand(judge: Judge | None) -> int | None:
    if judge is None:
        return None
    mean = Verdict.objects.filter(judge=judge, unreached=False).aggregate(mean=Avg("cost_micros"))["mean"]
    return None if mean is None else round(float(mean) * 1000)
