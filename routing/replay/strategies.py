"""Strategies that buy labels one after another and say of every instance how likely a is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routing.ppm.adaptive import Learner
from routing.replay.pool import ReplayPool
from routing.replay.purchase import Purchase

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ReplayStrategy:
    """A named way to spend a budget of labels. `route` returns P(a better) [N] of the plan's labels."""

    name: str
    summary: str
    route: Callable[[ReplayPool, Purchase, np.random.Generator], Floats]


def _overwritten(pool: ReplayPool, purchase: Purchase) -> Floats:
    """The judge's verdict, replaced by a person's label wherever one was bought."""
    p = pool.judge_p.copy()
    p[purchase.bought] = purchase.labels(purchase.bought)
    return p


def _random(pool: ReplayPool, purchase: Purchase, rng: np.random.Generator) -> Floats:
    purchase.buy(rng.permutation(pool.size)[: purchase.left])
    return _overwritten(pool, purchase)


def _all_judge(pool: ReplayPool, purchase: Purchase, rng: np.random.Generator) -> Floats:
    return pool.judge_p.copy()


def doubt_of(pool: ReplayPool, rng: np.random.Generator) -> Floats:
    """How little the routed judge is sure of itself [N]: contradiction between orders first, then ties; then chance."""
    return 1.0 - np.abs(pool.verdict) + pool.inconsistent + 1e-6 * rng.random(pool.size)


def _disagreement(pool: ReplayPool, purchase: Purchase, rng: np.random.Generator) -> Floats:
    purchase.buy(np.argsort(-doubt_of(pool, rng), kind="stable")[: purchase.left])
    return _overwritten(pool, purchase)


def _adaptive(pool: ReplayPool, purchase: Purchase, rng: np.random.Generator) -> Floats:
    learner = Learner(pool.signals)
    doubt = doubt_of(pool, rng)
    while purchase.left:
        wanted = learner.next_round(purchase.open(), doubt, rng).instances[: purchase.left]
        if not len(wanted):
            break
        learner.learn(wanted, purchase.buy(wanted))
    return learner.probability


STRATEGIES: Mapping[str, ReplayStrategy] = {
    one.name: one
    for one in (
        ReplayStrategy("adaptive_advantage", "Learns from each round of labels where the next one pays.", _adaptive),
        ReplayStrategy("random", "Labels a random part, the judge the rest. The baseline.", _random),
        ReplayStrategy("all_judge", "Buys nothing; the judge's verdicts stand.", _all_judge),
        ReplayStrategy("all_human", "Labels all that the budget pays, in random order.", _random),
        ReplayStrategy("disagreement", "Labels where the judge's own orders disagree first.", _disagreement),
    )
}
DEFAULT = "adaptive_advantage"
