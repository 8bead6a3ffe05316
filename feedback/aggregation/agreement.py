"""How far annotators agree: raw pairs, kappas, Krippendorff's alpha with an interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from feedback.aggregation.votes import Floats, Votes

Level = Literal["nominal", "ordinal", "interval"]
_CHUNK = 64  # bootstrap draws at a time: 64 × items × 8 bytes of memory


@dataclass(frozen=True)
class PairAgreement:
    """``agreement``: share of ``pairs`` of votes on the same item that are equal; ``None`` without a pair."""

    agreement: float | None
    pairs: int


@dataclass(frozen=True)
class Alpha:
    """``value`` with its bootstrap interval ``[low, high]`` at ``confidence``; ``None`` where undefined (no item with
    two votes, or everyone always said the same). ``items``: items with at least two votes; ``votes``: their votes."""

    value: float | None
    low: float | None
    high: float | None
    confidence: float
    items: int
    votes: int


def pair_agreement(votes: Votes) -> PairAgreement:
    """Raw agreement over all pairs of votes on the same item: ``Σ_i Σ_k n_ik(n_ik − 1) / Σ_i m_i(m_i − 1)``."""
    counts = votes.counts()
    per_item = counts.sum(axis=1)
    pairs = float((per_item * (per_item - 1)).sum()) / 2
    equal = float((counts * (counts - 1)).sum()) / 2
    return PairAgreement(equal / pairs if pairs else None, int(pairs))


def cross_agreement(one: Votes, other: Votes) -> PairAgreement:
    """Raw agreement over all pairs of a vote in ``one`` with a vote in ``other`` on the same item (people and judge).

    Raises ValueError when the two number their items or labels differently.
    """
    if one.n_items != other.n_items or one.n_labels != other.n_labels:
        raise ValueError("both need the same n_items and n_labels")
    a, b = one.counts(), other.counts()
    pairs = float((a.sum(axis=1) * b.sum(axis=1)).sum())
    return PairAgreement(float((a * b).sum()) / pairs if pairs else None, int(pairs))


def cohen_kappa(
    one: ArrayLike,
    other: ArrayLike,
    *,
    n_labels: int | None = None,
    weights: Literal["none", "linear", "quadratic"] = "none",
) -> float | None:
    """Cohen's kappa of two annotators on the same ``(n,)`` items; ``None`` when both only ever used one same label.

    ``1 − Σ w·observed / Σ w·expected`` with ``w = [i ≠ j]``, ``|i − j|`` or ``(i − j)²``.
    Source: Cohen 1960 and 1968. Raises ValueError for different or zero length.
    """
    a, b = np.asarray(one, dtype=np.int64), np.asarray(other, dtype=np.int64)
    if a.shape != b.shape or a.ndim != 1 or not a.size:
        raise ValueError("both annotators need the same number of labels, at least 1")
    k = int(max(a.max(), b.max())) + 1 if n_labels is None else n_labels
    observed = np.bincount(a * k + b, minlength=k * k).reshape(k, k) / a.size
    expected = np.outer(observed.sum(axis=1), observed.sum(axis=0))
    distance = np.abs(np.subtract.outer(np.arange(k), np.arange(k))).astype(np.float64)
    cost = {"none": (distance > 0).astype(np.float64), "linear": distance, "quadratic": distance**2}[weights]
    chance = float((cost * expected).sum())
    return 1 - float((cost * observed).sum()) / chance if chance > 0 else None


def fleiss_kappa(votes: Votes) -> float | None:
    """Fleiss' kappa; every item with votes needs the same number of them, at least 2.

    ``(P̄ − P̄_e) / (1 − P̄_e)``. Source: Fleiss 1971. ``None`` when only one label was used.
    Raises ValueError for unequal numbers of votes (use Krippendorff's alpha there).
    """
    counts = votes.counts()
    counts = counts[counts.sum(axis=1) > 0]
    per_item = counts.sum(axis=1)
    if not per_item.size or per_item.min() < 2 or per_item.min() != per_item.max():
        raise ValueError("Fleiss' kappa needs the same number of votes, at least 2, on every item")
    m = float(per_item[0])
    agreed = float(((counts * (counts - 1)).sum(axis=1) / (m * (m - 1))).mean())
    chance = float(((counts.sum(axis=0) / counts.sum()) ** 2).sum())
    return (agreed - chance) / (1 - chance) if chance < 1 else None


def krippendorff_alpha(
    votes: Votes,
    level: Level = "nominal",
    *,
    values: ArrayLike | None = None,
    bootstrap: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Alpha:
    """Krippendorff's alpha ``1 − D_o / D_e`` over items with two or more votes, with a percentile interval from
    ``bootstrap`` resamples of items.

    ``level`` is the distance between labels: nominal ``[c ≠ k]``; ordinal, by mid-ranks of the pooled votes; interval
    ``(v_c − v_k)²`` with ``values`` ``(n_labels,)``, by default the label numbers. Missing votes need no care.
    Source: Krippendorff, *Content Analysis*, 2004, ch. 11. Raises ValueError for ``values`` of another length.
    """
    counts = votes.counts()
    counts = counts[counts.sum(axis=1) >= 2]
    scale = np.arange(votes.n_labels, dtype=np.float64) if values is None else np.asarray(values, dtype=np.float64)
    if scale.shape != (votes.n_labels,):
        raise ValueError(f"values needs {votes.n_labels} numbers")
    items = counts.shape[0]
    value = float(_alphas(counts, np.ones((1, items)), level, scale)[0]) if items else float("nan")
    low, high = _interval(counts, level, scale, bootstrap, confidence, seed) if items > 1 else (None, None)
    known = bool(np.isfinite(value))
    return Alpha(value if known else None, low, high, confidence, items, int(counts.sum()))


def _interval(
    counts: Floats, level: Level, scale: Floats, bootstrap: int, confidence: float, seed: int
) -> tuple[float | None, float | None]:
    rng = np.random.default_rng(seed)
    items = counts.shape[0]
    drawn: list[Floats] = []
    for start in range(0, bootstrap, _CHUNK):
        size = min(_CHUNK, bootstrap - start)
        weights = np.stack([np.bincount(rng.integers(0, items, items), minlength=items) for _ in range(size)])
        drawn.append(_alphas(counts, weights.astype(np.float64), level, scale))
    alphas = np.concatenate(drawn) if drawn else np.empty(0)
    alphas = alphas[np.isfinite(alphas)]
    if not alphas.size:
        return None, None
    tail = (1 - confidence) / 2
    low, high = np.quantile(alphas, [tail, 1 - tail])
    return float(low), float(high)


def _alphas(counts: Floats, weights: Floats, level: Level, scale: Floats) -> Floats:
    """Alpha of each row of item ``weights`` ``(B, U)`` over ``counts`` ``(U, K)``; nan where expected is 0.

    With rows ``n_u`` and ``m_u = Σ n_u``, one item's observed disagreement is ``(m² − Σ n²)/(m − 1)`` (nominal) or
    ``2 (m Σ n r² − (Σ n r)²)/(m − 1)`` for label positions ``r``. Ordinal distance is the interval distance of
    mid-ranks, which depend on the resample.
    """
    m = counts.sum(axis=1)
    pooled = weights @ counts  # (B, K)
    total = pooled.sum(axis=1)
    if level == "nominal":
        observed = weights @ ((m**2 - (counts**2).sum(axis=1)) / (m - 1))
        expected = total**2 - (pooled**2).sum(axis=1)
    else:
        ranks = np.cumsum(pooled, axis=1) - pooled / 2
        positions = ranks if level == "ordinal" else np.broadcast_to(scale, pooled.shape)
        positions = positions - (pooled * positions).sum(axis=1, keepdims=True) / total[:, None]  # for precision
        squares = ((weights @ (counts * (m / (m - 1))[:, None])) * positions**2).sum(axis=1)
        sums = (positions @ counts.T) ** 2  # (B, U)
        observed = 2 * (squares - (weights * sums / (m - 1)).sum(axis=1))
        expected = 2 * total * (pooled * positions**2).sum(axis=1)
    alphas: Floats = np.full(total.shape, np.nan)
    np.divide(observed * (total - 1), expected, out=alphas, where=expected > 1e-12)
    return 1 - alphas
