"""People's labels behind a counter: each is shown once it is paid for, and never more than the budget pays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class OverspentError(ValueError):
    """A strategy asked for more labels than its budget pays, or for the same one twice."""


class Purchase:
    """What one strategy buys. `bought` lists the instances in the order of their purchase, once for each label.

    Each instance has one label to sell or a list of several people's, sold in their order.
    """

    def __init__(self, labels: Sequence[int | Sequence[int]], affordable: int) -> None:
        self._labels = [[one] if isinstance(one, int) else list(one) for one in labels]
        self.affordable = affordable
        self.bought: list[int] = []

    @property
    def left(self) -> int:
        """How many more labels the budget pays."""
        return self.affordable - len(self.bought)

    @property
    def counts(self) -> Ints:
        """How many labels of each instance were bought [N]."""
        return np.bincount(np.array(self.bought, dtype=np.int64), minlength=len(self._labels))

    def open(self) -> Ints:
        """The instances that no label was bought of, ascending."""
        return np.flatnonzero(self.counts == 0)

    def unsold(self) -> Ints:
        """The instances that have a label left to sell, ascending."""
        return np.flatnonzero(self.counts < np.array([len(one) for one in self._labels], dtype=np.int64))

    def buy(self, instances: Sequence[int] | Ints) -> Floats:
        """Pay for each instance's next label and see them: 1 a better, ½ tie, 0 b better. Raises OverspentError."""
        wanted = [int(one) for one in instances]
        counts = self.counts
        sold_out = any(counts[one] >= len(self._labels[one]) for one in wanted)
        if len(wanted) > self.left or len(set(wanted)) < len(wanted) or sold_out:
            raise OverspentError(f"{len(wanted)} labels were asked for; {self.left} can be bought, each once.")
        self.bought += wanted
        return np.array([(self._labels[one][counts[one]] + 1) / 2 for one in wanted], dtype=np.float64)

    def labels(self, instances: Sequence[int] | Ints) -> Floats:
        """The mean of the labels of each instance that were bought already. Raises OverspentError for any other."""
        counts = self.counts
        if any(counts[int(one)] == 0 for one in instances):
            raise OverspentError("A label was looked at that was not bought.")
        seen = [self._labels[int(one)][: counts[int(one)]] for one in instances]
        return np.array([(sum(one) / len(one) + 1) / 2 for one in seen], dtype=np.float64)
