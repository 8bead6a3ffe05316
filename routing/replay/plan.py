"""A replayed plan as rows: who labelled each instance, and what the label says."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routing.replay.pool import ReplayPool
from routing.replay.purchase import Purchase
from routing.replay.strategies import ReplayStrategy


@dataclass(frozen=True)
class ReplayPlan:
    """What a strategy did with a budget: labels bought [N] and P(a better) [N]; `budget` is a share of one for each."""

    budget: float
    seed: int
    labels: NDArray[np.int64]
    p_a: NDArray[np.float64]

    @property
    def bought(self) -> NDArray[np.bool_]:
        """Where any label was bought [N]."""
        return self.labels > 0

    @property
    def spent(self) -> float:
        """Labels bought, as a share of one for each instance."""
        return float(self.labels.sum() / len(self.labels))

    def lines(self, ids: tuple[str | int, ...]) -> Iterator[str]:
        """One JSON object an instance: budget, id, source, n_labels, p_a, seed."""
        for name, labels, p in zip(ids, self.labels, self.p_a, strict=True):
            source = "human" if labels else "judge"
            row = {
                "budget": self.budget,
                "id": name,
                "source": source,
                "n_labels": int(labels),
                "p_a": round(float(p), 6),
            }
            yield json.dumps(row | {"seed": self.seed}, ensure_ascii=False) + "\n"


def affordable(budget: float, size: int) -> int:
    """How many labels a budget pays, rounded down; `budget` is a share of one label for each of `size` instances.

    Raises ValueError unless 0 ≤ budget ≤ 1.
    """
    if not 0.0 <= budget <= 1.0:
        raise ValueError("A budget is a share between 0 (buy nothing) and 1 (a label for every instance).")
    return math.floor(budget * size + 1e-9)


def replay(
    pool: ReplayPool, labels: Sequence[int | Sequence[int]], strategy: ReplayStrategy, budget: float, seed: int
) -> ReplayPlan:
    """Let a strategy spend a budget on a pool, seeing of its labels [N] what it buys. The same seed, the same plan.

    An instance has one label to sell, or several people's.
    """
    purchase = Purchase(labels, affordable(budget, pool.size))
    p_a = strategy.route(pool, purchase, np.random.default_rng(seed))
    return ReplayPlan(budget, seed, purchase.counts, p_a)
