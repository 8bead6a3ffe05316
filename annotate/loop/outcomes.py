"""What the loop measured, and what can be said of it: means over seeds, differences with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """One mix: its plan, its labels, and the reward model trained on it.

    ``share`` is the offered budget as a share of the price of all people; ``labels`` maps an instance to whether its
    label agrees with people who were not asked (1, 0, ½ for a tie), ``held_out`` a test pair to whether the reward
    model ranks it as people do; ``prompt_of`` maps both to their prompt.
    """

    strategy: str
    share: float
    seed: int
    human_share: float
    cost: float
    currency: str
    labels: Mapping[str, float]
    held_out: Mapping[str, float]
    prompt_of: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval."""

    value: float
    low: float
    high: float

    @property
    def is_above_zero(self) -> bool:
        return self.low > 0

    @property
    def is_below_zero(self) -> bool:
        return self.high < 0


Measure = Callable[[Outcome], Mapping[str, float]]


def by_labels(outcome: Outcome) -> Mapping[str, float]:
    return outcome.labels


def by_held_out(outcome: Outcome) -> Mapping[str, float]:
    return outcome.held_out


def mean(outcomes: Sequence[Outcome], measure: Measure, draws: int = 2000) -> Estimate:
    """The mean of ``measure`` over seeds, with a bootstrap interval over prompts within each seed."""
    values = [_per_prompt(measure(one), one.prompt_of) for one in outcomes]
    return _bootstrap(values, draws)


def difference(ours: Sequence[Outcome], theirs: Sequence[Outcome], measure: Measure, draws: int = 2000) -> Estimate:
    """``ours`` minus ``theirs``, paired by seed and item. Interval: bootstrap over prompts within each seed.

    Raises ValueError when the two share no seed.
    """
    other = {one.seed: one for one in theirs}
    pairs = [(one, other[one.seed]) for one in ours if one.seed in other]
    if not pairs:
        raise ValueError("the two strategies share no seed")
    values = [_per_prompt(_minus(measure(one), measure(two)), one.prompt_of) for one, two in pairs]
    return _bootstrap(values, draws)


def _minus(one: Mapping[str, float], two: Mapping[str, float]) -> dict[str, float]:
    return {key: one[key] - two[key] for key in one.keys() & two.keys()}


def _per_prompt(values: Mapping[str, float], prompt_of: Mapping[str, str]) -> Floats:
    """[P, 2]: sum and count of the values of each prompt, in a fixed order."""
    sums: dict[str, list[float]] = {}
    for key in sorted(values):
        total = sums.setdefault(prompt_of[key], [0.0, 0.0])
        total[0] += values[key]
        total[1] += 1.0
    return np.array([sums[prompt] for prompt in sorted(sums)], dtype=np.float64).reshape(-1, 2)


def _bootstrap(seeds: Sequence[Floats], draws: int) -> Estimate:
    """Mean over seeds of Σ sums / Σ counts; 2.5 and 97.5 percentiles over resampled prompts."""
    rng = np.random.default_rng(0)
    points, samples = [], []
    for table in seeds:
        if not len(table):
            continue
        points.append(table[:, 0].sum() / table[:, 1].sum())
        drawn = table[rng.integers(0, len(table), size=(draws, len(table)))].sum(axis=1)
        samples.append(drawn[:, 0] / drawn[:, 1])
    if not points:
        return Estimate(float("nan"), float("nan"), float("nan"))
    low, high = np.percentile(np.mean(samples, axis=0), [2.5, 97.5])
    return Estimate(float(np.mean(points)), float(low), float(high))


@dataclass(frozen=True)
class Line:
    """One line of the report: a strategy at a budget, over all seeds."""

    strategy: str
    share: float
    seeds: int
    human_share: float
    cost: float
    currency: str
    labels: Estimate
    labels_over_random: Estimate | None
    held_out: Estimate
    held_out_over_random: Estimate | None

    @property
    def verdict(self) -> str:
        """Whether the labels beat random routing at the same offered budget, in a word."""
        gain = self.labels_over_random
        if gain is None:
            return ""
        return "beats random" if gain.is_above_zero else "below random" if gain.is_below_zero else "not told apart"


def lines(outcomes: Iterable[Outcome]) -> list[Line]:
    """The report's lines in the order in which strategies and budgets first occur."""
    groups: dict[tuple[str, float], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.strategy, outcome.share), []).append(outcome)
    return [_line(strategy, share, group, groups.get(("random", share))) for (strategy, share), group in groups.items()]


def _line(strategy: str, share: float, group: list[Outcome], random: list[Outcome] | None) -> Line:
    against = random if random and strategy != "random" else None
    return Line(
        strategy=strategy,
        share=share,
        seeds=len({one.seed for one in group}),
        human_share=float(np.mean([one.human_share for one in group])),
        cost=float(np.mean([one.cost for one in group])),
        currency=group[0].currency,
        labels=mean(group, by_labels),
        labels_over_random=difference(group, against, by_labels) if against else None,
        held_out=mean(group, by_held_out),
        held_out_over_random=difference(group, against, by_held_out) if against else None,
    )
