"""A plan's own arms: experts are people with a skill; each instance gets the arm that adds most for its price."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from feedback.exceptions import InvalidInput, NothingToLabel, WrongState
from feedback.models import Annotation, AnnotationRequest, Annotator, Instance, Membership, Task
from feedback.services import people, queue, tasks
from routing.ppm.people import group_accuracy
from routing.services import applying, arms, learning, planning, requests, rounds
from routing.services.evidence import load_evidence
from routing.services.money import plan_money
from tests.routing.judging_cast import assert_money_adds_up
from tests.routing.planning_cast import PRICE, World, label_open, make_world, planned

pytestmark = pytest.mark.django_db
LAW = {"name": "Lawyers", "kind": "expert", "skill": "law", "price_micros": 3 * PRICE, "capacity": 6, "accuracy": 99}
THREE = {"name": "Three", "kind": "crowd", "price_micros": PRICE // 2, "labels": 3}


@pytest.fixture
def world(db: None) -> World:
    world = make_world()
    Task.objects.filter(pk=world.cast.task.pk).update(plan_only=True)
    world.cast.task.refresh_from_db()
    reviewer = Membership.objects.get(project=world.cast.project, user=world.cast.reviewer)
    people.set_abilities(reviewer, skills=["Law"], actor=world.cast.owner)
    return world


def with_arms(world: World, humans: int = 40, *arms: dict[str, Any], **params: Any) -> Any:
    return planned(world, "adv_per_cost", humans, arms=list(arms or (LAW, THREE)), **params)


def test_each_instance_gets_one_arm_within_money_and_capacity(world: World) -> None:
    plan = with_arms(world, 200)
    assert (plan.state, plan.error) == ("ready", "")
    told = {one["name"]: one for one in plan.summary["arms"]}
    assert set(told) == {"judge", "people", "Lawyers", "Three"}
    assert 0 < told["Lawyers"]["count"] <= 6
    assert told["Three"]["count"] + told["people"]["count"] > 0
    assert told["Lawyers"]["accuracy"] > told["people"]["accuracy"]
    new = plan.decisions.filter(arm="human", propensity=1.0).exclude(instance__annotations__source="human")
    assert new.filter(arm_name="Lawyers").count() == told["Lawyers"]["count"]
    assert set(new.filter(arm_name="Three").values_list("n_labels", flat=True)) <= {3}
    cost = sum(told[name]["count"] * told[name]["price_micros"] * told[name]["labels"] for name in told)
    assert plan.summary["costs"]["human_micros"] == cost <= 200 * PRICE
    assert any("Nobody's labels tell yet how often Lawyers" in note for note in plan.summary["notes"])


def test_only_people_with_the_skill_are_lent_what_experts_get(world: World) -> None:
    plan = with_arms(world, 200, LAW)
    applying.apply_plan(plan, actor=world.cast.owner)
    lawyers = set(plan.decisions.filter(arm_name="Lawyers").values_list("instance_id", flat=True))
    asked = AnnotationRequest.objects.filter(skill="law")
    assert set(asked.values_list("instance_id", "price_micros")) == {(pk, 3 * PRICE) for pk in lawyers}
    assert set(Instance.objects.filter(skill="law").values_list("pk", flat=True)) == lawyers
    others = plan_money(plan).reserved - len(lawyers) * 3 * PRICE
    assert label_open(world) == others // PRICE
    assert not Annotation.objects.filter(instance__in=lawyers, source="human").exists()
    assert label_open(world, person=world.cast.reviewer) == len(lawyers) > 0
    assert set(asked.values_list("state", flat=True)) == {"done"}
    assert not Instance.objects.filter(skill="law").exists()
    assert plan_money(plan).spent == others + len(lawyers) * 3 * PRICE
    assert assert_money_adds_up(world.cast.task).reserved_micros == 0
    assert plan.decisions.filter(arm_name="Lawyers", request__state="done").count() == len(lawyers)


def test_a_label_of_somebody_without_the_skill_answers_no_expert_request(world: World) -> None:
    tasks.open_task(world.cast.task, actor=world.cast.owner)
    Instance.objects.filter(pk=world.instances[-1].pk).update(open_slots=1)
    lent = queue.next_assignment(world.cast.task, world.cast.annotator)
    law = requests.Terms.of(world.cast.task, "law", 3 * PRICE)
    made, reserved = requests.ask_people(world.cast.task, {lent.instance_id: 1}, origin="plan:x", terms=law)
    assert reserved == 3 * PRICE
    answers = {"overall": {"value": "tie"}}
    annotation, _ = queue.submit(lent, submission_id=uuid.uuid4(), answers=answers, active_ms=1)
    request = made[lent.instance_id]
    request.refresh_from_db()
    assert (annotation.price_micros, request.state, request.received) == (0, "open", 0)
    with pytest.raises(NothingToLabel):
        queue.next_assignment(world.cast.task, world.cast.manager)
    expert = queue.next_assignment(world.cast.task, world.cast.reviewer)
    paid, _ = queue.submit(expert, submission_id=uuid.uuid4(), answers=answers, active_ms=1)
    request.refresh_from_db()
    assert (paid.price_micros, request.state) == (3 * PRICE, "done")
    queue.undo(paid, world.cast.reviewer)
    request.refresh_from_db()
    assert request.state == "open"
    assert Instance.objects.get(pk=lent.instance_id).skill == "law"
    assert_money_adds_up(world.cast.task)


def test_undoing_a_label_that_answered_no_expert_request_leaves_that_alone(world: World) -> None:
    tasks.open_task(world.cast.task, actor=world.cast.owner)
    Instance.objects.filter(pk=world.instances[-1].pk).update(open_slots=1)
    lent = queue.next_assignment(world.cast.task, world.cast.annotator)
    law = requests.Terms.of(world.cast.task, "law", 0)
    made, _ = requests.ask_people(world.cast.task, {lent.instance_id: 1}, origin="plan:x", terms=law)
    expert = queue.next_assignment(world.cast.task, world.cast.reviewer)
    answers = {"overall": {"value": "tie"}}
    queue.submit(expert, submission_id=uuid.uuid4(), answers=answers, active_ms=1)
    annotation, _ = queue.submit(lent, submission_id=uuid.uuid4(), answers=answers, active_ms=1)
    queue.undo(annotation, world.cast.annotator)
    request = made[lent.instance_id]
    request.refresh_from_db()
    assert (request.state, request.received) == ("done", 1)
    assert Instance.objects.get(pk=lent.instance_id).skill == ""


def test_a_plan_that_wants_anybody_withdraws_what_experts_are_asked(world: World) -> None:
    applying.apply_plan(with_arms(world, 60, LAW), actor=world.cast.owner)
    applying.apply_plan(planned(world, "all_human", 80), actor=world.cast.owner)
    assert not Instance.objects.filter(skill="law").exists()
    assert AnnotationRequest.objects.filter(skill="law").exclude(state="withdrawn").count() == 0
    assert label_open(world) == 80
    assert assert_money_adds_up(world.cast.task).reserved_micros == 0


def test_the_same_experts_stay_asked_under_the_next_plan(world: World) -> None:
    first = with_arms(world, 60, LAW)
    applying.apply_plan(first, actor=world.cast.owner)
    before = set(AnnotationRequest.objects.filter(skill="law").values_list("pk", flat=True))
    applying.apply_plan(with_arms(world, 60, LAW), actor=world.cast.owner)
    assert set(AnnotationRequest.objects.filter(skill="law", state="open").values_list("pk", flat=True)) == before
    assert_money_adds_up(world.cast.task)


def test_what_asks_for_another_skill_by_itself_is_nothing_for_an_arm(world: World) -> None:
    Instance.objects.filter(task=world.cast.task).update(skill="medicine")
    plan = with_arms(world, 60, LAW)
    assert plan.summary["arms"][2]["count"] == 0
    law = requests.Terms.of(world.cast.task, "law", 1)
    with pytest.raises(WrongState, match="asks for medicine"):
        requests.ask_people(world.cast.task, {world.instances[-1].pk: 1}, origin="plan:x", terms=law)


def test_a_skill_that_a_plan_asks_for_is_nothing_that_the_next_plan_knows_of_an_instance(world: World) -> None:
    task = world.cast.task
    Instance.objects.filter(pk=world.instances[0].pk).update(skill="medicine")
    law = requests.Terms.of(task, "law", PRICE)
    requests.ask_people(task, {one.pk: 1 for one in world.instances[100:120]}, origin="plan:x", terms=law)
    known = load_evidence(task, world.judge)
    assert set(arms._skills(task, known)) == {"", "medicine"}
    assert not [name for name in known.pool.own.names if "skill" in name]


def test_a_large_pool_takes_no_more_variables_than_a_query_may_have(world: World) -> None:
    task = world.cast.task
    known = load_evidence(task, world.judge)
    with CaptureQueriesContext(connection) as asked:
        arms._skills(task, known)
        arms._annotators(task, known)
    assert all(query["sql"].count(",") < 10 for query in asked)


def test_what_experts_said_so_far_tells_how_often_they_are_right(world: World) -> None:
    evidence = load_evidence(world.cast.task, world.judge)
    learner = learning.learner_of(learning.known_of(world.cast.task, world.judge, evidence))
    slices = np.zeros(len(evidence.ids), dtype=np.int64)
    side = np.array([1.0 if world.truth[evidence.ids[row]] else 0.0 for row in learner.labelled])
    good = side == learner.said_a
    better = group_accuracy(learner, 0.8, good, slices)
    worse = group_accuracy(learner, 0.8, ~good, slices)
    everybody = group_accuracy(learner, 0.8, np.ones(80, dtype=bool), slices)
    nobody = group_accuracy(learner, 0.8, np.zeros(80, dtype=bool), slices, expected=0.95)
    assert better.mean[0] > 0.81 > 0.79 > worse.mean[0]
    assert everybody.mean[0] == pytest.approx(0.8)
    assert (nobody.mean[0], nobody.labels) == (pytest.approx(0.95), 0)
    assert nobody.sd[0] > better.sd[0]


@pytest.mark.parametrize(
    ("arms", "words"),
    [
        ([LAW | {"skill": "magic"}], "nobody who labels here has the skill 'magic'. There are: law."),
        ([LAW | {"skill": ""}], "experts are people with a skill"),
        ([LAW, LAW | {"name": "lawyers"}], "a name of its own"),
        ([LAW | {"name": "People"}], "a name of its own"),
        ([LAW | {"kind": "judge"}], "choose crowd or expert"),
        ([LAW | {"price_micros": -1}], "price_micros must be a whole number"),
        ([LAW | {"capacity": True}], "capacity must be a whole number"),
        ([LAW | {"more": 1}], "Arm 1 needs a name, a kind and a price_micros"),
        ([LAW] * 5, "at most 4 arms"),
        ("x", "at most 4 arms"),
    ],
)
def test_arms_that_make_no_sense_are_refused_in_words(world: World, arms: Any, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        planning.make_plan(world.cast.task, "adv_per_cost", PRICE, judge=world.judge, actor=None, params={"arms": arms})
    assert words in refused.value.errors["arms"]


def test_only_a_strategy_that_chooses_among_arms_takes_them(world: World) -> None:
    for strategy in ("random", rounds.ROUNDS):
        with pytest.raises(InvalidInput) as refused:
            planning.make_plan(world.cast.task, strategy, PRICE, judge=world.judge, actor=None, params={"arms": [LAW]})
        assert "adv_per_cost" in refused.value.errors["arms"]


def test_arms_need_a_pilot_and_say_so() -> None:
    world = make_world(votes=0)
    plan = planned(world, "adv_per_cost", 10, arms=[THREE])
    assert plan.state == "failed"
    assert "label a pilot" in plan.error
    assert not Annotator.objects.filter(name="Lawyers").exists()
