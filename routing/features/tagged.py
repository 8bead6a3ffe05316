"""A language model's tags as columns; where it tagged a part of the pool, what that part teaches of the rest.

The local classifier is ridge regression of 0 and 1 on the prompts' embeddings, one row for each different prompt. Its
accuracy is leave-one-out, exact by the hat matrix; a tag that it does not tell better than always saying what is
commoner, beyond chance, is no column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from routing.features.columns import LEAST_CARRIED
from routing.features.table import FeatureTable

TAGGED = "tagged:"
WHOLE = 0.98
LEAST_TAUGHT = 100
LEAST_EITHER = 10
RIDGES = (0.1, 1.0, 10.0, 100.0, 1000.0)
SURELY = 2.33
"""Standard errors above the base rate: one tag in a hundred that cannot be told gets there by chance."""

Floats = NDArray[np.float64]
Use = Literal["tagged", "learned", "rare", "few", "poor"]
Tags = tuple[str, ...] | None


@dataclass(frozen=True)
class Options:
    """A dimension's name and options in their order; `multiple` where several can hold."""

    name: str
    options: tuple[str, ...]
    multiple: bool


@dataclass(frozen=True)
class TagReport:
    """What became of one option's column. `use`: as `tagged`; `learned`, with the accuracy and the base rate it beats;
    or not used, since hardly any (or every) instance carries it (`rare`), too few are tagged (`few`), or it cannot be
    told (`poor`)."""

    name: str
    use: Use
    count: int
    accuracy: float | None = None
    base: float | None = None

    @property
    def counts(self) -> bool:
        return self.use in ("tagged", "learned")


@dataclass(frozen=True)
class _Taught:
    """What the tagged prompts teach: predictions of every row [N, K], and by option accuracy, base rate and whether the
    one is surely above the other [K]."""

    predicted: NDArray[np.bool_]
    accuracy: Floats
    base: Floats
    better: NDArray[np.bool_]


@dataclass(frozen=True)
class _Basis:
    """X − x̄ = U S Vᵀ of prompts [n, d]: x̄ [d], U [n, r], S² [r], V [d, r]."""

    mean: Floats
    u: Floats
    squares: Floats
    v: Floats


class Prompts:
    """The prompts' embeddings of a pool [N, d]; those that are learned from are decomposed once, however many
    dimensions they were tagged in."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        self.vectors = vectors
        self._bases: dict[bytes, _Basis] = {}

    def basis(self, rows: NDArray[np.int64]) -> _Basis:
        """Of these rows, without directions in which they do not differ."""
        key = rows.tobytes()
        if key not in self._bases:
            self._bases[key] = _basis_of(self.vectors[rows].astype(np.float64))
        return self._bases[key]


def _basis_of(x: Floats) -> _Basis:
    mean = x.mean(axis=0)
    squares, v = np.linalg.eigh((x - mean).T @ (x - mean))
    kept = squares > squares.max() * 1e-9
    squares, v = squares[kept], v[:, kept]
    return _Basis(mean, (x - mean) @ v / np.sqrt(squares), squares, v)


def column_of(dimension: str, option: str) -> str:
    """What the column of an option is called."""
    return f"{TAGGED}{dimension}={option}"


def tag_columns(
    dimension: Options, said: Sequence[Tags], group: NDArray[np.int64], prompts: Prompts | None
) -> tuple[FeatureTable, list[TagReport]]:
    """The columns of a dimension that count, and a report on every option.

    `said` [N]: options, () where a reply named none, None where nothing was asked; `group` [N] numbers the prompts;
    `prompts` their embeddings, needed where fewer than 98% were asked about. Raises KeyError for an option that
    the dimension does not have: no tag is dropped in silence.
    """
    given = _matrix(dimension, said)
    asked = np.array([one is not None for one in said], dtype=bool)
    if len(said) and asked.mean() >= WHOLE:
        return _table(dimension, given, [None] * len(dimension.options), "tagged")
    known = np.array([bool(one) for one in said], dtype=bool)
    rows = _one_of_each(np.flatnonzero(known), group)
    if prompts is None or len(rows) < LEAST_TAUGHT:
        return FeatureTable((), np.zeros((len(said), 0), dtype=np.float32)), [
            TagReport(column_of(dimension.name, one), "few", int(given[:, k].sum()))
            for k, one in enumerate(dimension.options)
        ]
    taught = _learn(dimension, given[rows], prompts.basis(rows), prompts.vectors)
    filled = np.where(known[:, None], given, taught.predicted)
    figures = list(zip(taught.accuracy.tolist(), taught.base.tolist(), taught.better.tolist(), strict=True))
    return _table(dimension, filled, figures, "learned")


def _matrix(dimension: Options, said: Sequence[Tags]) -> NDArray[np.bool_]:
    place = {option: k for k, option in enumerate(dimension.options)}
    given = np.zeros((len(said), len(dimension.options)), dtype=bool)
    for row, options in enumerate(said):
        for option in options or ():
            given[row, place[option]] = True
    return given


def _one_of_each(rows: NDArray[np.int64], group: NDArray[np.int64]) -> NDArray[np.int64]:
    """The first row of each prompt: the same prompt twice would be told by its own tag."""
    _, first = np.unique(group[rows], return_index=True)
    return rows[np.sort(first)]


def _table(
    dimension: Options,
    filled: NDArray[np.bool_],
    figures: Sequence[tuple[float, float, bool] | None],
    use: Use,
) -> tuple[FeatureTable, list[TagReport]]:
    reports, kept = [], []
    for k, option in enumerate(dimension.options):
        accuracy, base, better = figures[k] or (None, None, True)
        count = int(filled[:, k].sum())
        telling = LEAST_CARRIED <= count < len(filled)
        reports.append(
            TagReport(
                column_of(dimension.name, option),
                "poor" if not better else use if telling else "rare",
                count,
                accuracy,
                base,
            )
        )
        if reports[-1].counts:
            kept.append(k)
    names = tuple(column_of(dimension.name, dimension.options[k]) for k in kept)
    return FeatureTable(names, filled[:, kept].astype(np.float32)), reports


def _learn(dimension: Options, given: NDArray[np.bool_], x: _Basis, every: NDArray[np.float32]) -> _Taught:
    """Ridge regression with the penalty of the least squared leave-one-out error.

    ŷ = ȳ + U S²/(S² + λ) Uᵀ (y − ȳ), and the leave-one-out residual is (y − ŷ) / (1 − h) with
    h = 1/n + Σ u² S²/(S² + λ).
    """
    size, y = len(given), given.astype(np.float64)
    mean_y = y.mean(axis=0)
    projected = x.u.T @ (y - mean_y)
    best, chosen, left_out = np.inf, RIDGES[0], y
    for ridge in RIDGES:
        shrunk = x.squares / (x.squares + ridge)
        hat = 1.0 / size + (x.u**2) @ shrunk
        residual = (y - mean_y - x.u @ (shrunk[:, None] * projected)) / np.maximum(1.0 - hat, 1e-6)[:, None]
        error = float((residual**2).mean())
        if error < best:
            best, chosen, left_out = error, ridge, y - residual
    weights = x.v @ ((np.sqrt(x.squares) / (x.squares + chosen))[:, None] * projected)
    scores = (every - x.mean) @ weights + mean_y
    right = _decided(dimension, left_out) == given
    common = mean_y > 0.5
    usual = given == common
    ahead = right.astype(np.float64) - usual
    error_of = np.maximum(ahead.std(axis=0, ddof=1) / np.sqrt(size), 1e-12)
    both = (given.sum(axis=0) >= LEAST_EITHER) & ((~given).sum(axis=0) >= LEAST_EITHER)
    better = both & (ahead.mean(axis=0) > SURELY * error_of)
    return _Taught(_decided(dimension, scores), right.mean(axis=0), usual.mean(axis=0), better)


def _decided(dimension: Options, scores: Floats) -> NDArray[np.bool_]:
    """The likeliest option, or where several can hold all that are likelier than not."""
    if dimension.multiple:
        return np.asarray(scores > 0.5)
    return np.asarray(np.arange(scores.shape[1]) == scores.argmax(axis=1)[:, None])


def joined(tables: Sequence[FeatureTable], size: int) -> FeatureTable:
    """Several tables of the same N instances as one."""
    names = tuple(name for table in tables for name in table.names)
    values = [np.zeros((size, 0), dtype=np.float32), *(table.values for table in tables)]
    return FeatureTable(names, np.concatenate(values, axis=1))
