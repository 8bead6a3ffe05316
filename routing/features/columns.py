"""An admin's own columns as features: tags that instances carry, and what their metadata say.

They join the table of described pairs and are binned and counted like any other feature: yes or no for a tag, for a
metadata field with few values one column per value, for one of numbers its value (binned with the rest of the pool).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from routing.features.table import FeatureSet, FeatureTable

OWN_TAG, META = "tag:", "meta:"
MOST_COLUMNS, MOST_VALUES, LEAST_CARRIED = 60, 12, 10
LARGEST = 1e30
LEVELS = ("low", "middle", "high")


class ColumnClashError(ValueError):
    """A column of the admin's has the name of one that is there already."""


def own_columns(tags: Sequence[Iterable[str]], meta: Sequence[Mapping[str, object]]) -> FeatureTable:
    """Columns of 0 and 1 for N instances from each one's tags and metadata [N]; at most 60, the commonest first.

    A value that fewer than 10 instances carry, or all of them, tells nothing of a mix and is left out; so is a field of
    many different words, such as an id. Numbers are put in thirds of the pool. Raises ValueError for unequal lengths.
    """
    if len(tags) != len(meta):
        raise ValueError("Tags and metadata must be of the same instances.")
    found: dict[str, list[int]] = defaultdict(list)
    for row, names in enumerate(tags):
        for name in dict.fromkeys(names):
            found[f"{OWN_TAG}{name}"].append(row)
    fields: dict[str, list[tuple[int, object]]] = defaultdict(list)
    for row, values in enumerate(meta):
        for name, value in values.items():
            if value is not None:
                fields[str(name)].append((row, value))
    for field, given in fields.items():
        found |= _columns_of(field, given)
    telling = [name for name, rows in found.items() if LEAST_CARRIED <= len(rows) < len(tags)]
    kept = sorted(telling, key=lambda name: (-len(found[name]), name))[:MOST_COLUMNS]
    columns = np.zeros((len(tags), len(kept)), dtype=np.float32)
    for place, name in enumerate(kept):
        columns[found[name], place] = 1.0
    return FeatureTable(tuple(kept), columns)


def source_of(column: str) -> str:
    """What a column of an admin's is made from: its tag, or the metadata field of one of its values."""
    return column if column.startswith(OWN_TAG) else column.partition("=")[0]


def without_sources(own: FeatureTable, left_out: Iterable[str]) -> FeatureTable:
    """The table without the columns that are made from these sources."""
    gone = set(left_out)
    kept = [place for place, name in enumerate(own.names) if source_of(name) not in gone]
    return FeatureTable(tuple(own.names[place] for place in kept), own.values[:, kept])


def _columns_of(field: str, given: Sequence[tuple[int, object]]) -> dict[str, list[int]]:
    """The rows of each column of a field, from the values that it has."""
    numbers = [_number(value) for _, value in given]
    known = np.array([value for value in numbers if value is not None])
    if len(known) == len(given) and len(np.unique(known)) > MOST_VALUES:
        return _thirds(field, [row for row, _ in given], known)
    found: dict[str, list[int]] = {}
    for row, value in given:
        name = f"{META}{field}={str(value)[:80]}"
        if name not in found and len(found) == MOST_VALUES:
            return {}
        found.setdefault(name, []).append(row)
    return found


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGEST:
        return None
    return float(value)


def _thirds(field: str, rows: Sequence[int], known: NDArray[np.float64]) -> dict[str, list[int]]:
    place = np.searchsorted(np.quantile(known, [1 / 3, 2 / 3]), known, side="right")
    return {
        f"{META}{field}={level}": [row for row, one in zip(rows, place, strict=True) if one == number]
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
