"""The pilot: instances that both people and the judge label, so that each one's errors can be learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGE_POOL = 3000
LEAST, MOST = 300, 1000
SMALL_SHARE = 0.05
ENOUGH_TO_PREDICT = 60


@dataclass(frozen=True)
class PilotSample:
    """Chosen instances [K] ascending, and each one's probability of having been chosen [K], for unbiased estimates."""

    instances: NDArray[np.int64]
    propensity: NDArray[np.float64]


def advised_pilot_size(pool_size: int) -> int:
    """300–1,000 instances (5%) for a large pool.

    For one up to 3,000 it is 5%, as more would eat what routing can gain, but at least the 60 that leave enough decided
    ones to predict a metric from; never more than half of the pool.
    """
    if pool_size > LARGE_POOL:
        return int(min(max(LEAST, SMALL_SHARE * pool_size), MOST))
    return min(max(ENOUGH_TO_PREDICT, round(SMALL_SHARE * pool_size)), (pool_size + 1) // 2)


def draw_pilot(eligible: NDArray[np.bool_], size: int, rng: np.random.Generator) -> PilotSample:
    """A uniform draw without replacement of `size` eligible instances (all, when there are fewer).

    Raises if size < 0.
    """
    if size < 0:
        raise ValueError("A pilot cannot have a negative size.")
    candidates = np.flatnonzero(eligible)
    count = min(size, len(candidates))
    chosen = np.sort(rng.choice(candidates, count, replace=False)) if count else candidates[:0]
    return PilotSample(chosen.astype(np.int64), np.full(count, count / max(len(candidates), 1)))
