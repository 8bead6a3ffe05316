"""The batch default: of many mixes, the one whose predicted score has the best lower confidence bound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from routing.ppm.allocation import Ranking, Wording, by_score, most_people, plan_for
from routing.ppm.evaluation import Z80
from routing.ppm.outlook import Outlook
from routing.ppm.pool import Budget, NotFittedError, Plan, Pool
from routing.ppm.proposals import proposals_for, propose
from routing.ppm.quality import INTERVAL_Z, Advantage
from routing.ppm.strategies.advantage import NO_ADVANTAGE
from routing.ppm.strategies.strategy import Strategy

WORDING = Wording(
    "Part of the mix with the best safe prediction; people are expected to be right {score} points more often here.",
    "Not part of the mix with the best safe prediction.",
)
NO_PREDICTION = "No metric can be predicted yet, so people are simply sent where their advantage is greatest."
Masks = NDArray[np.uint8]


def route(pool: Pool, budget: Budget, rng: np.random.Generator) -> Plan:
    """People label the best of up to 1,000 proposals and the plain top of the advantage, never where that is ≤ 0.

    The plain top is a proposal only where the advantage is known better than it varies. Without a prediction it is the
    plan, and that is said.
    """
    if pool.advantage is None:
        raise NotFittedError("Predicting mixes needs a pilot that both people and the judge labelled.")
    mean = pool.advantage.mean
    most = most_people(pool, budget)
    order = by_score(mean, (mean > 0) & ~pool.human_done, rng)
    notes = () if len(order) or not most else (NO_ADVANTAGE,)
    best = pool.human_done.astype(np.uint8)
    best[order[:most]] = 1
    if pool.outlook is None:
        notes = (*notes, NO_PREDICTION)
    elif 0 < most < len(order):
        best = _best_proposal(pool, pool.advantage, pool.outlook, best, most, rng)
    order = by_score(mean, (best == 1) & ~pool.human_done, rng)
    return plan_for("ppm_guided", pool, budget, Ranking(order, mean, pool.advantage.lower, WORDING, notes=notes))


def _best_proposal(
    pool: Pool, advantage: Advantage, outlook: Outlook, plain: Masks, most: int, rng: np.random.Generator
) -> Masks:
    sd = float(np.median(advantage.upper - advantage.lower)) / (2.0 * INTERVAL_Z)
    known = sd <= float(advantage.mean.std())
    best, bound = plain, float(lower_bounds(outlook, plain[None, :])[0]) if known else -np.inf
    noise = 0.0 if known else sd
    for masks in propose(pool.tags, advantage.mean, pool.human_done, most, proposals_for(pool.size), rng, noise):
        bounds = lower_bounds(outlook, masks)
        if bounds.max() > bound:
            best, bound = masks[int(np.argmax(bounds))].copy(), float(bounds.max())
    return best


def lower_bounds(outlook: Outlook, masks: Masks) -> NDArray[np.float64]:
    """What each mix [M, N] is predicted to reach with a probability of nine in ten [M]."""
    mean, sd = outlook.predict(masks)
    return np.asarray(mean - Z80 * sd, dtype=np.float64)


PPM_GUIDED = Strategy(
    "ppm_guided",
    "Of a thousand mixes where people beat the judge, the one with the best prediction at its lower bound.",
    route,
    ("advantage",),
)
