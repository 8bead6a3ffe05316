"""The length gap: a judge's best-known bias, as a rule of its own to compare with."""

from __future__ import annotations

import numpy as np

from routing.ppm.allocation import Ranking, Wording, by_score, plan_for
from routing.ppm.pool import Budget, NotFittedError, Plan, Pool
from routing.ppm.strategies.strategy import Strategy

WORDING = Wording(
    "The completions' lengths differ most here, where judges tend to follow length.",
    "The completions' lengths differ less here.",
)


def route(pool: Pool, budget: Budget, rng: np.random.Generator) -> Plan:
    """People label by falling length gap while money lasts.

    Whether length misleads the judge differs between sets, and this rule cannot know: the learned strategies do.
    """
    if pool.length_gap is None:
        raise NotFittedError("The completions' lengths are not known here.")
    order = by_score(pool.length_gap, ~pool.human_done, rng)
    return plan_for("length_gap", pool, budget, Ranking(order, pool.length_gap, pool.length_gap, WORDING))


LENGTH_GAP = Strategy("length_gap", "People label where the completions' lengths differ most.", route, ("length_gap",))
