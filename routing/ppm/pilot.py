"""The pilot: instances that both people and the judge label, so that each one's errors can be learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGE_POOL = 3000
LEAST, MOST = 300, 1000
SMALL_SHARE = 0.05
SHARE_OF_LABELS = 0.4
ENOUGH_TO_PREDICT = 60
ROUND_SIZES = (30, 60, 100, 300, 1000)
# What one person or a good judge reaches on preferences; the precision hardly moves with it.
TYPICAL_ACCURACY = 0.75
INTERVAL_Z = 1.645


@dataclass(frozen=True)
class PilotSample:
    """Chosen instances [K] ascending, and each one's probability of having been chosen [K], for unbiased estimates."""

    instances: NDArray[np.int64]
    propensity: NDArray[np.float64]


def advised_pilot_size(pool_size: int, affordable: int | None = None) -> int:
    """300–1,000 instances for a large pool: two of five labels that the money pays for, 5% where that is not known.

    For one up to 3,000 it is 5%, as more would eat what routing can gain, but at least the 60 that leave enough decided
    ones to predict a metric from; never more than half of the pool.
    """
    if pool_size > LARGE_POOL:
        wanted = SMALL_SHARE * pool_size if affordable is None else SHARE_OF_LABELS * affordable
        return int(min(max(LEAST, wanted), MOST))
    return min(max(ENOUGH_TO_PREDICT, round(SMALL_SHARE * pool_size)), (pool_size + 1) // 2)


def pilot_precision(size: int, accuracy: float = TYPICAL_ACCURACY) -> float:
    """Half of the 90% interval of an accuracy that `size` labelled instances estimate: z·√(p(1−p)/n).

    Raises ValueError unless size ≥ 1.
    """
    if size < 1:
        raise ValueError("A pilot needs at least one instance to say anything.")
    return float(INTERVAL_Z * np.sqrt(accuracy * (1.0 - accuracy) / size))


def sizes_to_compare(pool_size: int, affordable: int | None = None) -> list[int]:
    """The advised size among round ones that the pool has, ascending."""
    advised = advised_pilot_size(pool_size, affordable)
    return sorted({size for size in (*ROUND_SIZES, advised) if 0 < size <= pool_size})


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
