"""How far the heads of an ensemble differ."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def spread(scores: Floats, left: NDArray[np.int64], right: NDArray[np.int64]) -> dict[str, float | None]:
    """Spread of the heads' scores [R, K]: the mean over pairs [E] of the standard deviation of (left - right) over the
    heads, and the share of pairs on whose side the heads do not agree. None without pairs.

    Differences within a prompt are what counts: heads may place all completions of a prompt higher or lower.
    """
    if not len(left):
        return {"deviation": None, "divided": None}
    apart = scores[left] - scores[right]
    agree = np.abs(np.sign(apart).sum(axis=1)) == scores.shape[1]
    return {"deviation": float(apart.std(axis=1).mean()), "divided": float(1 - agree.mean())}
