"""The paper's routing (Hybrid Preferences, Miranda et al. 2025): by what a model of tag counts predicts.

As published: no uncertainty and no stopping; people are given all that the money pays for, but in `hyper_optimal`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from routing.ppm.allocation import Ranking, Wording, by_score, most_people, plan_for
from routing.ppm.mixes import Masks, knapsack_mix, tag_members
from routing.ppm.pool import Budget, NotFittedError, Plan, Pool
from routing.ppm.proposals import in_chunks
from routing.ppm.strategies.strategy import Strategy

WORDING = Wording(
    "The tags of this instance have the highest predicted gain from people.",
    "The tags of this instance have a lower predicted gain from people.",
)
MIX_WORDING = Wording(
    "Part of the mix of tags with the best prediction.", "Not part of the mix of tags with the best prediction."
)
PROPOSALS = 500
Ints = NDArray[np.int64]


def route_topk(pool: Pool, budget: Budget, rng: np.random.Generator) -> Plan:
    """People label by falling tag gain while money lasts."""
    if pool.tag_gain is None:
        raise NotFittedError("Tag gains need scored mixes of this pool.")
    order = by_score(pool.tag_gain, ~pool.human_done, rng)
    return plan_for("hyper_topk", pool, budget, Ranking(order, pool.tag_gain, pool.tag_gain, WORDING))


def route_simulated(pool: Pool, budget: Budget, rng: np.random.Generator) -> Plan:
    """The best predicted of 500 knapsack mixes that spend the whole budget."""
    most = most_people(pool, budget)
    return _best_mix("hyper_simulated", pool, budget, np.full(PROPOSALS, most), rng)


def route_optimal(pool: Pool, budget: Budget, rng: np.random.Generator) -> Plan:
    """The best predicted of 500 knapsack mixes of any size that the budget pays for."""
    most = most_people(pool, budget)
    sizes = rng.integers(0, most + 1, PROPOSALS)
    sizes[:2] = 0, most
    return _best_mix("hyper_optimal", pool, budget, sizes, rng)


def _best_mix(name: str, pool: Pool, budget: Budget, sizes: Ints, rng: np.random.Generator) -> Plan:
    if pool.tag_model is None or pool.tag_gain is None:
        raise NotFittedError("A model of tag counts needs scored mixes of this pool.")
    model, open_to_people = pool.tag_model, np.flatnonzero(~pool.human_done)
    members = tag_members(pool.tags[open_to_people])
    best, best_score = pool.human_done.astype(np.uint8), -np.inf
    for rows in in_chunks(len(sizes), pool.size):
        masks: Masks = np.tile(pool.human_done.astype(np.uint8), (len(rows), 1))
        for row, place in enumerate(rows):
            masks[row, open_to_people] = knapsack_mix(members, len(open_to_people), int(sizes[place]), rng)
        scores = model.scores(pool.tags, masks)
        if scores.max() > best_score:
            best, best_score = masks[int(np.argmax(scores))], float(scores.max())
    order = rng.permutation(np.flatnonzero((best == 1) & ~pool.human_done))
    return plan_for(name, pool, budget, Ranking(order, pool.tag_gain, pool.tag_gain, MIX_WORDING))


HYPER_TOPK = Strategy(
    "hyper_topk",
    "The published method: people label where the tags' predicted gain is highest.",
    route_topk,
    ("tag_gain",),
)
HYPER_SIMULATED = Strategy(
    "hyper_simulated",
    "As published: of 500 random mixes of whole tags, the one with the best prediction.",
    route_simulated,
    ("tag_gain", "tag_model"),
)
HYPER_OPTIMAL = Strategy(
    "hyper_optimal",
    "As published: of 500 mixes of any size within the budget, the one with the best prediction.",
    route_optimal,
    ("tag_gain", "tag_model"),
)
