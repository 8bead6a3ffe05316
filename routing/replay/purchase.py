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
    """What one strategy buys. `bought` lists the instances in the order of their purchase."""

    def __init__(self, labels: Sequence[int], affordable: int) -> None:
        self._labels = labels
        self.affordable = affordable
        self.bought: list[int] = []

    @property
    def left(self) -> int:
        """How many more labels the budget pays."""
        return self.affordable - len(self.bought)

    def open(self) -> Ints:
        """The instances that no label was bought of, ascending."""
        taken = np.zeros(len(self._labels), dtype=bool)
        taken[self.bought] = True
        return np.flatnonzero(~taken)

    def buy(self, instances: Sequence[int] | Ints) -> Floats:
        """Pay for one label of each instance and see them: 1 a better, ½ tie, 0 b better. Raises OverspentError."""
        wanted = [int(one) for one in instances]
        if len(wanted) > self.left or len(set(wanted)) < len(wanted) or not set(wanted).isdisjoint(self.bought):
            raise OverspentError(f"{len(wanted)} labels were asked for; {self.left} can be bought, each once.")
        self.bought += wanted
        return self.labels(wanted)

    def labels(self, instances: Sequence[int] | Ints) -> Floats:
        """Labels that were bought already. Raises OverspentError for any other."""
        if not set(map(int, instances)) <= set(self.bought):
            raise OverspentError("A label was looked at that was not bought.")
        return np.array([(self._labels[int(one)] + 1) / 2 for one in instances], dtype=np.float64)
