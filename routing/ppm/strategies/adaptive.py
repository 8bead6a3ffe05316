"""The online default: labels are bought in rounds, and each round teaches where the next one pays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from routing.ppm.adaptive import LEAST_WORTH, Round
from routing.ppm.allocation import Ranking, Wording, plan_for
from routing.ppm.pool import Budget, NotFittedError, Plan, Pool, Source
from routing.ppm.strategies.doubt import doubt
from routing.ppm.strategies.strategy import Strategy

Floats = NDArray[np.float64]

WORDING = Wording(
    "A person's label is expected to raise the chance that this label is right by {score} points.",
    "A person's label is not expected to raise the chance that this label is right by enough to pay here.",
)
STOPPED = "No label is expected to pay any more: what the labels so far taught is enough."


def route(pool: Pool, budget: Budget, rng: np.random.Generator) -> Plan:
    """`now` is the round to buy; after it come the instances that would pay if the round taught nothing.

    Until somebody labelled, the round is drawn by the judge's own doubt. Carry out the round, let the learner learn its
    labels, and route again.
    """
    learner = pool.learner
    if learner is None:
        raise NotFittedError("Learning from labels as they arrive needs the instances' signals.")
    open_to_people = np.flatnonzero(~pool.human_done)
    chosen = learner.next_round(open_to_people, doubt(pool), rng)
    worth = learner.worth
    rest = np.setdiff1d(open_to_people, chosen.instances)
    later = rest[worth[rest] > LEAST_WORTH] if len(chosen.instances) else rest[:0]
    order = np.concatenate([chosen.instances, later[np.argsort(-worth[later], kind="stable")]])
    notes = () if len(order) or not len(open_to_people) else (STOPPED,)
    ranking = Ranking(order, worth, worth, WORDING, notes=notes, first=len(chosen.instances))
    plan = plan_for("adaptive_advantage", pool, budget, ranking)
    return replace(plan, propensity=_propensity(pool, plan, chosen))


def _propensity(pool: Pool, plan: Plan, chosen: Round) -> Floats:
    """What is labelled is certain, and what is wished for later; the others come into this round, or not, by chance."""
    by_worth = pool.human_done.copy()
    by_worth[np.setdiff1d(chosen.instances, chosen.drawn)] = True
    drawn = np.zeros(pool.size, dtype=bool)
    drawn[chosen.drawn] = True
    sent = plan.arm == Source.HUMAN
    return np.select([by_worth, drawn & sent, ~sent], [1.0, chosen.chance, 1.0 - chosen.chance], default=1.0)


ADAPTIVE_ADVANTAGE = Strategy(
    "adaptive_advantage",
    "Labels in rounds, learning from each where people would change a label; stops when none pays.",
    route,
    ("learner",),
)
