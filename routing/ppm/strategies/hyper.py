"""The paper's routing (Hybrid Preferences, Miranda et al. 2025): highest predicted gain of an instance's tags."""

from __future__ import annotations

import numpy as np

from routing.ppm.allocation import Ranking, Wording, by_score, plan_for
from routing.ppm.pool import Budget, NotFittedError, Plan, Pool
from routing.ppm.strategies.strategy import Strategy

WORDING = Wording(
    "The tags of this instance have the highest predicted gain from people.",
    "The tags of this instance have a lower predicted gain from people.",
)


def route(pool: Pool, budget: Budget, rng: np.random.Generator) -> Plan:
    """People label by falling tag gain while money lasts, as published: no uncertainty, no stopping."""
    if pool.tag_gain is None:
        raise NotFittedError("Tag gains need scored mixes of this pool.")
    order = by_score(pool.tag_gain, ~pool.human_done, rng)
    return plan_for("hyper_topk", pool, budget, Ranking(order, pool.tag_gain, pool.tag_gain, WORDING))


HYPER_TOPK = Strategy(
    "hyper_topk", "The published method: people label where the tags' predicted gain is highest.", route, ("tag_gain",)
)
