"""Is a performance-prediction model any good? Ranks at equal budget, beside what the budget alone explains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Z80, Z95 = 1.2815515655446004, 1.959963984540054


@dataclass(frozen=True)
class PpmReport:
    """Held-out figures of a PPM.

    `budget_only_rho` is the rank correlation that a quadratic in the budget alone reaches.
    """

    within_budget_rho: float
    overall_rho: float
    budget_only_rho: float
    rmse: float
    budget_only_rmse: float
    coverage80: float
    coverage95: float
    mixes: int


def ranks(values: Floats) -> Floats:
    """Ranks from 1, ties sharing their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2.0)[inverse], dtype=np.float64)


def spearman(a: Floats, b: Floats) -> float:
    """Spearman's ρ: Pearson's correlation of the ranks. NaN for fewer than 2 points or when either is constant."""
    if len(a) < 2:
        return float("nan")
    x, y = ranks(a) - (len(a) + 1) / 2.0, ranks(b) - (len(b) + 1) / 2.0
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > 0 else float("nan")


def within_budget_rho(actual: Floats, predicted: Floats, budget: Ints, least: int = 3) -> float:
    """Mean Spearman ρ over groups of equal budget with at least `least` mixes, weighted by size; NaN without a group.

    A constant prediction within a group ranks nothing and counts as 0; a group whose actual scores are all equal is
    skipped.
    """
    total, weight = 0.0, 0
    for value in np.unique(budget):
        rows = np.flatnonzero(budget == value)
        if len(rows) < least or np.ptp(actual[rows]) == 0:
            continue
        rho = spearman(actual[rows], predicted[rows])
        total += len(rows) * (0.0 if np.isnan(rho) else rho)
        weight += len(rows)
    return total / weight if weight else float("nan")


def budget_only(train_budget: Floats, train_score: Floats, test_budget: Floats) -> Floats:
    """Predictions of a second-degree polynomial in the budget.

    What a PPM must beat to have learned anything of mixes.
    """
    scale = max(float(np.abs(train_budget).max()), 1.0)
    degree = min(2, len(np.unique(train_budget)) - 1)
    coefficients = np.polyfit(train_budget / scale, train_score, degree)
    return np.asarray(np.polyval(coefficients, test_budget / scale), dtype=np.float64)


def rmse(actual: Floats, predicted: Floats) -> float:
    """Root mean squared error."""
    return float(np.sqrt(np.mean((actual - predicted) ** 2)))


def coverage(actual: Floats, mean: Floats, sd: Floats, z: float) -> float:
    """Share of actual values within mean ± z·sd."""
    return float(np.mean(np.abs(actual - mean) <= z * sd))


def evaluate_ppm(
    actual: Floats, mean: Floats, sd: Floats, budget: Ints, train_budget: Ints, train_score: Floats
) -> PpmReport:
    """All figures for held-out mixes: actual, mean, sd and budget [M]; the baseline is fitted on the training mixes."""
    baseline = budget_only(train_budget.astype(float), train_score, budget.astype(float))
    return PpmReport(
        within_budget_rho=within_budget_rho(actual, mean, budget),
        overall_rho=spearman(actual, mean),
        budget_only_rho=spearman(actual, baseline),
        rmse=rmse(actual, mean),
        budget_only_rmse=rmse(actual, baseline),
        coverage80=coverage(actual, mean, sd, Z80),
        coverage95=coverage(actual, mean, sd, Z95),
        mixes=len(actual),
    )
