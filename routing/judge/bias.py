"""How a judge compares with people and how it leans: agreement, calibration, the pull of length, win rates."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from feedback.aggregation.agreement import cohen_kappa
from feedback.aggregation.length_control import length_controlled
from routing.judge.calibration import ReliabilityBin, expected_calibration_error, fit_isotonic, reliability

Floats = NDArray[np.float64]
Z95 = 1.959963984540054
A, TIE, B = 0, 1, 2
LEAST_SLICE = 5
LEAST_RATED = 10
BOOTSTRAPS = 2000


@dataclass(frozen=True)
class Both:
    """One instance of which a judge and people spoke. ``label`` and ``votes`` are A, TIE or B; ``gap`` is the length of
    the first completion minus that of the second, in words."""

    key: int
    prompt: str
    p_a: float
    label: int
    votes: tuple[int, ...]
    gap: int = 0
    models: tuple[str, str] = ("", "")
    slices: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Share:
    """A share with its 95% interval (Wilson), over ``count``; None where there is nothing to count."""

    value: float | None
    low: float | None
    high: float | None
    count: int


@dataclass(frozen=True)
class Agreement:
    """How often a judge says what one person says (ties are a third answer), and beyond chance."""

    share: Share
    kappa: float | None


@dataclass(frozen=True)
class Calibrated:
    """Reliability of P(a) against people, and the expected calibration error: as stated, and after isotonic calibration
    that was fitted on the other half of the prompts."""

    bins: tuple[ReliabilityBin, ...]
    error: float
    error_after: float | None


@dataclass(frozen=True)
class Rate:
    """A model's win rate by one source: raw, and at equal length; people's are on the same instances."""

    model: str
    count: int
    raw: float
    at_equal_length: float
    people: float
    people_at_equal_length: float


@dataclass(frozen=True)
class Compared:
    """Two judges on the instances that both and people labelled: each one's agreement, and the difference."""

    one: Share
    other: Share
    difference: float | None
    low: float | None
    high: float | None


def share_of(flags: Sequence[bool]) -> Share:
    """A share with Wilson's 95% interval."""
    count = len(flags)
    if not count:
        return Share(None, None, None, 0)
    share = sum(flags) / count
    spread = 1 + Z95**2 / count
    centre = (share + Z95**2 / (2 * count)) / spread
    half = Z95 * math.sqrt(share * (1 - share) / count + Z95**2 / (4 * count**2)) / spread
    return Share(share, centre - half, centre + half, count)


def agreement(rows: Sequence[Both]) -> Agreement:
    """Over all pairs of the judge's label and one person's vote on the same instance."""
    pairs = [(row.label, vote) for row in rows for vote in row.votes]
    if not pairs:
        return Agreement(share_of([]), None)
    mine, theirs = np.array(pairs).T
    return Agreement(share_of([a == b for a, b in pairs]), cohen_kappa(mine, theirs, n_labels=3))


def by_slice(rows: Sequence[Both]) -> list[tuple[str, str, Agreement]]:
    """(what, value, agreement) of each slice with at least five pairs, in the order of their names."""
    parts: dict[tuple[str, str], list[Both]] = defaultdict(list)
    for row in rows:
        for name, value in row.slices.items():
            parts[name, value].append(row)
    found = ((name, value, agreement(part)) for (name, value), part in sorted(parts.items()))
    return [one for one in found if one[2].share.count >= LEAST_SLICE]


def calibrated(rows: Sequence[Both]) -> Calibrated | None:
    """Against the mean of people's votes, a tie counted half; None without rows."""
    if not rows:
        return None
    p, outcome = np.array([row.p_a for row in rows]), np.array([_outcome(row) for row in rows])
    bins, error = tuple(reliability(p, outcome)), expected_calibration_error(p, outcome)
    prompts = {prompt: n for n, prompt in enumerate(sorted({row.prompt for row in rows}))}
    half = np.array([prompts[row.prompt] % 2 == 0 for row in rows])
    if half.all() or not half.any():
        return Calibrated(bins, error, None)
    after = np.empty_like(p)
    for side in (half, ~half):
        after[side] = fit_isotonic(p[~side], outcome[~side]).apply(p[side])
    return Calibrated(bins, error, expected_calibration_error(after, outcome))


def _outcome(row: Both) -> float:
    return sum({A: 1.0, TIE: 0.5, B: 0.0}[vote] for vote in row.votes) / len(row.votes)


def longer_share(rows: Sequence[Both]) -> tuple[Share, Share]:
    """How often the longer completion is preferred where a side is: by the judge, and by people."""
    mine = [(row.label == A) == (row.gap > 0) for row in rows if row.gap and row.label != TIE]
    theirs = [(vote == A) == (row.gap > 0) for row in rows for vote in row.votes if row.gap and vote != TIE]
    return share_of(mine), share_of(theirs)


def win_rates(rows: Sequence[Both]) -> list[Rate]:
    """Each model's win rate over all others by judge and people, most often compared first; none below ten pairs."""
    by_model: dict[str, list[tuple[Both, float]]] = defaultdict(list)
    for row in rows:
        if row.models[0] != row.models[1]:
            for side, model in zip((1.0, -1.0), row.models, strict=True):
                by_model[model].append((row, side))
    kept = [(model, seen) for model, seen in by_model.items() if model and len(seen) >= LEAST_RATED]
    judge, people = (_Fared(rows, wins) for wins in (_judged, _outcome))
    rates = [_rate(model, seen, judge, people) for model, seen in kept]
    return sorted(rates, key=lambda rate: (-rate.count, rate.model))


def _judged(row: Both) -> float:
    return {A: 1.0, TIE: 0.5, B: 0.0}[row.label]


class _Fared:
    """How each model fared on each prompt by one source, to say how hard an opponent is there."""

    def __init__(self, rows: Sequence[Both], wins: Callable[[Both], float]) -> None:
        self.wins = wins
        self._on: dict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
        for row in rows:
            first, second = row.models
            self._on[first, row.prompt].append((second, wins(row)))
            self._on[second, row.prompt].append((first, 1.0 - wins(row)))

    def difficulty(self, row: Both, side: float) -> float:
        """−logit of the opponent's win rate on this prompt against third models, shrunk by one win and one loss."""
        model, opponent = row.models if side > 0 else row.models[::-1]
        fared = [won for against, won in self._on[opponent, row.prompt] if against != model]
        share = (sum(fared) + 1.0) / (len(fared) + 2.0)
        return -math.log(share / (1.0 - share))

    def rate(self, seen: Sequence[tuple[Both, float]]) -> tuple[float, float]:
        """(raw, at equal length) of the model that stands at each row's side."""
        won = np.array([self.wins(row) if side > 0 else 1.0 - self.wins(row) for row, side in seen])
        gaps = np.array([side * row.gap for row, side in seen])
        hard = np.array([self.difficulty(row, side) for row, side in seen])
        return float(won.mean()), length_controlled(won, gaps, hard)


def _rate(model: str, seen: Sequence[tuple[Both, float]], judge: _Fared, people: _Fared) -> Rate:
    raw, equal = judge.rate(seen)
    people_raw, people_equal = people.rate(seen)
    return Rate(model, len(seen), raw, equal, people_raw, people_equal)


def compare(one: Sequence[Both], other: Sequence[Both], seed: int = 0) -> Compared:
    """Agreement with people on the instances that both judged; the interval of the difference is a bootstrap over
    prompts, since instances of one prompt are alike."""
    second = {row.key: row for row in other}
    shared = [(row, second[row.key]) for row in one if row.key in second and row.votes]
    prompts: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for mine, theirs in shared:
        counts = (sum(v == mine.label for v in mine.votes), sum(v == theirs.label for v in mine.votes), len(mine.votes))
        prompts[mine.prompt].append(counts)
    shares = [share_of([v == row[side].label for row in shared for v in row[0].votes]) for side in (0, 1)]
    if len(prompts) < 2:
        return Compared(shares[0], shares[1], None, None, None)
    sums = np.array([np.sum(rows, axis=0) for rows in prompts.values()], dtype=np.float64)
    draws = np.random.default_rng(seed).integers(0, len(sums), (BOOTSTRAPS, len(sums)))
    # a few draws at a time: all at once would take a hundred megabytes of a page's process
    drawn = np.concatenate([sums[some].sum(axis=1) for some in np.array_split(draws, 50)])
    low, high = np.quantile((drawn[:, 0] - drawn[:, 1]) / drawn[:, 2], [0.025, 0.975])
    total = sums.sum(axis=0)
    return Compared(shares[0], shares[1], float((total[0] - total[1]) / total[2]), float(low), float(high))
