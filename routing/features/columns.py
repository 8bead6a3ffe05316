"""An admin's own columns as features: tags that instances carry, and what their metadata say.

They join the table of described pairs and are binned and counted like any other feature: yes or no for a tag, for a
metadata field with few values one column per value, for one of numbers its value (binned with the rest of the pool).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from routing.features.table import FeatureSet, FeatureTable

OWN_TAG, META = "tag:", "meta:"
MOST_COLUMNS, MOST_VALUES, LEAST_CARRIED = 60, 12, 10
LARGEST = 1e30
LEVELS = ("low", "middle", "high")
Singles = NDArray[np.float32]


class ColumnClashError(ValueError):
    """A column of the admin's has the name of one that is there already."""


def own_columns(tags: Sequence[Iterable[str]], meta: Sequence[Mapping[str, object]]) -> FeatureTable:
    """Columns of 0 and 1 for N instances from each one's tags and metadata [N]; at most 60, the commonest first.

    A value that fewer than 10 instances carry, or all of them, tells nothing of a mix and is left out; so is a field of
    many different words, such as an id. Numbers are put in thirds of the pool. Raises ValueError for unequal lengths.
    """
    if len(tags) != len(meta):
        raise ValueError("Tags and metadata must be of the same instances.")
    found: dict[str, Singles] = {}
    for row, names in enumerate(tags):
        for name in names:
            found.setdefault(f"{OWN_TAG}{name}", np.zeros(len(tags), dtype=np.float32))[row] = 1.0
    for field in sorted({str(name) for row in meta for name in row}):
        found |= _columns_of(field, [row.get(field) for row in meta])
    telling = [name for name, column in found.items() if LEAST_CARRIED <= column.sum() < len(tags)]
    kept = sorted(telling, key=lambda name: (-found[name].sum(), name))[:MOST_COLUMNS]
    values = np.column_stack([found[name] for name in kept]) if kept else np.zeros((len(tags), 0), dtype=np.float32)
    return FeatureTable(tuple(kept), values.astype(np.float32))


def _columns_of(field: str, values: Sequence[object]) -> dict[str, Singles]:
    numbers = [_number(value) for value in values]
    known = np.array([value for value in numbers if value is not None])
    several = len(np.unique(known)) > MOST_VALUES if len(known) else False
    if several and len(known) == sum(value is not None for value in values):
        return _thirds(field, numbers, known)
    words = [None if value is None else str(value)[:80] for value in values]
    counts = Counter(word for word in words if word is not None)
    if len(counts) > MOST_VALUES:
        return {}
    said = {word: np.array([one == word for one in words], dtype=np.float32) for word in counts}
    return {f"{META}{field}={word}": column for word, column in said.items()}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
        return None
    return float(value)


def _thirds(field: str, numbers: Sequence[float | None], known: NDArray[np.float64]) -> dict[str, Singles]:
    edges = np.quantile(known, [1 / 3, 2 / 3])
    place = [None if value is None else int(np.searchsorted(edges, value, side="right")) for value in numbers]
    return {
        f"{META}{field}={level}": np.array([one == number for one in place], dtype=np.float32)
        for number, level in enumerate(LEVELS)
    }


def with_columns(features: FeatureSet, own: FeatureTable) -> FeatureSet:
    """The described pairs with more columns, which the version names. Raises ColumnClashError, ValueError."""
    table = features.table
    if len(own.values) != len(table.values):
        raise ValueError("The columns must be of the same instances.")
    twice = sorted(set(own.names) & set(table.names)) + [name for name, n in Counter(own.names).items() if n > 1]
    if twice:
        raise ColumnClashError(f"A feature is called {twice[0]!r} already; give the column another name.")
    joined = FeatureTable((*table.names, *own.names), np.concatenate([table.values, own.values], axis=1))
    return replace(features, table=joined, version=f"{features.version}+{own.fingerprint}") if own.names else features
