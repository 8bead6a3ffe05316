"""Whether a model's stated chances come true."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bin:
    """Pairs with a stated confidence in (low, high]: how many, their mean confidence, and how often it was right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def log_loss(differences: Floats, probabilities: Floats) -> float:
    """Mean cross-entropy in nats of the labels' P(chosen better) [N] under sigmoid(score difference) [N].

    mean( p log(1 + e^-d) + (1 - p) log(1 + e^d) ). NaN for no pairs.
    """
    if not len(differences):
        return float("nan")
    loss = probabilities * np.logaddexp(0, -differences) + (1 - probabilities) * np.logaddexp(0, differences)
    return float(loss.mean())


def reliability(differences: Floats, probabilities: Floats, bins: int = 10) -> list[Bin]:
    """Reliability bins over the confidence in the preferred side, sigmoid(|d|) in [1/2, 1]; empty bins are left out.

    A pair counts as right by P(label agrees with the model's side): p where d >= 0, else 1 - p; at d = 0, 1/2.
    """
    confidence = 1 / (1 + np.exp(-np.abs(differences)))
    right = np.where(differences > 0, probabilities, np.where(differences < 0, 1 - probabilities, 0.5))
    edges = np.linspace(0.5, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    return [
        Bin(
            low=float(edges[number]),
            high=float(edges[number + 1]),
            count=int(inside.sum()),
            confidence=float(confidence[inside].mean()),
            accuracy=float(right[inside].mean()),
        )
        for number in range(bins)
        if (inside := place == number).any()
    ]


def expected_calibration_error(bins: list[Bin]) -> float:
    """Mean |accuracy - confidence| over the bins, weighted by their counts (arXiv:1706.04599, eq. 3)."""
    total = sum(one.count for one in bins)
    return sum(one.count * abs(one.accuracy - one.confidence) for one in bins) / total if total else float("nan")
