"""The batch default: of many mixes, the one whose predicted score has the best lower confidence bound."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from routing.ppm.adaptive import LEAST_WORTH
from routing.ppm.allocation import Ranking, Wording, by_score, most_people, plan_for
from routing.ppm.evaluation import Z80
from routing.ppm.outlook import Outlook
from routing.ppm.pool import Budget, NotFittedError, Plan, Pool
from routing.ppm.proposals import proposals_for, propose
from routing.ppm.quality import INTERVAL_Z, Advantage
from routing.ppm.strategies.advantage import NO_ADVANTAGE
from routing.ppm.strategies.strategy import Strategy

Floats = NDArray[np.float64]
WORDING = Wording(
    "Part of the mix with the best safe prediction: people may well be right more often than the judge here.",
    "Not part of the mix with the best safe prediction.",
)
NO_PREDICTION = "No metric can be predicted yet, so people are simply sent where their advantage is greatest."
NOT_KNOWN = "Where people are better is not known yet, so they are drawn at random where they may be."
# A judge's errors all point one way and a person's do not, so in a reward model one of the judge's counts as much as
# two of people's (measured in simulated worlds); a label that cannot add LEAST_WORTH does not pay.
PEOPLES_ERRORS = 0.5
# Beyond this ratio of standard error to spread less than a fifth of the spread is more than chance.
MOST_ERROR = 2.0
Masks = NDArray[np.uint8]


def route(pool: Pool, budget: Budget, rng: np.random.Generator) -> Plan:
    """People label the plain top of the advantage, or a proposal that is surely better; never where there is none.

    Of up to 1,000 proposals that is the one with the best lower bound of its predicted lead, where that is above zero.
    Where the advantage varies too little for its error, proposals must be surely better than a random draw instead,
    which is the plan otherwise. Without a prediction the plain top is, and that is said.
    """
    if pool.advantage is None:
        raise NotFittedError("Predicting mixes needs a pilot that both people and the judge labelled.")
    mean = pool.advantage.mean
    sd = np.asarray((pool.advantage.upper - mean) / INTERVAL_Z, dtype=np.float64)
    worth = pays(pool.advantage) & ~pool.human_done
    most = min(most_people(pool, budget), int(worth.sum()))
    notes = () if worth.any() or not most_people(pool, budget) else (NO_ADVANTAGE,)
    known = float(np.median(sd)) <= MOST_ERROR * float(mean.std())
    if pool.outlook is None:
        notes = (*notes, NO_PREDICTION)
    elif not known and most:
        notes = (*notes, NOT_KNOWN)
    plain = by_score(mean, worth, rng) if known or pool.outlook is None else rng.permutation(np.flatnonzero(worth))
    best = pool.human_done.astype(np.uint8)
    best[plain[:most]] = 1
    if pool.outlook is not None and 0 < most < len(plain):
        best = _best_proposal(pool, mean, worth, pool.outlook, best, most, rng, 0.0 if known else float(np.median(sd)))
    order = by_score(mean, (best == 1) & ~pool.human_done, rng)
    return plan_for("ppm_guided", pool, budget, Ranking(order, mean, pool.advantage.lower, WORDING, notes=notes))


def pays(advantage: Advantage) -> NDArray[np.bool_]:
    """Where a person is worth more to a reward model than the judge [N]: 1 − p^L > max((1 − p^H) / 2, LEAST_WORTH)."""
    judge_wrong = 1.0 - advantage.p_human + advantage.mean
    wanted = np.maximum(PEOPLES_ERRORS * (1.0 - advantage.p_human), LEAST_WORTH)
    return np.asarray(judge_wrong > wanted, dtype=bool)


def _best_proposal(
    pool: Pool,
    advantage: Floats,
    worth: NDArray[np.bool_],
    outlook: Outlook,
    plain: Masks,
    most: int,
    rng: np.random.Generator,
    noise: float,
) -> Masks:
    best, lead = plain, 0.0
    for masks in propose(pool.tags, advantage, pool.human_done, worth, most, proposals_for(pool.size), rng, noise):
        bounds = sure_leads(outlook, masks, plain)
        if bounds.max() > lead:
            best, lead = masks[int(np.argmax(bounds))].copy(), float(bounds.max())
    return best


def sure_leads(outlook: Outlook, masks: Masks, other: NDArray[np.uint8]) -> Floats:
    """How far each mix [M, N] is predicted to score above another [N] with a probability of nine in ten [M]."""
    mean, sd = outlook.gains_over(masks, other)
    return np.asarray(mean - Z80 * sd, dtype=np.float64)


PPM_GUIDED = Strategy(
    "ppm_guided",
    "People where they beat the judge most, or that one of a thousand other mixes which is surely better.",
    route,
    ("advantage",),
)
