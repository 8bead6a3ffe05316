"""What a judge's reply says beside a preference, completions named by their stored index; and many replies in one."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import groupby

from pydantic import BaseModel, ConfigDict

from routing.judge.asking import Ask

EVEN = 1e-9


class SaidSpan(BaseModel):
    """A marked part `[start, end)` of a completion, in code points of its stored source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: int
    start: int
    end: int
    type: str
    subtype: str = ""
    severity: str = ""
    comment: str = ""


class Said(BaseModel):
    """Ratings by scale and completion, with their rationales; groups of a ranking, best first; texts by completion;
    marks; chosen options by question; `scores` order the completions where the reply did."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ratings: dict[str, dict[int, int]] = {}
    rationales: dict[str, dict[int, str]] = {}
    groups: tuple[tuple[int, ...], ...] = ()
    scores: dict[int, float] = {}
    critiques: dict[int, str] = {}
    refinements: dict[int, str] = {}
    spans: tuple[SaidSpan, ...] = ()
    choices: dict[str, tuple[str, ...]] = {}
    principles: dict[str, str] = {}
    own_answer: str = ""


def rated_share(ask: Ask, ratings: dict[str, dict[int, int]], place: int) -> float | None:
    """A completion's mean rating, each scale stretched to 0…1 and weighted as the task weighs it; None if unrated."""
    total = weights = 0.0
    for scale in ask.scales:
        value = ratings.get(scale.name, {}).get(place)
        if value is not None and scale.weight:
            total += scale.weight * (value - scale.low) / (scale.high - scale.low)
            weights += scale.weight
    return total / weights if weights else None


def merged(ask: Ask, replies: Sequence[Said]) -> Said:
    """Several replies about one instance as one.

    Ratings are the mean, halves rounded up; a ranking orders mean places; a choice is the commonest answer and is left
    out when two are equally common; texts and marks, which cannot be averaged, are the first that were given.
    """
    first = replies[0]
    scores = _means([one.scores for one in replies])
    ratings = {name: _rounded([one.ratings.get(name, {}) for one in replies]) for name in _names(replies)}
    if ratings:
        shares = {place: rated_share(ask, ratings, place) for place in {p for by in ratings.values() for p in by}}
        scores = {place: share for place, share in shares.items() if share is not None}
    return first.model_copy(
        update={
            "ratings": ratings,
            "rationales": {k: _first([one.rationales.get(k, {}) for one in replies]) for k in _rationales(replies)},
            "scores": scores,
            "groups": groups_of(scores) if any(one.groups for one in replies) else (),
            "critiques": _first([one.critiques for one in replies]),
            "refinements": _first([one.refinements for one in replies]),
            "spans": tuple(span for one in _by_new_targets(replies) for span in one),
            "choices": _commonest(replies),
        }
    )


def groups_of(scores: dict[int, float]) -> tuple[tuple[int, ...], ...]:
    """Completions by falling score; equal scores share a group."""
    ordered = sorted(scores, key=lambda place: (-scores[place], place))
    return tuple(tuple(group) for _, group in groupby(ordered, key=lambda place: round(scores[place] / EVEN) * EVEN))


def same_order(one: dict[int, float], other: dict[int, float]) -> bool:
    """Whether two sets of scores order every pair of completions alike, ties included."""
    places = sorted(one)
    pairs = ((i, j) for n, i in enumerate(places) for j in places[n + 1 :])
    return all(_sign(one[i] - one[j]) == _sign(other.get(i, 0.0) - other.get(j, 0.0)) for i, j in pairs)


def _sign(x: float) -> int:
    return 0 if abs(x) < EVEN else 1 if x > 0 else -1


def _names(replies: Sequence[Said]) -> list[str]:
    return list(dict.fromkeys(name for one in replies for name in one.ratings))


def _rationales(replies: Sequence[Said]) -> list[str]:
    return list(dict.fromkeys(name for one in replies for name in one.rationales))


def _means(given: Sequence[dict[int, float]]) -> dict[int, float]:
    values: dict[int, list[float]] = defaultdict(list)
    for one in given:
        for place, value in one.items():
            values[place].append(value)
    return {place: sum(found) / len(found) for place, found in sorted(values.items())}


def _rounded(given: Sequence[dict[int, int]]) -> dict[int, int]:
    means = _means([{place: float(value) for place, value in one.items()} for one in given])
    return {place: math.floor(mean + 0.5) for place, mean in means.items()}


def _first(given: Sequence[dict[int, str]]) -> dict[int, str]:
    found: dict[int, str] = {}
    for one in given:
        found = one | found
    return dict(sorted(found.items()))


def _by_new_targets(replies: Sequence[Said]) -> list[tuple[SaidSpan, ...]]:
    """Each reply's marks of completions that no earlier reply spoke of."""
    spoken: set[int] = set()
    kept = []
    for one in replies:
        kept.append(tuple(span for span in one.spans if span.target not in spoken))
        spoken |= set(one.critiques)
    return kept


def _commonest(replies: Sequence[Said]) -> dict[str, tuple[str, ...]]:
    kept = {}
    for name in dict.fromkeys(name for one in replies for name in one.choices):
        counts = Counter(tuple(sorted(one.choices[name])) for one in replies if name in one.choices).most_common(2)
        if len(counts) == 1 or counts[0][1] > counts[1][1]:
            kept[name] = counts[0][0]
    return kept
