"""Proxy reward models: ridge regression on frozen embeddings, affine in the preference mix, so that hundreds cost
nothing.

With X [N, d] = φ(a) − φ(b), judge labels y^L, expected human-minus-judge labels δ and A = (XᵀX + λI)⁻¹, the model of
mix s is w(s) = A(Xᵀy^L + Xᵀ(δ∘s)).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Masks = NDArray[np.uint8]

MOST_BYTES = 200 * 1024 * 1024
# Products are taken in slices that stay in the processor's cache, far below what memory would allow.
SLICE_BYTES = 16 * 1024 * 1024
TYPICAL_MARGIN = 2.0
TINY = 1e-12


@dataclass(frozen=True)
class ProxyMetric:
    """Validation pairs whose better side is known: mean over sections of the weighted mean of σ(k·g·v·w).

    k = TYPICAL_MARGIN / root mean square of the model's own margins. With one k for all mixes a model trained on softer
    labels scores lower merely for its smaller weights: in simulation that turned the predicted order upside down.

    x [V, d]; side g [V] = ±1; weight [V] ≥ 0, its certainty; section [V] = 0….
    """

    x: Singles
    side: Floats
    weight: Floats
    section: NDArray[np.int64]

    def scores(self, weights: Singles) -> Floats:
        """The metric of models weights [M, d] → [M]; .5 when there is nothing to validate on."""
        if not self.weight.sum():
            return np.full(len(weights), 0.5)
        right = self._right(weights)
        means = [
            right[:, rows] @ self.weight[rows] / self.weight[rows].sum()
            for rows in (np.flatnonzero(self.section == number) for number in np.unique(self.section))
            if self.weight[rows].sum() > 0
        ]
        return np.asarray(np.mean(means, axis=0), dtype=np.float64)

    def standard_error(self, weights: Singles) -> float:
        """Sampling error of the metric of one model [d] over validation pairs."""
        if not self.weight.sum():
            return 0.5
        right = self._right(weights[None, :])[0]
        share = self.weight / self.weight.sum()
        mean = float(share @ right)
        return float(np.sqrt(np.sum(share**2 * (right - mean) ** 2)))

    def paired_errors(self, weights: Singles, other: Singles) -> Floats:
        """Sampling error, over validation pairs, of the difference in metric of models [M, d] to another one [d] → [M].

        Models are scored on the same pairs, so most of what `standard_error` counts cancels.
        """
        if not self.weight.sum():
            return np.full(len(weights), 0.5)
        apart = self._right(weights) - self._right(other[None, :])
        share = self.weight / self.weight.sum()
        return np.asarray(np.sqrt((apart - (apart @ share)[:, None]) ** 2 @ share**2), dtype=np.float64)

    def _right(self, weights: Singles) -> Floats:
        """σ(k·g·v·w) for models [M, d] → [M, V]."""
        margins = (weights @ self.x.T).astype(np.float64)
        typical = np.sqrt(np.mean(margins**2, axis=1, keepdims=True))
        scaled = TYPICAL_MARGIN * margins * self.side / np.maximum(typical, TINY)
        return np.asarray(1.0 / (1.0 + np.exp(-np.clip(scaled, -500.0, 500.0))), dtype=np.float64)


@dataclass(frozen=True)
class ProxyRewardModels:
    """The cached parts: A [d, d], w(0) = A·Xᵀy^L [d], X [N, d] and δ [N]. δ is 0 for rows kept out of training."""

    inverse: Floats
    base: Floats
    x: Singles
    delta: Singles

    def weights(self, masks: Masks) -> Singles:
        """w(s) for every mix of masks [M, N] → [M, d]: W = ((S∘δᵀ)X)A + w(0), in slices of at most 200 MB."""
        sums = masked_sums(masks, self.x, self.delta)
        return (sums @ self.inverse + self.base).astype(np.float32)


def fit_proxy(
    x: Singles, y_judge: Floats, delta: Floats, train: NDArray[np.bool_] | None = None, ridge: float = 0.05
) -> ProxyRewardModels:
    """Cache what all mixes share. y_judge in [−1, 1] (0: no label), delta [N], train [N] = rows that may be learned
    from.

    λ = ridge · mean squared row norm · N / d, so the penalty keeps its meaning when embeddings are rescaled.
    """
    keep = np.ones(len(x), dtype=bool) if train is None else train
    rows = np.ascontiguousarray(x, dtype=np.float32)
    part = rows[keep]
    gram = (part.T @ part).astype(np.float64)
    penalty = ridge * max(float(np.trace(gram)) / gram.shape[0], 1e-9)
    inverse = np.linalg.inv(gram + penalty * np.eye(gram.shape[0]))
    base = inverse @ (part.T @ y_judge[keep].astype(np.float32)).astype(np.float64)
    return ProxyRewardModels(inverse, base, rows, np.where(keep, delta, 0.0).astype(np.float32))


def leave_one_out_margin(x: Singles, side: Floats, ridge: float = 0.05) -> Floats:
    """How far a ridge model of the judge's other labels agrees with its label, per row [N], in root mean squares.

    side·(f − h·side)/(1 − h) with fitted value f and leverage h; negative where the judge contradicts its own habit.
    Rows without a side (0) get 0. Needs no label from people.
    """
    known = side != 0
    model = fit_proxy(x, side, np.zeros(len(x)), known, ridge)
    projected = x @ model.inverse.astype(np.float32)
    leverage = np.clip(np.einsum("nd,nd->n", projected, x).astype(np.float64), 0.0, 0.99)
    fitted = (x @ model.base.astype(np.float32)).astype(np.float64)
    margin = np.where(known, side * (fitted - leverage * side) / (1.0 - leverage), 0.0)
    return np.asarray(margin / max(float(np.sqrt(np.mean(margin**2))), TINY), dtype=np.float64)


def principal_parts(x: Singles, most: int = 32) -> Floats:
    """Rows of x [N, d] on its leading principal axes about the origin → [N, ≤ most], largest first.

    About the origin, not the mean, as swapping the sides of a pair must only change the sign.
    """
    _, vectors = np.linalg.eigh((x.T @ x).astype(np.float64))
    return np.asarray(x @ vectors[:, ::-1][:, :most].astype(np.float32), dtype=np.float64)


def topic_parts(tags: Masks, most: int = 16) -> Floats:
    """The pool's topics as far as tags [N, F] show them: leading principal parts of standardised tags → [N, ≤ most].

    Only parts that vary more than any would in tags drawn independently: above (1 + √(F/N))² (Marchenko & Pastur 1967).
    Ninety tags of a few hundred labelled instances each say too little by themselves of where a judge errs.
    """
    size, count = tags.shape
    if not size or not count:
        return np.zeros((size, 0))
    slices = list(_slices(size, 2 * count))
    mean = tags.mean(axis=0)
    sd = np.sqrt(np.maximum(mean * (1.0 - mean), TINY))
    gram = np.zeros((count, count))
    for rows in slices:
        part = ((tags[rows] - mean) / sd).astype(np.float32)
        gram += part.T @ part
    values, vectors = np.linalg.eigh(gram / size)
    kept = vectors[:, ::-1][:, : min(most, int((values > (1.0 + np.sqrt(count / size)) ** 2).sum()))]
    return np.concatenate([((tags[rows] - mean) / sd) @ kept for rows in slices])


def expected_delta(judge_side: Floats, p_judge: Floats, p_human: Floats) -> Floats:
    """E[human label − judge label] given the judge's side l [N]: l·((2p^L−1)(2p^H−1) − 1).

    The truth is on the judge's side with p^L, and a human label is right with p^H, independently given the truth.
    """
    return np.asarray(judge_side * ((2.0 * p_judge - 1.0) * (2.0 * p_human - 1.0) - 1.0), dtype=np.float64)


def masked_sums(masks: Masks, columns: Singles, factor: Singles | None = None) -> Floats:
    """(S∘factorᵀ)·columns: masks [M, N], columns [N, C], factor [N] → float64 [M, C], with bounded temporary memory."""
    out = np.zeros((len(masks), columns.shape[1]))
    for rows in _slices(len(columns), len(masks) + columns.shape[1]):
        part = columns[rows] if factor is None else columns[rows] * factor[rows, None]
        out += masks[:, rows].astype(np.float32) @ part
    return out


def _slices(size: int, floats_per_row: int) -> Iterator[slice]:
    step = max(1, min(SLICE_BYTES, MOST_BYTES) // (4 * max(floats_per_row, 1)))
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))
