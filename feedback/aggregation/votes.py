"""Votes as sparse triples, the input of every aggregation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

NO_LABEL = -1  # in ``label`` arrays: no votes, or a tie, which is reported and never resolved by order
_SAME = 1e-9  # two probabilities closer than this are a tie


@dataclass(frozen=True)
class Votes:
    """``V`` votes: annotator ``annotator[v]`` gave item ``item[v]`` the label ``label[v]``.

    All three are ``(V,)`` integers from 0; ``n_items``, ``n_annotators`` and ``n_labels`` are the exclusive bounds, so
    that items without votes and labels nobody used keep their row. Make one with :meth:`of`.
    """

    item: Ints
    annotator: Ints
    label: Ints
    n_items: int
    n_annotators: int
    n_labels: int

    @classmethod
    def of(
        cls,
        item: ArrayLike,
        annotator: ArrayLike,
        label: ArrayLike,
        *,
        n_items: int | None = None,
        n_annotators: int | None = None,
        n_labels: int | None = None,
    ) -> Votes:
        """Check and convert three equally long integer sequences; bounds default to the largest value plus one.

        Raises ValueError for different lengths, non-integers, negative values or values past a bound.
        """
        columns = {"item": _ints(item), "annotator": _ints(annotator), "label": _ints(label)}
        if len({column.size for column in columns.values()}) > 1:
            raise ValueError("item, annotator and label differ in length")
        wanted = {"item": n_items, "annotator": n_annotators, "label": n_labels}
        bounds = {name: _bound(name, columns[name], bound) for name, bound in wanted.items()}
        return cls(**columns, n_items=bounds["item"], n_annotators=bounds["annotator"], n_labels=bounds["label"])

    def counts(self) -> Floats:
        """``(n_items, n_labels)``: how many votes each label of each item has."""
        flat = self.item * self.n_labels + self.label
        counts = np.bincount(flat, minlength=self.n_items * self.n_labels)
        return counts.reshape(self.n_items, self.n_labels).astype(np.float64)


def _ints(values: ArrayLike) -> Ints:
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError("votes are one-dimensional sequences")
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise ValueError("votes hold integers only")
    return array.astype(np.int64)


def _bound(name: str, column: Ints, bound: int | None) -> int:
    largest = int(column.max()) if column.size else -1
    if column.size and column.min() < 0:
        raise ValueError(f"{name} holds a negative value")
    if bound is not None and largest >= bound:
        raise ValueError(f"{name} holds {largest}, past its bound {bound}")
    return largest + 1 if bound is None else bound


def modes(soft: Floats) -> tuple[Ints, Bools]:
    """The most probable label of each row, ``NO_LABEL`` where the best two are equal or the row is all zero; and
    whether the row is such a tie (a row without any mass is not a tie). ``soft`` is ``(n_items, n_labels)``."""
    if not soft.size:
        return np.full(soft.shape[0], NO_LABEL), np.zeros(soft.shape[0], dtype=bool)
    best = soft.max(axis=1)
    at_best = (soft >= (best - _SAME)[:, None]).sum(axis=1)
    tied = (at_best > 1) & (best > 0)
    label = np.where(tied | (best <= 0), NO_LABEL, soft.argmax(axis=1))
    return label, tied
