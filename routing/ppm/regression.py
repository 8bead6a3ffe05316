"""Performance-prediction models by name.

From design vectors of mixes to the score of the reward model trained on them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FOLDS = 5
MOST_PROCESS_POINTS = 1200
GRID = np.logspace(-5, 3, 33)
TINY = 1e-12
# Tags together weigh this much of what the summary columns do; the last of those may move a score freely.
TAG_WEIGHT, TREND = 0.03, 100.0


class FittedModel(Protocol):
    """Predicts mean and standard deviation of a score."""

    def predict(self, phi: Floats) -> tuple[Floats, Floats]:
        """(mean [M], sd [M]) for design vectors phi [M, P]."""
        ...


@dataclass(frozen=True)
class Scaling:
    """Centre and spread of the design on the mixes that a model was fitted on; constant columns become zero."""

    center: Floats
    spread: Floats

    @classmethod
    def of(cls, phi: Floats) -> Scaling:
        """The scaling of phi [M, P]."""
        spread = phi.std(axis=0)
        return cls(phi.mean(axis=0), np.where(spread > 1e-10, spread, np.inf))

    def apply(self, phi: Floats) -> Floats:
        """Standardised phi, same shape."""
        return np.asarray((phi - self.center) / self.spread, dtype=np.float64)


@dataclass(frozen=True)
class LinearModel:
    """mean = intercept + expand(z)·weights; sd constant, the cross-validated root mean squared error."""

    scaling: Scaling
    expand: Callable[[Floats], Floats]
    intercept: float
    weights: Floats
    sd: float

    def predict(self, phi: Floats) -> tuple[Floats, Floats]:
        """(mean [M], sd [M])."""
        mean = self.intercept + self.expand(self.scaling.apply(phi)) @ self.weights
        return mean, np.full(len(phi), self.sd)


@dataclass(frozen=True)
class MixKernel:
    """(1 + Σ w_p·z_p·z′_p)² + trend·z_last·z′_last: products of two columns, and a straight line in the last one.

    Without summary columns all weigh 1/P and there is no trend. With them (what a design says of the mix as a whole:
    its size, its advantage, at last the proxy's score) tags together weigh TAG_WEIGHT of what those do: ninety tag
    shares of 300 mixes otherwise drown the one column that ranks them.
    """

    weights: Floats
    trend: float

    @classmethod
    def of(cls, columns: int, summary: int) -> MixKernel:
        """For a design of so many columns, the last `summary` of them about the whole mix."""
        if not summary:
            return cls(np.full(columns, 1.0 / max(columns, 1)), 0.0)
        tags = columns - summary
        return cls(np.concatenate([np.full(tags, TAG_WEIGHT / max(tags, 1)), np.full(summary, 1.0 / summary)]), TREND)

    def between(self, a: Floats, b: Floats) -> Floats:
        """a [M, P], b [N, P] → [M, N]."""
        line = self.trend * np.outer(a[:, -1], b[:, -1]) if self.trend else 0.0
        return np.asarray((1.0 + (a * self.weights) @ b.T) ** 2 + line, dtype=np.float64)

    def own(self, z: Floats) -> Floats:
        """The kernel of each row with itself [M]."""
        line = self.trend * z[:, -1] ** 2 if self.trend else 0.0
        return np.asarray((1.0 + (z * z) @ self.weights) ** 2 + line, dtype=np.float64)


@dataclass(frozen=True)
class GaussianProcess:
    """Kernel ridge with the kernel of its columns' weights and its Gaussian-process variance."""

    scaling: Scaling
    kernel: MixKernel
    z: Floats
    alpha: Floats
    inverse: Floats
    mean_y: float
    amplitude: float
    noise: float

    def predict(self, phi: Floats) -> tuple[Floats, Floats]:
        """(mean [M], sd [M] of a new noisy score)."""
        z = self.scaling.apply(phi)
        cross = self.kernel.between(z, self.z)
        own = self.kernel.own(z)
        explained = np.einsum("mn,mn->m", cross @ self.inverse, cross)
        variance = self.amplitude * (np.maximum(own - explained, 0.0) + self.noise)
        return self.mean_y + cross @ self.alpha, np.sqrt(variance)


def identity(z: Floats) -> Floats:
    """The design as it is."""
    return z


def quadratic(z: Floats) -> Floats:
    """z, then all products z_i·z_j with i ≤ j: [M, P] → [M, P + P(P+1)/2]."""
    rows, columns = np.triu_indices(z.shape[1])
    return np.concatenate([z, z[:, rows] * z[:, columns]], axis=1)


def _solve(design: Floats, y: Floats, penalty: float) -> Floats:
    """Ridge, or the smallest least-squares solution at penalty 0; in the dual when there are more columns than rows."""
    wide = design.shape[1] > design.shape[0]
    gram = design @ design.T if wide else design.T @ design
    values, vectors = np.linalg.eigh(gram)
    floor = max(float(values[-1]), TINY) * 1e-10
    inverted = np.where(values > floor, 1.0 / np.maximum(values + penalty, TINY), 0.0)
    right = y if wide else design.T @ y
    solution = vectors @ (inverted * (vectors.T @ right))
    return np.asarray(design.T @ solution if wide else solution, dtype=np.float64)


def _fit_linear(phi: Floats, y: Floats, expand: Callable[[Floats], Floats], penalty: float) -> LinearModel:
    scaling = Scaling.of(phi)
    design = expand(scaling.apply(phi))
    center = design.mean(axis=0)
    weights = _solve(design - center, y - y.mean(), penalty)
    return LinearModel(scaling, expand, float(y.mean() - center @ weights), weights, 0.0)


def _with_error(phi: Floats, y: Floats, expand: Callable[[Floats], Floats], penalty: float) -> LinearModel:
    model = _fit_linear(phi, y, expand, penalty)
    return LinearModel(model.scaling, expand, model.intercept, model.weights, _cv_error(phi, y, expand, penalty))


def _cv_error(phi: Floats, y: Floats, expand: Callable[[Floats], Floats], penalty: float) -> float:
    """Root mean squared error over 5 interleaved folds; the plain spread of y when there are too few points."""
    if len(y) < 2 * FOLDS:
        return float(y.std())
    fold = np.arange(len(y)) % FOLDS
    errors = [
        y[fold == k] - _fit_linear(phi[fold != k], y[fold != k], expand, penalty).predict(phi[fold == k])[0]
        for k in range(FOLDS)
    ]
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


def fit_linear_ols(phi: Floats, y: Floats, noise: Floats | None = None, summary: int = 0) -> LinearModel:
    """The paper's linear model: ordinary least squares. `noise` and `summary` are ignored, as there."""
    return _with_error(phi, y, identity, 0.0)


def fit_quadratic_ols(phi: Floats, y: Floats, noise: Floats | None = None, summary: int = 0) -> LinearModel:
    """The paper's quadratic model.

    Least squares on all products of two features (the smallest solution where not unique).
    """
    return _with_error(phi, y, quadratic, 0.0)


def fit_ridge(phi: Floats, y: Floats, noise: Floats | None = None, summary: int = 0) -> LinearModel:
    """Ridge on the standardised design; the penalty minimises generalised cross-validation (Golub et al. 1979)."""
    z = Scaling.of(phi).apply(phi)
    u, s, _ = np.linalg.svd(z - z.mean(axis=0), full_matrices=False)
    target = y - y.mean()
    projected = u.T @ target
    outside = max(float(target @ target - projected @ projected), 0.0)
    scores = []
    for penalty in GRID * len(y):
        shrink = s**2 / (s**2 + penalty)
        residual = outside + float(np.sum(((1.0 - shrink) * projected) ** 2))
        scores.append(residual / max(len(y) - 1.0 - float(shrink.sum()), 0.5) ** 2)
    return _with_error(phi, y, identity, float(GRID[int(np.argmin(scores))] * len(y)))


def fit_gp(phi: Floats, y: Floats, noise: Floats | None = None, summary: int = 0) -> GaussianProcess:
    """Gaussian process with `MixKernel` plus noise; the noise ratio maximises the marginal likelihood.

    `noise` [M], when given, holds each score's own standard error: a point's noise is the fitted ratio times its
    squared error relative to the mean squared error, so that many-seed scores count for more. Of more than 1,200
    points, evenly spaced ones are used: time grows with their cube, and what a process learns from more is little.
    """
    if len(y) > MOST_PROCESS_POINTS:
        rows = rows_used("gp", len(y))
        phi, y, noise = phi[rows], y[rows], None if noise is None else noise[rows]
    scaling = Scaling.of(phi)
    z = scaling.apply(phi)
    relative = _relative_noise(noise, len(y))
    whiten = 1.0 / np.sqrt(relative)
    kernel = MixKernel.of(phi.shape[1], summary)
    values, vectors = np.linalg.eigh(kernel.between(z, z) * whiten[:, None] * whiten[None, :])
    values = np.maximum(values, 0.0)
    projected = vectors.T @ (whiten * (y - y.mean()))
    ratio = float(GRID[int(np.argmin([_negative_likelihood(values, projected, r) for r in GRID]))])
    scaled = vectors * whiten[:, None]
    inverse = (scaled / (values + ratio)) @ scaled.T
    amplitude = max(float(np.mean(projected**2 / (values + ratio))), TINY)
    return GaussianProcess(scaling, kernel, z, inverse @ (y - y.mean()), inverse, float(y.mean()), amplitude, ratio)


def rows_used(kind: str, points: int) -> slice | NDArray[np.int64]:
    """Which of so many points the named model learns from: all, or 1,200 evenly spaced ones for a process."""
    if kind != "gp" or points <= MOST_PROCESS_POINTS:
        return slice(None)
    return np.linspace(0, points - 1, MOST_PROCESS_POINTS).astype(np.int64)


def _relative_noise(noise: Floats | None, count: int) -> Floats:
    if noise is None:
        return np.ones(count)
    variance = np.maximum(noise**2, TINY)
    return np.asarray(np.clip(variance / variance.mean(), 1e-3, 1e3), dtype=np.float64)


def _negative_likelihood(values: Floats, projected: Floats, ratio: float) -> float:
    """−2·log marginal likelihood per point, amplitude profiled out, constants dropped."""
    spread = values + ratio
    amplitude = max(float(np.mean(projected**2 / spread)), TINY)
    return float(np.log(amplitude) + np.mean(np.log(spread)))


MODELS: Mapping[str, Callable[[Floats, Floats, Floats | None, int], FittedModel]] = {
    "linear_ols": fit_linear_ols,
    "quadratic_ols": fit_quadratic_ols,
    "ridge": fit_ridge,
    "gp": fit_gp,
}


def fit_model(kind: str, phi: Floats, y: Floats, noise: Floats | None = None, summary: int = 0) -> FittedModel:
    """Fit the named model to phi [M, P], y [M]; the last `summary` columns tell of the whole mix, the last its proxy.

    Raises ValueError for an unknown name, fewer than 3 points or a NaN.
    """
    if kind not in MODELS:
        raise ValueError(f"No performance-prediction model is called {kind!r}.")
    if len(y) < 3 or len(y) != len(phi):
        raise ValueError("A performance-prediction model needs at least three scored mixes.")
    if not (np.isfinite(phi).all() and np.isfinite(y).all()):
        raise ValueError("Scores and design vectors must be finite.")
    return MODELS[kind](phi.astype(np.float64), y.astype(np.float64), noise, summary)
