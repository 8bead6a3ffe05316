"""One source for everything: the two ends between which a hybrid must be worth its trouble."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from routing.ppm.allocation import Ranking, Wording, plan_for
from routing.ppm.pool import Budget, Plan, Pool
from routing.ppm.strategies.strategy import Strategy

JUDGE_WORDING = Wording("", "The judge labels everything under this strategy.")
HUMAN_WORDING = Wording("People label everything that the money allows.", "The money ended; the judge's verdict stays.")


def route_judge(pool: Pool, budget: Budget, rng: np.random.Generator) -> Plan:
    """The judge labels all; labels that people gave already are left out of the mix."""
    nothing = np.zeros(pool.size)
    must = None if pool.must is None else pool.must & ~pool.human_done
    bare = replace(pool, human_done=np.zeros(pool.size, dtype=bool), must=must)
    return plan_for("all_judge", bare, budget, Ranking(np.zeros(0, dtype=np.int64), nothing, nothing, JUDGE_WORDING))


def route_human(pool: Pool, budget: Budget, rng: np.random.Generator) -> Plan:
    """People label all, in random order while money lasts; then existing verdicts fill the rest.

    Nothing new is judged.
    """
    nothing = np.zeros(pool.size)
    ranking = Ranking(rng.permutation(pool.size), nothing, nothing, HUMAN_WORDING)
    return plan_for("all_human", pool, budget, ranking, judge_rest=False)


ALL_JUDGE = Strategy("all_judge", "The judge labels everything.", route_judge)
ALL_HUMAN = Strategy("all_human", "People label everything that the money allows.", route_human)
