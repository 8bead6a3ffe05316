"""An admin's rules: slices for people throughout, a cap on people, never below random."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from feedback.exceptions import InvalidInput
from routing.ppm.allocation import RULED
from routing.ppm.pool import Arm, Budget, Prediction
from routing.ppm.preparation import prepare
from routing.ppm.strategies import STRATEGIES
from routing.services import constraints, planning
from routing.services.evidence import load_evidence
from tests.routing.planning_cast import PRICE, World, go_on, in_rounds, label_open, make_world, planned

pytestmark = pytest.mark.django_db
LONG = "prompt_length=high"


@pytest.fixture
def world(db: None) -> World:
    return make_world(size=80, votes=0)


def long_ones(world: World) -> set[int]:
    return {i.pk for i in world.instances if len(i.prompt[0]["content"]) > 200}


@pytest.mark.parametrize("strategy", ["disagreement", "all_judge", "random", "adaptive_advantage"])
def test_people_label_all_of_a_slice_whatever_the_strategy_wishes(world: World, strategy: str) -> None:
    plan = planned(world, strategy, 70, floors=[LONG])
    assert (plan.state, plan.error) == ("ready", "")
    ruled = plan.decisions.filter(reason__startswith=RULED)
    assert long_ones(world) == set(ruled.values_list("instance_id", flat=True))
    assert set(ruled.values_list("arm", "propensity")) == {("human", 1.0)}


def test_a_slice_that_the_money_does_not_reach_fails_in_words(world: World) -> None:
    plan = planned(world, "adaptive_advantage", 3, floors=[LONG])
    assert plan.state == "failed"
    assert f"People must label {len(long_ones(world))} instances" in plan.error
    assert "3 of them" in plan.error
    unknown = planned(world, "random", 10, floors=["nonsense"])
    assert "No tag of these instances is called 'nonsense'" in unknown.error


def test_a_cap_on_people_holds_over_all_rounds(world: World) -> None:
    plan = in_rounds(world, 70, most_people=28)
    for _ in range(6):
        label_open(world)
        go_on(plan)
    assert plan.decisions.current().filter(arm="human").count() <= 28
    assert plan.course == "finished"
    once = planned(world, "random", 70, most_people=5)
    assert once.summary["costs"]["human_micros"] == 5 * PRICE


@pytest.mark.parametrize(
    ("strategy", "params", "field"),
    [
        ("random", {"floors": "long"}, "floors"),
        ("random", {"floors": [1]}, "floors"),
        ("random", {"guarantee": 1}, "guarantee"),
        ("adaptive_advantage", {"guarantee": True}, "guarantee"),
        ("random", {"most_people": 0}, "most_people"),
    ],
)
def test_rules_that_make_no_sense_are_refused(world: World, strategy: str, params: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        planning.make_plan(world.cast.task, strategy, 0, judge=world.judge, actor=world.cast.owner, params=params)
    assert field in refused.value.errors


def test_a_prediction_that_is_not_surely_above_random_falls_back_to_it(db: None) -> None:
    world = make_world(votes=80)
    plan = planned(world, "disagreement", 30, guarantee=True, mixes=50)
    assert plan.state == "ready"
    known = load_evidence(world.cast.task, world.judge)
    arms = Budget(30.0, Arm("judge", "judge", 0.0), Arm("people", "crowd", 1.0))
    pool = prepare(known.evidence, arms.human, np.random.default_rng(0), mixes=50).pool
    assert pool.outlook is not None
    answer = STRATEGIES["disagreement"].route(pool, arms, np.random.default_rng(0))
    for mean, kept in ((0.99, True), (0.0, False)):
        tried = replace(answer, predicted=Prediction(mean, pool.outlook.extra_sd))
        found = constraints.guaranteed(plan, pool, arms, tried, np.random.default_rng(0))
        assert (found is tried) == kept
        assert (constraints.FELL_BACK in found.notes) != kept
    plan.params = {}
    assert constraints.guaranteed(plan, pool, arms, answer, np.random.default_rng(0)) is answer
