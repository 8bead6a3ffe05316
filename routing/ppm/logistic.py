"""L2-penalised logistic regression by Newton steps (IRLS), with soft targets and a Laplace posterior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STEPS = 50
CONVERGED = 1e-9
# The intercept is pulled so weakly that it only keeps the system solvable when all targets are equal.
INTERCEPT_PENALTY = 1e-3


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + e^−x), without overflow."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -500.0, 500.0))), dtype=np.float64)


@dataclass(frozen=True)
class LogisticFit:
    """Coefficients on standardised features (intercept first), their covariance, and the standardisation."""

    coefficients: Floats
    covariance: Floats
    center: Floats
    scale: Floats

    def logits(self, features: Floats) -> tuple[Floats, Floats]:
        """(mean, standard deviation) of the logit per row of features [N, K]."""
        slopes = self.coefficients[1:] / self.scale
        mean = features @ slopes + (self.coefficients[0] - self.center @ slopes)
        z = (features - self.center) / self.scale
        spread = self.covariance
        variance = spread[0, 0] + 2.0 * z @ spread[1:, 0] + ((z @ spread[1:, 1:]) * z).sum(axis=1)
        return mean, np.sqrt(np.maximum(variance, 0.0))

    def probabilities(self, features: Floats) -> Floats:
        """P(target = 1) per row of features [N, K]."""
        slopes = self.coefficients[1:] / self.scale
        return sigmoid(features @ slopes + (self.coefficients[0] - self.center @ slopes))


def fit_logistic(
    features: Floats,
    targets: Floats,
    penalty: float = 1.0,
    weights: Floats | None = None,
    start: LogisticFit | None = None,
) -> LogisticFit:
    """Maximise Σ w (t·log p + (1−t)·log(1−p)) − penalty/2·|β|² over standardised features [N, K], intercept free.

    targets and weights [N], targets in [0, 1]. `start` is an earlier fit on the same rows, from which Newton's method
    needs fewer steps. Constant columns get coefficient 0. Raises ValueError without rows.
    """
    if len(features) == 0 or len(features) != len(targets):
        raise ValueError("A logistic fit needs at least one row and one target per row.")
    center = features.mean(axis=0)
    spread = features.std(axis=0)
    scale = np.where(spread > 1e-9, spread, 1.0)
    design = np.column_stack([np.ones(len(features)), (features - center) / scale])
    ridge = np.diag([INTERCEPT_PENALTY, *([penalty] * features.shape[1])])
    mass = np.ones(len(targets)) if weights is None else weights
    first = np.zeros(design.shape[1]) if start is None else start.coefficients
    beta, hessian = _newton(design, targets, mass, ridge, first)
    covariance = np.asarray(np.linalg.inv(hessian), dtype=np.float64)
    return LogisticFit(beta, covariance, center, np.asarray(scale, dtype=np.float64))


def _newton(design: Floats, targets: Floats, mass: Floats, ridge: Floats, beta: Floats) -> tuple[Floats, Floats]:
    """Newton's method with step halving; the penalised likelihood is concave, so this finds its only maximum."""
    value = _objective(design, targets, mass, ridge, beta)
    for _ in range(STEPS):
        p = sigmoid(design @ beta)
        gradient = design.T @ (mass * (targets - p)) - ridge @ beta
        step = np.linalg.solve(_hessian(design, mass, p, ridge), gradient)
        size = 1.0
        while (new := _objective(design, targets, mass, ridge, beta + size * step)) < value - 1e-12 and size > 1e-6:
            size /= 2.0
        beta, change = beta + size * step, abs(new - value)
        value = new
        if change < CONVERGED * len(targets):
            break
    return beta, _hessian(design, mass, sigmoid(design @ beta), ridge)


def _hessian(design: Floats, mass: Floats, p: Floats, ridge: Floats) -> Floats:
    return np.asarray((design.T * (mass * p * (1.0 - p))) @ design + ridge, dtype=np.float64)


def _objective(design: Floats, targets: Floats, mass: Floats, ridge: Floats, beta: Floats) -> float:
    z = design @ beta
    likelihood = mass * (targets * z - np.logaddexp(0.0, z))
    return float(likelihood.sum() - 0.5 * beta @ ridge @ beta)
