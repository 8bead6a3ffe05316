"""What a strategy is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from routing.ppm.pool import Budget, Plan, Pool

Need = Literal["advantage", "tag_gain", "tag_model", "length_gap", "learner", "true_gain"]


@dataclass(frozen=True)
class Strategy:
    """A named way to decide who labels what.

    `needs` must be estimated in the pool, else `route` raises NotFittedError.
    """

    name: str
    summary: str
    route: Callable[[Pool, Budget, np.random.Generator], Plan]
    needs: tuple[Need, ...] = ()
    simulation_only: bool = False

    def can_route(self, pool: Pool) -> bool:
        """Whether everything that it needs is there."""
        return all(getattr(pool, need) is not None for need in self.needs)
