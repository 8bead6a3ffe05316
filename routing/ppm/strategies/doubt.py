"""The judge's own doubt: no verdict first, then verdicts that change with the side order, then the closest calls.

Needs no pilot and costs nothing beyond judging both orders; on real sets the order is the strongest free signal.
`uncertainty` is the classical form that looks at the closeness alone.
"""

from __future__ import annotations

import numpy as np

from routing.ppm.allocation import Ranking, Wording, by_score, plan_for
from routing.ppm.pool import Budget, Plan, Pool
from routing.ppm.strategies.strategy import Strategy

WORDING = Wording(
    "The judge is among its least sure here: no verdict, a verdict that changes with the side order, or a close call.",
    "The judge is surer here than where people were sent.",
)
CLOSE_WORDING = Wording(
    "The judge's verdict is among the closest calls here, or there is none.",
    "The judge's verdict is clearer here than where people were sent.",
)
NO_VERDICT_SCORE, INCONSISTENT_SCORE = 3.0, 1.0


def doubt(pool: Pool) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """1 − |2p − 1|, plus 1 where the orders disagree; 3 where there is no verdict [N]."""
    p = np.where(np.isnan(pool.judge_p), 0.5, pool.judge_p)
    score = 1.0 - np.abs(2.0 * p - 1.0) + INCONSISTENT_SCORE * ~pool.order_consistent
    return np.where(pool.has_verdict, score, NO_VERDICT_SCORE)


def closeness(pool: Pool) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """1 − |2p − 1|; 3 where there is no verdict [N]."""
    p = np.where(np.isnan(pool.judge_p), 0.5, pool.judge_p)
    return np.where(pool.has_verdict, 1.0 - np.abs(2.0 * p - 1.0), NO_VERDICT_SCORE)


def route_disagreement(pool: Pool, budget: Budget, rng: np.random.Generator) -> Plan:
    """People label by falling doubt while money lasts. It knows nothing of people's errors, so it never stops early."""
    return _by_doubt("disagreement", pool, budget, doubt(pool), WORDING, rng)


def route_uncertainty(pool: Pool, budget: Budget, rng: np.random.Generator) -> Plan:
    """People label the closest calls while money lasts, whatever became of the verdict when sides swapped."""
    return _by_doubt("uncertainty", pool, budget, closeness(pool), CLOSE_WORDING, rng)


def _by_doubt(
    name: str,
    pool: Pool,
    budget: Budget,
    score: np.ndarray[tuple[int], np.dtype[np.float64]],
    wording: Wording,
    rng: np.random.Generator,
) -> Plan:
    order = by_score(score, ~pool.human_done & pool.judged, rng)
    unjudged = rng.permutation(np.flatnonzero(~pool.judged & ~pool.human_done))
    notes = ("Instances that were never judged come last: their doubt is unknown.",) if len(unjudged) else ()
    return plan_for(name, pool, budget, Ranking(np.concatenate([order, unjudged]), score, score, wording, notes=notes))


DISAGREEMENT = Strategy(
    "disagreement",
    "People label where the judge contradicts itself when sides swap, then where it is closest.",
    route_disagreement,
)
UNCERTAINTY = Strategy("uncertainty", "People label the judge's closest calls.", route_uncertainty)
