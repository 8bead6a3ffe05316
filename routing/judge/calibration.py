"""Does a judge's .8 mean right in 80 of 100? Isotonic and Platt calibration on the pilot, and the error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PROBABILITY_EDGE = 1e-6
NEWTON_STEPS = 100


@dataclass(frozen=True)
class Calibration:
    """A fitted map from raw to calibrated P(a): (raw, calibrated) knots for isotonic, (slope, intercept) for Platt."""

    kind: Literal["isotonic", "platt"]
    first: Floats
    second: Floats

    def apply(self, p: Floats) -> Floats:
        """Calibrated probabilities, same shape as p. NaN stays NaN."""
        if self.kind == "isotonic":
            return np.asarray(np.where(np.isnan(p), np.nan, np.interp(p, self.first, self.second)), dtype=np.float64)
        return _sigmoid(self.first[0] * _logit(p) + self.second[0])


@dataclass(frozen=True)
class ReliabilityBin:
    """One bar of the reliability plot: mean predicted probability, mean outcome, and how many fell here."""

    predicted: float
    observed: float
    count: int


def fit_isotonic(p: Floats, outcome: Floats) -> Calibration:
    """Least-squares non-decreasing map by pool-adjacent-violators. outcome in [0, 1]. Raises ValueError when empty."""
    p, outcome = _checked(p, outcome)
    raw, inverse, counts = np.unique(p, return_inverse=True, return_counts=True)
    means = np.bincount(inverse, weights=outcome) / counts
    blocks: list[tuple[float, float, int]] = []
    for mean, weight in zip(means, counts.astype(float), strict=True):
        blocks.append((float(mean), float(weight), 1))
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            m2, w2, n2 = blocks.pop()
            m1, w1, n1 = blocks.pop()
            blocks.append(((m1 * w1 + m2 * w2) / (w1 + w2), w1 + w2, n1 + n2))
    fitted = np.repeat([block[0] for block in blocks], [block[2] for block in blocks])
    return Calibration("isotonic", raw, fitted)


def fit_platt(p: Floats, outcome: Floats, penalty: float = 1.0) -> Calibration:
    """σ(slope·logit p + intercept) by penalised Newton steps; the penalty pulls towards slope 1, intercept 0."""
    p, outcome = _checked(p, outcome)
    design = np.column_stack([_logit(p), np.ones_like(p)])
    start = np.array([1.0, 0.0])
    weights = start.copy()
    for _ in range(NEWTON_STEPS):
        mean = _sigmoid(design @ weights)
        gradient = design.T @ (mean - outcome) + penalty * (weights - start)
        curvature = (design.T * (mean * (1 - mean))) @ design + penalty * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-10:
            break
    return Calibration("platt", weights[:1], weights[1:])


def reliability(p: Floats, outcome: Floats, bins: int = 10) -> list[ReliabilityBin]:
    """The non-empty bins of equal width on [0, 1], lowest first."""
    p, outcome = _checked(p, outcome)
    index = np.minimum((p * bins).astype(int), bins - 1)
    return [
        ReliabilityBin(float(p[mask].mean()), float(outcome[mask].mean()), int(mask.sum()))
        for mask in (index == number for number in range(bins))
        if mask.any()
    ]


def expected_calibration_error(p: Floats, outcome: Floats, bins: int = 10) -> float:
    """Σ over bins of (count / n)·|mean outcome − mean p| (Naeini et al. 2015)."""
    table = reliability(p, outcome, bins)
    total = sum(row.count for row in table)
    return sum(row.count * abs(row.observed - row.predicted) for row in table) / total


def _checked(p: Floats, outcome: Floats) -> tuple[Floats, Floats]:
    p, outcome = np.asarray(p, dtype=np.float64), np.asarray(outcome, dtype=np.float64)
    if p.shape != outcome.shape or p.ndim != 1:
        raise ValueError("Probabilities and outcomes must be two vectors of one length.")
    known = ~(np.isnan(p) | np.isnan(outcome))
    if not known.any():
        raise ValueError("There is nothing to calibrate on.")
    return p[known], outcome[known]


def _logit(p: Floats) -> Floats:
    clipped = np.clip(p, PROBABILITY_EDGE, 1.0 - PROBABILITY_EDGE)
    return np.asarray(np.log(clipped / (1.0 - clipped)), dtype=np.float64)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -500.0, 500.0))), dtype=np.float64)
