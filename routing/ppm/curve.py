"""What a strategy is predicted to reach at every share of human labels: the line behind the budget slider."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from routing.ppm.allocation import budget_for_share
from routing.ppm.evaluation import Z80
from routing.ppm.pool import Budget, NotFittedError, Pool, Source
from routing.ppm.strategies.strategy import Strategy

SHARES: tuple[float, ...] = tuple(step / 20 for step in range(21))


@dataclass(frozen=True)
class CurvePoint:
    """One position of the slider: the share asked for and the money for it, what the plan does with it, and the metric.

    `low` and `high` bound the metric with 80% probability; `spent` can be less than `money` where a strategy stops.
    """

    strategy: str
    share: float
    money: float
    spent: float
    human_share: float
    judge_share: float
    mean: float
    low: float
    high: float


def predicted_curve(
    pool: Pool, arms: Budget, strategy: Strategy, seed: int, shares: Sequence[float] = SHARES
) -> list[CurvePoint]:
    """The strategy's plan and predicted metric at each share. The seed is the same at each, so that random draws nest.

    Only the prices of `arms` are read, not its money. Raises NotFittedError when the pool has no outlook.
    """
    if pool.outlook is None:
        raise NotFittedError("A curve needs a fitted performance-prediction model.")
    bare = replace(pool, outlook=None)
    budgets = [budget_for_share(pool, share, arms) for share in shares]
    plans = [strategy.route(bare, budget, np.random.default_rng(seed)) for budget in budgets]
    means, sds = pool.outlook.predict(np.stack([plan.human_mask for plan in plans]))
    return [
        CurvePoint(
            strategy=strategy.name,
            share=share,
            money=budget.money,
            spent=plan.cost,
            human_share=plan.count(Source.HUMAN) / max(pool.size, 1),
            judge_share=plan.count(Source.JUDGE) / max(pool.size, 1),
            mean=float(mean),
            low=float(mean - Z80 * sd),
            high=float(mean + Z80 * sd),
        )
        for share, budget, plan, mean, sd in zip(shares, budgets, plans, means, sds, strict=True)
    ]
