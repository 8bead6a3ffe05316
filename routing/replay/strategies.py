"""Strategies that buy labels one after another and say of every instance how likely a is better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routing.ppm.adaptive import Learner
from routing.ppm.pilot import ENOUGH_TO_PREDICT
from routing.ppm.pool import Arm, Budget, Pool
from routing.ppm.preparation import evidence_from_table, prepare
from routing.ppm.quality import Votes
from routing.ppm.strategies import STRATEGIES as PLANNED
from routing.replay.pool import ReplayPool
from routing.replay.purchase import Purchase

Floats = NDArray[np.float64]

PILOTED = ("adv_topk", "ppm_guided", "hyper_topk", "hyper_simulated", "hyper_optimal")
PILOT_SHARE, MIXES = 0.10, 300
ONE_LABEL, FREE = Arm("person", "crowd", 1.0), Arm("judge", "judge", 0.0)


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
        wanted = learner.next_round(purchase.unsold(), doubt, rng).instances[: purchase.left]
        if not len(wanted):
            break
        learner.learn(wanted, purchase.buy(wanted))
    return learner.probability


def _piloted(name: str) -> Callable[[ReplayPool, Purchase, np.random.Generator], Floats]:
    """A batch strategy: a random pilot is paid first, then its plan for the rest of the money is carried out."""

    def route(pool: ReplayPool, purchase: Purchase, rng: np.random.Generator) -> Floats:
        paid = max(round(PILOT_SHARE * pool.size), ENOUGH_TO_PREDICT)
        pilot = rng.permutation(pool.size)[: min(paid, purchase.left)]
        purchase.buy(pilot)
        if purchase.left:
            known = _prepared(pool, pilot, purchase.labels(pilot))
            strategy = PLANNED[name]
            if strategy.can_route(known):
                plan = strategy.route(known, Budget(float(purchase.left), FREE, ONE_LABEL), rng)
                purchase.buy(np.flatnonzero((plan.human_mask == 1) & ~known.human_done))
        return _overwritten(pool, purchase)

    return route


def _prepared(pool: ReplayPool, pilot: NDArray[np.int64], said_a: Floats) -> Pool:
    """What a pilot teaches of the pool. Drawn with a seed of its own, so that every budget learns the same of it."""
    votes = Votes(pilot, np.zeros(len(pilot), dtype=np.int64), 2.0 * said_a - 1.0)
    evidence, _ = evidence_from_table(
        pool.judge_p,
        np.ones(pool.size, dtype=bool),
        ~pool.inconsistent,
        votes,
        pool.features.table,
        pool.features.difference,
        signals=pool.signals,
    )
    return prepare(evidence, ONE_LABEL, np.random.default_rng(len(pilot)), mixes=MIXES).pool


STRATEGIES: Mapping[str, ReplayStrategy] = {
    one.name: one
    for one in (
        ReplayStrategy("adaptive_advantage", "Learns from each round of labels where the next one pays.", _adaptive),
        ReplayStrategy("random", "Labels a random part, the judge the rest. The baseline.", _random),
        ReplayStrategy("all_judge", "Buys nothing; the judge's verdicts stand.", _all_judge),
        ReplayStrategy("all_human", "Labels all that the budget pays, in random order.", _random),
        ReplayStrategy("disagreement", "Labels where the judge's own orders disagree first.", _disagreement),
        *(
            ReplayStrategy(name, f"After a paid pilot of a tenth, at least 60: {PLANNED[name].summary}", _piloted(name))
            for name in PILOTED
        ),
    )
}
DEFAULT = "adaptive_advantage"
