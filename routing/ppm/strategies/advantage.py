"""Where people are expected to be right more often than the judge, as learned from the pilot."""

from __future__ import annotations

import numpy as np

from routing.ppm.allocation import Ranking, Wording, by_score, plan_for
from routing.ppm.arms import choose_arms
from routing.ppm.pool import Arm, Budget, NotFittedError, Plan, Pool
from routing.ppm.quality import Advantage
from routing.ppm.strategies.strategy import Strategy

# Below a tenth of a point two sources are as good as equal, and estimates differ by rounding.
LEAST_ADVANTAGE = 1e-3
WORDING = Wording(
    "People are expected to be right {score} points more often than the judge here.",
    "People are not expected to beat the judge here by enough to be sent.",
)
NO_ADVANTAGE = "People are not expected to beat the judge anywhere in this pool."


def route_topk(pool: Pool, budget: Budget, rng: np.random.Generator) -> Plan:
    """People label by falling advantage, and never where it is zero or less: what is left then stays unspent."""
    if pool.advantage is None:
        raise NotFittedError("Advantage needs a pilot that both people and the judge labelled.")
    mean = pool.advantage.mean
    worth = (mean > LEAST_ADVANTAGE) & ~pool.human_done
    order = by_score(mean, worth, rng)
    notes = () if worth.any() else (NO_ADVANTAGE,)
    return plan_for("adv_topk", pool, budget, Ranking(order, mean, pool.advantage.lower, WORDING, notes=notes))


def route_per_cost(pool: Pool, budget: Budget, rng: np.random.Generator) -> Plan:
    """Each instance gets the arm with which the money buys most advantage in all: one of the crowd here, three there,
    an expert or a second judge elsewhere. With one arm of people it chooses as `adv_topk` does.
    """
    arms = {number: found for number, arm in enumerate(budget.arms) if (found := _advantage_of(pool, number, arm))}
    if not arms:
        raise NotFittedError("Advantage needs a pilot that both people and the judge labelled.")
    saved = np.where(pool.judged, 0, budget.judge.cost_units).astype(np.int64)
    cost = np.column_stack([np.maximum(budget.arms[number].cost_units - saved, 0) for number in arms])
    value = np.column_stack([np.where(pool.human_done, 0.0, one.mean) for one in arms.values()])
    most = np.array([pool.size if (c := budget.arms[number].capacity) is None else c for number in arms])
    left = budget.units - int(saved[~pool.human_done].sum())
    chosen = choose_arms(value, cost, left, most)
    place = np.maximum(chosen, 0)
    row = np.arange(pool.size)
    mean = np.where(chosen >= 0, value[row, place], value.max(axis=1))
    lower = np.column_stack([one.lower for one in arms.values()])[
        row, np.where(chosen >= 0, place, value.argmax(axis=1))
    ]
    order = by_score(mean / np.maximum(cost[row, place], 1), chosen >= 0, rng)
    wish = np.array(list(arms), dtype=np.int64)[place]
    notes = () if len(order) else (NO_ADVANTAGE,)
    return plan_for("adv_per_cost", pool, budget, Ranking(order, mean, lower, WORDING, notes=notes, choice=wish))


def _advantage_of(pool: Pool, number: int, arm: Arm) -> Advantage | None:
    """What is known of an arm: nothing of the judge, over which all advantage is counted."""
    if number == 0:
        return None
    return pool.arm_advantages.get(arm.name, pool.advantage if number == 1 else None)


ADV_TOPK = Strategy(
    "adv_topk",
    "People label where they are expected to beat the judge most, and nowhere else.",
    route_topk,
    ("advantage",),
)
ADV_PER_COST = Strategy(
    "adv_per_cost",
    "Each instance gets the arm that buys most advantage for its price, and none where no arm beats the judge.",
    route_per_cost,
    ("advantage",),
)
