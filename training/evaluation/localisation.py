"""How well the segments with an error are told from those without."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def area_under_curve(scores: Floats, labels: Floats) -> float | None:
    """Chance that a marked segment scores above one without a mark, ties half (Mann-Whitney). [N] both; None where one
    kind is missing."""
    marked, clean = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    if not len(marked) or not len(clean):
        return None
    below = np.searchsorted(clean, marked, side="left") + np.searchsorted(clean, marked, side="right")
    return float(below.sum() / 2 / len(marked) / len(clean))


def localisation(scores: Floats, labels: Floats, types: list[str]) -> dict[str, dict[str, float | int | None]]:
    """By error type: how many segments were judged, how many were marked, and the area under the curve.

    `scores` and `labels` [M, K]; a NaN label was not judged.
    """
    found: dict[str, dict[str, float | int | None]] = {}
    for column, name in enumerate(types):
        judged = ~np.isnan(labels[:, column])
        own, said = scores[judged, column], labels[judged, column]
        found[name] = {"segments": len(said), "marked": int(said.sum()), "auc": area_under_curve(own, said)}
    return found
