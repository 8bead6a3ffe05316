"""A replayed plan as rows: who labelled each instance, and what the label says."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routing.replay.pool import ReplayPool
from routing.replay.purchase import Purchase
from routing.replay.strategies import ReplayStrategy


@dataclass(frozen=True)
class ReplayPlan:
    """What a strategy did with a budget: `bought` [N] and P(a better) [N]; `budget` is a share of labelling all."""

    budget: float
    seed: int
    bought: NDArray[np.bool_]
    p_a: NDArray[np.float64]

    @property
    def spent(self) -> float:
        """The share of the instances that a label was bought of."""
        return float(self.bought.mean())

    def lines(self, ids: tuple[str | int, ...]) -> Iterator[str]:
        """One JSON object an instance: budget, id, source, n_labels, p_a, seed."""
        for name, human, p in zip(ids, self.bought, self.p_a, strict=True):
            source = "human" if human else "judge"
            row = {
                "budget": self.budget,
                "id": name,
                "source": source,
                "n_labels": int(human),
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


def replay(pool: ReplayPool, labels: list[int], strategy: ReplayStrategy, budget: float, seed: int) -> ReplayPlan:
    """Let a strategy spend a budget on a pool, seeing of its labels [N] what it buys. The same seed, the same plan."""
    purchase = Purchase(labels, affordable(budget, pool.size))
    p_a = strategy.route(pool, purchase, np.random.default_rng(seed))
    bought = np.zeros(pool.size, dtype=bool)
    bought[purchase.bought] = True
    return ReplayPlan(budget, seed, bought, p_a)
