"""How far the heads of an ensemble are apart, and whether that tells right from wrong."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def ensemble_spread(differences: Floats, probabilities: Floats) -> dict[str, Any] | None:
    """What K > 1 heads say of N pairs. None for one head or no pair.

    `differences` [N, K] is each head's score of the chosen completion minus that of the rejected one; `probabilities`
    [N] is the labels' P(chosen better). Returns `heads`, `mean_sd` (standard deviation over the heads, ddof 1, of
    the difference, averaged over pairs), `unanimous` (share of pairs on which all heads choose the same side),
    `accuracy_unanimous` and `accuracy_split` (of the mean over heads, on these pairs and on the others; None where
    there are none with an answer).
    """
    if differences.ndim != 2 or differences.shape[1] < 2 or not len(differences):
        return None
    sides = np.sign(differences)
    same = (sides == sides[:, :1]).all(axis=1) & (sides[:, 0] != 0)
    lean = np.sign(probabilities - 0.5)
    right = (1 + lean * np.sign(differences.mean(axis=1))) / 2
    answered = lean != 0
    return {
        "heads": int(differences.shape[1]),
        "mean_sd": float(differences.std(axis=1, ddof=1).mean()),
        "unanimous": float(same.mean()),
        "accuracy_unanimous": _mean(right[same & answered]),
        "accuracy_split": _mean(right[~same & answered]),
    }


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None
