"""Uniform draws: what every other strategy has to beat at equal spend."""

from __future__ import annotations

import numpy as np

from routing.ppm.allocation import Ranking, Wording, plan_for
from routing.ppm.pool import Budget, Plan, Pool, Source
from routing.ppm.strategies.strategy import Strategy

WORDING = Wording("Drawn at random for people.", "Not drawn; the judge labels it.")


def route(pool: Pool, budget: Budget, rng: np.random.Generator) -> Plan:
    """People label a uniform draw as large as the money allows, the judge the rest.

    Propensity = drawn / not yet done.
    """
    order = rng.permutation(np.flatnonzero(~pool.human_done))
    nothing = np.zeros(pool.size)
    first = plan_for("random", pool, budget, Ranking(order, nothing, nothing, WORDING))
    drawn = first.count(Source.HUMAN) - int(pool.human_done.sum())
    chance = np.where(pool.human_done, 1.0, drawn / max(len(order), 1))
    return plan_for("random", pool, budget, Ranking(order, nothing, nothing, WORDING, chance))


RANDOM = Strategy("random", "People label a random part, the judge the rest. The baseline.", route)
