"""Who wins in a task whose completions name their models: by people, by each judge and reward model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, islice
from time import time
from typing import Any, NamedTuple

from django.core.cache import cache
from django.db.models import Count, Max

from feedback.content import text_of
from feedback.models import Annotation, Source, Task
from feedback.questions import PreferenceQuestion, Question, strength

from .evaluation.winrate import Comparison, mismatch, win_rate
from .scorings import asked_of

MOST_ANNOTATIONS = 20_000
PEOPLE = "People"
KEPT_SECONDS = 3600
RESTS = 20
"""Counting rests so many times as long as it took."""
READ = (
    *("source", "answers", "details", "annotator__name"),
    *("instance__prompt_hash", "instance__completions"),
)


class Who(NamedTuple):
    """Who compared: all people together, whose ``source`` is human and who have no annotator, or one of the others."""

    source: str
    name: str
    annotator: int | None = None


@dataclass(frozen=True)
class Rates:
    """What one judge, or all people, say of two models; ``found`` as ``evaluation.winrate.win_rate`` gives it.

    ``source`` is human, judge or simulated.
    """

    who: str
    source: str
    model: str
    other: str
    found: Mapping[str, Any]


@dataclass(frozen=True)
class Said:
    """Every comparison of two different models in a task, by who made it, with the instance that it is of."""

    by: Mapping[Who, list[tuple[int, Comparison]]]


@dataclass(frozen=True)
class Compared:
    """What a task says of the models whose completions it compares."""

    rates: list[Rates]
    mismatches: list[dict[str, Any]]


@dataclass(frozen=True)
class _Kept:
    """``until``: when it may be counted again, by the clock of ``time.time``."""

    state: str
    found: Compared
    until: float


def compared(task: Task) -> Compared:
    """Win rates and mismatches of a task. They follow every annotation, but where counting takes long, only so often
    that it takes a twentieth of the time: those of 20,000 annotations may be a few minutes behind."""
    live = Annotation.objects.live().filter(task=task).aggregate(count=Count("pk"), last=Max("updated_at"))
    state = f"{task.questions_version}:{live['count']}:{live['last']}"
    key = f"win-rates:{task.pk}"
    kept: _Kept | None = cache.get(key)
    began = time()
    if kept and (kept.state == state or began < kept.until):
        return kept.found
    said = said_in(task)
    found = Compared(rates(said), mismatches(said))
    ended = time()
    cache.set(key, _Kept(state, found, ended + RESTS * (ended - began)), KEPT_SECONDS)
    return found


def said_in(task: Task) -> Said:
    """What was said of different models' completions; the last 20,000 annotations count."""
    asked = asked_of(task)
    by: dict[Who, list[tuple[int, Comparison]]] = {}
    if asked is not None:
        live = Annotation.objects.live().filter(task=task).select_related("annotator", "instance")
        rows = live.only(*READ).order_by("-pk")[:MOST_ANNOTATIONS]
        for row in rows.iterator(chunk_size=50):
            human = row.source == Source.HUMAN
            who = Who(row.source, PEOPLE) if human else Who(row.source, row.annotator.name, row.annotator_id)
            for one in _comparisons(row, asked):
                by.setdefault(who, []).append((row.instance_id, one))
    return Said(by)


def _comparisons(row: Annotation, asked: Question) -> Iterator[Comparison]:
    instance = row.instance
    scores = row.details.get("scores")
    answer = row.answers.get(asked.name) or {}
    for a, b in islice(combinations(range(len(instance.completions)), 2), 66):
        outcome = outcome_of(asked, answer, a, b)
        first, second = (instance.completions[place] for place in (a, b))
        model, other = (str(one.get("model") or "") for one in (first, second))
        if outcome is None or not model or not other or model == other:
            continue
        one = Comparison(
            instance.prompt_hash,
            model,
            other,
            outcome,
            length=len(text_of(first["content"]).split()),
            other_length=len(text_of(second["content"]).split()),
            reward_gap=float(scores[a] - scores[b]) if isinstance(scores, list) and len(scores) > b else None,
        )
        yield one if model < other else turned(one)


def turned(one: Comparison) -> Comparison:
    """The same comparison from the other model's side."""
    gap = None if one.reward_gap is None else -one.reward_gap
    return replace(
        one,
        model=one.other,
        other=one.model,
        outcome=1 - one.outcome,
        length=one.other_length,
        other_length=one.length,
        reward_gap=gap,
    )


def outcome_of(asked: Question, answer: Mapping[str, Any], a: int, b: int) -> float | None:
    """1 when an answer puts completion ``a`` before ``b``, 1/2 for a tie, else 0; None when it says nothing."""
    if isinstance(asked, PreferenceQuestion):
        value = answer.get("value")
        signed = strength(value, asked.steps) if value in asked.values() else None
        return None if signed is None else 0.5 - 0.5 * ((signed > 0) - (signed < 0))
    places = {place: rank for rank, group in enumerate(answer.get("groups") or []) for place in group}
    if a not in places or b not in places:
        return None
    return 0.5 - 0.5 * ((places[a] > places[b]) - (places[a] < places[b]))


def _people_first(said: Said) -> list[Who]:
    return sorted(said.by, key=lambda one: (one.source != Source.HUMAN, one))


def rates(said: Said) -> list[Rates]:
    """Win rates by who compared and by the two models, people first."""
    found = []
    for who in _people_first(said):
        pairs: dict[tuple[str, str], list[Comparison]] = {}
        for _, one in said.by[who]:
            pairs.setdefault((one.model, one.other), []).append(one)
        found += [Rates(who.name, who.source, *models, win_rate(several)) for models, several in sorted(pairs.items())]
    return found


def mismatches(said: Said) -> list[dict[str, Any]]:
    """Where each reward model and the others part: its score gap on an instance beside their preference there."""
    found = []
    for scorer in _people_first(said):
        scored = said.by[scorer]
        gaps = {(pk, one.model, one.other): one.reward_gap for pk, one in scored if one.reward_gap is not None}
        for who in _people_first(said) if gaps else ():
            several = said.by[who]
            if any(one.reward_gap is not None for _, one in several):
                continue
            beside = [replace(one, reward_gap=gaps.get((pk, one.model, one.other))) for pk, one in several]
            if figures := mismatch(beside):
                found.append({"reward_model": scorer.name, "who": who.name, "source": who.source, **figures})
    return found
