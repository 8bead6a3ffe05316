"""The ceiling in a simulation, where it is known who would be right."""

from __future__ import annotations

import numpy as np

from routing.ppm.allocation import Ranking, Wording, by_score, plan_for
from routing.ppm.pool import Budget, NotFittedError, Plan, Pool
from routing.ppm.strategies.strategy import Strategy

WORDING = Wording("People gain {score} points of truth here.", "People gain nothing here.")


def route(pool: Pool, budget: Budget, rng: np.random.Generator) -> Plan:
    """People label by falling true gain, and only where it is positive. Raises NotFittedError outside simulations."""
    if pool.true_gain is None:
        raise NotFittedError("The oracle exists in simulations only.")
    order = by_score(pool.true_gain, (pool.true_gain > 0) & ~pool.human_done, rng)
    return plan_for("oracle", pool, budget, Ranking(order, pool.true_gain, pool.true_gain, WORDING))


ORACLE = Strategy(
    "oracle", "The ceiling in simulations: people label where the judge is truly wrong.", route, ("true_gain",), True
)
