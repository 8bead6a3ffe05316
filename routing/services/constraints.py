"""What an admin rules about a plan: slices that people label throughout, a cap on people, never below random."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from feedback.exceptions import WrongState
from routing.features.descriptive import FLAG_NAMES
from routing.features.wording import words_of
from routing.ppm.evaluation import Z80
from routing.ppm.pool import Budget, Plan, Pool, Source
from routing.ppm.strategies import STRATEGIES

from ..models import RoutingPlan

LIMITS = {"most_people": (1, 10**7)}
MOST_FLOORS = 20
FLOORS = {name: words_of(name) for name in FLAG_NAMES}
"""The tags that the page offers as slices; over REST every tag of the pool is one."""
FELL_BACK = (
    "Guarantee: at its lower bound the prediction is not above random routing, so people's part is drawn at random."
)


def errors_in(params: Mapping[str, Any], *, in_rounds: bool) -> dict[str, str]:
    """What is wrong with a plan's rules, a sentence per field."""
    errors = {}
    floors = params.get("floors", [])
    if not isinstance(floors, list) or len(floors) > MOST_FLOORS or not all(isinstance(one, str) for one in floors):
        errors["floors"] = f"Must be a list of at most {MOST_FLOORS} tags."
    if not isinstance(params.get("guarantee", False), bool):
        errors["guarantee"] = "Must be true or false."
    elif params.get("guarantee") and in_rounds:
        errors["guarantee"] = "Rounds stop by what was learned; only plans that ask at once can fall back to random."
    if not isinstance(params.get("escalate", False), bool):
        errors["escalate"] = "Must be true or false."
    elif params.get("escalate") and in_rounds:
        errors["escalate"] = "Rounds ask people where the judge is unsure anyway."
    return errors


def with_floors(plan: RoutingPlan, pool: Pool) -> Pool:
    """The pool with the instances that people must label. Raises WrongState for a tag that it does not have."""
    floors = list(dict.fromkeys(plan.params.get("floors", [])))
    unknown = [name for name in floors if name not in pool.tag_names]
    if unknown:
        known = ", ".join(pool.tag_names)
        raise WrongState(f"No tag of these instances is called {unknown[0]!r}. There are: {known}."[:1000])
    if not floors:
        return pool
    columns = [pool.tag_names.index(name) for name in floors]
    return replace(pool, must=np.asarray((pool.tags[:, columns] > 0).any(axis=1)))


def check_floors(pool: Pool, answer: Plan) -> None:
    """Raises WrongState when the money or the cap does not reach what people must label."""
    if pool.must is None:
        return
    left = int((pool.must & ~pool.human_done & (answer.arm != Source.HUMAN)).sum())
    if left:
        total = int((pool.must & ~pool.human_done).sum())
        raise WrongState(
            f"People must label {total:,} instances by this plan's rule, and the budget or the cap on people reaches "
            f"{total - left:,} of them. Raise it, or take a tag off the rule."
        )


def guaranteed(plan: RoutingPlan, pool: Pool, arms: Budget, answer: Plan, rng: np.random.Generator) -> Plan:
    """The answer, or random routing where its prediction is not above it with 90% certainty. The error that is common
    to all mixes says nothing of their difference and is left out."""
    if not plan.params.get("guarantee") or answer.predicted is None or pool.outlook is None:
        return answer
    random = STRATEGIES["random"].route(pool, arms, rng)
    assert random.predicted is not None
    own = np.sqrt(max(answer.predicted.sd**2 - pool.outlook.extra_sd**2, 0.0))
    if answer.predicted.mean - Z80 * own > random.predicted.mean:
        return answer
    return replace(random, notes=(*random.notes, FELL_BACK))
