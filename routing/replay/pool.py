"""A table of judged instances as arrays: all that a strategy may know before it buys a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routing.features.table import FeatureSet, describe_pairs
from routing.features.texts import PairText
from routing.ppm.signals import Signals, Verdicts, signals_of
from routing.replay.table import ReplayRow

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ReplayPool:
    """N instances: the routed judge's mean verdict [N] (−1…1), where its orders disagree [N], signals and features."""

    ids: tuple[str | int, ...]
    verdict: Floats
    inconsistent: NDArray[np.bool_]
    signals: Signals
    features: FeatureSet

    @property
    def size(self) -> int:
        """Number of instances."""
        return len(self.ids)

    @property
    def judge_p(self) -> Floats:
        """P(a better) by the routed judge alone [N]: the share of its verdicts for a, a tie being half."""
        return (self.verdict + 1.0) / 2.0


def pool_of(rows: Sequence[ReplayRow]) -> ReplayPool:
    """Features and signals of a table. Reads everything but the people's labels."""
    always = rows[0].main if all(row.main == rows[0].main for row in rows) else None
    names = sorted({name for row in rows for name in row.judges if name != always})
    others = np.array([[_mean(row, name) if name != row.main else 0.0 for name in names] for row in rows])
    verdict = np.array([_mean(row, row.main) for row in rows])
    ends = _numbers([(row.group, row.a) for row in rows] + [(row.group, row.b) for row in rows])
    features = describe_pairs([PairText(row.prompt, row.a, row.b) for row in rows])
    signals = signals_of(
        Verdicts(verdict, others.reshape(len(rows), len(names))),
        features,
        _numbers([row.group for row in rows]),
        ends[: len(rows)],
        ends[len(rows) :],
        names,
    )
    disagrees = np.array([len(set(row.judges[row.main])) > 1 for row in rows])
    return ReplayPool(tuple(row.id for row in rows), verdict, disagrees, signals, features)


def _mean(row: ReplayRow, judge: str) -> float:
    said = row.judges.get(judge, ())
    return sum(said) / len(said) if said else 0.0


def _numbers(keys: Sequence[object]) -> NDArray[np.int64]:
    seen: dict[object, int] = {}
    return np.array([seen.setdefault(key, len(seen)) for key in keys], dtype=np.int64)
