"""Where people are expected to be right more often than the judge, as learned from the pilot."""

from __future__ import annotations

import numpy as np

from routing.ppm.allocation import Ranking, Wording, by_score, plan_for
from routing.ppm.pool import Budget, NotFittedError, Plan, Pool
from routing.ppm.strategies.strategy import Strategy

WORDING = Wording(
    "People are expected to be right {score} points more often than the judge here.",
    "People are not expected to beat the judge here by enough to be sent.",
)


def route(pool: Pool, budget: Budget, rng: np.random.Generator) -> Plan:
    """People label by falling advantage, and never where it is zero or less: what is left then stays unspent."""
    if pool.advantage is None:
        raise NotFittedError("Advantage needs a pilot that both people and the judge labelled.")
    mean = pool.advantage.mean
    worth = (mean > 0) & ~pool.human_done
    order = by_score(mean, worth, rng)
    notes = () if worth.any() else ("People are not expected to beat the judge anywhere in this pool.",)
    return plan_for("adv_topk", pool, budget, Ranking(order, mean, pool.advantage.lower, WORDING, notes=notes))


ADV_TOPK = Strategy(
    "adv_topk", "People label where they are expected to beat the judge most, and nowhere else.", route, ("advantage",)
)
