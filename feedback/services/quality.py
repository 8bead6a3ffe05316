"""How far a project is and how well its annotators agree: rows → arrays → pure calls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
from django.core.cache import cache
from django.db.models import Count, Max, Q, QuerySet, Sum
from django.db.models.fields.json import KT
from django.db.models.functions import TruncDate
from django.utils import timezone

from ..aggregation import Votes
from ..models import Annotation, Assignment, AssignmentState, Instance, Project, Source, Task
from ..questions import CANNOT_JUDGE

RATE_DAYS = 7
BOOTSTRAP = 400
_A, _TIE, _B = range(3)
PEOPLE = {"human": "people", "simulated": "simulated annotators"}


@dataclass(frozen=True)
class Progress:
    """How far a task is. ``goal`` is what people have labelled plus what is open or lent to them.

    ``per_day`` is the mean of the last seven days, ``days_left`` what is left at that rate (``None``: no rate yet).
    ``days`` are the person annotations of each of those days, oldest first.
    """

    instances: int = 0
    human: int = 0
    judge: int = 0
    simulated: int = 0
    recorded: int = 0
    open_slots: int = 0
    lent: int = 0
    days: tuple[int, ...] = (0,) * RATE_DAYS

    @property
    def goal(self) -> int:
        return self.human + self.open_slots + self.lent

    @property
    def per_day(self) -> float:
        return sum(self.days) / RATE_DAYS

    @property
    def days_left(self) -> float | None:
        left = self.open_slots + self.lent
        return left / self.per_day if self.per_day and left else None

    def __add__(self, other: Progress) -> Progress:
        names = ("instances", "human", "judge", "simulated", "recorded", "open_slots", "lent")
        sums = {name: getattr(self, name) + getattr(other, name) for name in names}
        return Progress(**sums, days=tuple(a + b for a, b in zip(self.days, other.days, strict=True)))


@dataclass(frozen=True)
class Agreement:
    """Raw agreement over ``pairs`` of annotations of one instance, in three ways (A, neither, B).

    ``low`` and ``high``: 95% bootstrap interval over instances. ``who`` names the sides: people, a judge by its name.
    """

    who: tuple[str, str]
    value: float
    low: float
    high: float
    pairs: int


@dataclass(frozen=True)
class Share:
    """What one annotator contributed to a project."""

    name: str
    kind: str
    count: int
    share: float


def progress_of(tasks: Sequence[Task]) -> dict[int, Progress]:
    """Progress by task key, in four queries however many tasks there are."""
    keys = [task.pk for task in tasks]
    pools = {
        row["task"]: row
        for row in _grouped(Instance.objects.filter(task__in=keys, removed_at=None)).annotate(
            instances=Count("pk"), open_slots=Sum("open_slots")
        )
    }
    lent = _grouped(Assignment.objects.filter(task__in=keys, state=AssignmentState.LENT))
    lent_by_task = {row["task"]: row["count"] for row in lent.annotate(count=Count("pk"))}
    said = {row["task"]: row for row in _said(keys)}
    days = _days(keys)
    return {
        key: Progress(
            instances=pools.get(key, {}).get("instances", 0),
            open_slots=pools.get(key, {}).get("open_slots", 0) or 0,
            lent=lent_by_task.get(key, 0),
            days=days[key],
            **{name: said.get(key, {}).get(name, 0) for name in ("human", "judge", "simulated", "recorded")},
        )
        for key in keys
    }


def _grouped(rows: QuerySet[Any]) -> QuerySet[Any, dict[str, Any]]:
    grouped: QuerySet[Any, dict[str, Any]] = rows.order_by().values("task")
    return grouped


def _said(keys: list[int]) -> QuerySet[Any, dict[str, Any]]:
    counts = {str(source): Count("pk", filter=Q(source=source)) for source in Source}
    said: QuerySet[Any, dict[str, Any]] = _grouped(Annotation.objects.live().filter(task__in=keys)).annotate(
        recorded=Count("pk", filter=Q(recorded=True)), **counts
    )
    return said


def _days(keys: list[int]) -> dict[int, tuple[int, ...]]:
    """What people submitted on each of the last seven days (UTC), today included, by task."""
    today = timezone.now().date()
    recent = Annotation.objects.live().filter(
        task__in=keys,
        source=Source.HUMAN,
        recorded=False,
        submitted_at__gte=timezone.now() - timedelta(days=RATE_DAYS),
    )
    rows = recent.order_by().annotate(day=TruncDate("submitted_at")).values_list("task", "day").annotate(Count("pk"))
    found: dict[tuple[int, date], int] = {(task, day): count for task, day, count in rows}
    window = [today - timedelta(days=back) for back in reversed(range(RATE_DAYS))]
    return {key: tuple(found.get((key, day), 0) for day in window) for key in keys}


def shares_of(project: Project, limit: int = 8) -> list[Share]:
    """Who labelled how much of a project, the busiest first."""
    live = Annotation.objects.live().filter(task__project=project)
    rows = live.order_by().values("annotator__name", "annotator__kind").annotate(count=Count("pk"))
    total = live.count()
    return [
        Share(row["annotator__name"], row["annotator__kind"], row["count"], row["count"] / total)
        for row in rows.order_by("-count", "annotator__name")[:limit]
    ]


def agreement_of(task: Task) -> list[Agreement]:
    """Agreement on the task's preference question between people, and of people with each judge; empty without pairs.

    ``both-bad`` counts as neither, like a tie; ``cannot-judge`` is no vote. Cached until an annotation changes.
    """
    question = task.preference_question
    if question is None:
        return []
    live = Annotation.objects.live().filter(task=task)
    state = live.aggregate(count=Count("pk"), last=Max("updated_at"))
    key = f"agreement:{task.pk}:{task.questions_version}:{state['count']}:{state['last']}".replace(" ", "_")
    found: list[Agreement] | None = cache.get(key)
    if found is None:
        rows = live.annotate(value=KT(f"answers__{question.name}__value")).filter(value__isnull=False)
        found = agreements(rows.values_list("instance", "annotator", "annotator__name", "source", "value").iterator())
        cache.set(key, found, 3600)
    return found


def agreements(rows: Iterable[tuple[int, int, str, str, str]]) -> list[Agreement]:
    """Agreement of ``(instance, annotator, name, source, value)`` rows: of people, and of people with each judge."""
    by_side: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    judges: set[str] = set()
    for instance, annotator, name, source, value in rows:
        if source == Source.JUDGE:
            judges.add(name)
        if value != CANNOT_JUDGE:
            by_side[name if source == Source.JUDGE else PEOPLE[source]].append((instance, annotator, _way(value)))
    items = {item: i for i, item in enumerate(sorted({row[0] for rows in by_side.values() for row in rows}))}
    counts = {side: _counts(votes, items) for side, votes in by_side.items()}
    wanted = [(people, other) for people in PEOPLE.values() for other in (people, *sorted(judges))]
    found = [_agreement(pair, counts) for pair in wanted if set(pair) <= set(counts)]
    return [agreement for agreement in found if agreement]


def _way(value: str) -> int:
    return {"a": _A, "b": _B}.get(value[: value.find("-is-")] if "-is-" in value else "", _TIE)


def _counts(votes: list[tuple[int, int, int]], items: dict[int, int]) -> np.ndarray:
    item, annotator, label = zip(*votes, strict=True)
    return Votes.of([items[key] for key in item], annotator, label, n_items=len(items), n_labels=3).counts()


def _agreement(who: tuple[str, str], counts: dict[str, np.ndarray]) -> Agreement | None:
    one, other = counts[who[0]], counts[who[1]]
    if who[0] == who[1]:
        n = one.sum(axis=1)
        equal, pairs = (one * (one - 1)).sum(axis=1) / 2, n * (n - 1) / 2
    else:
        equal, pairs = (one * other).sum(axis=1), one.sum(axis=1) * other.sum(axis=1)
    equal, pairs = equal[pairs > 0], pairs[pairs > 0]
    if not pairs.size:
        return None
    low, high = ratio_interval(equal, pairs)
    return Agreement(who, float(equal.sum() / pairs.sum()), low, high, int(pairs.sum()))


def ratio_interval(
    equal: np.ndarray, pairs: np.ndarray, *, draws: int = BOOTSTRAP, seed: int = 0
) -> tuple[float, float]:
    """95% percentile interval of ``sum(equal) / sum(pairs)`` over bootstrap draws of the items ``(n,)``."""
    rng = np.random.default_rng(seed)
    drawn = np.empty(draws)
    for i in range(draws):
        picked = rng.integers(0, pairs.size, pairs.size)
        drawn[i] = equal[picked].sum() / pairs[picked].sum()
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)
