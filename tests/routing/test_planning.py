"""Plans: computed within the budget, applied once, money and slots right, work in progress never taken away."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from feedback.exceptions import BudgetExhausted, InvalidInput, WrongState
from feedback.models import (
    Annotation,
    AnnotationRequest,
    Annotator,
    Assignment,
    AuditEvent,
    Fidelity,
    Instance,
    Job,
    MixScore,
    PreferenceMix,
)
from feedback.questions import parse_questions
from feedback.services import jobs, queue, tasks
from feedback.services.people import create_project
from routing.models import Arm, JudgeCall, RoutingDecision, RoutingPlan
from routing.services import applying, evidence, pilots, planning, progress, requests
from routing.services.money import PlanMoney, plan_money
from tests.conftest import Cast, make_cast
from tests.routing.judging_cast import assert_money_adds_up, set_cap, simulated_judge
from tests.routing.planning_cast import PRICE, World, label_open, make_world, planned

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@pytest.mark.parametrize("strategy", [s.name for s in planning.offered()])
def test_every_strategy_makes_a_plan_within_the_budget(world: World, strategy: str) -> None:
    plan = planned(world, strategy, 30)
    assert (plan.state, plan.error) == ("ready", "")
    assert plan.decisions.count() == 160
    assert plan.summary["costs"]["human_micros"] <= 30 * PRICE
    assert sum(plan.summary["counts"].values()) == 160
    assert 0 < plan.predicted_mean < 1
    assert len(plan.curve["points"]) == 21
    assert set(plan.curve["references"]) == {"random", "all_judge", "all_human"}
    assert not plan.decisions.filter(reason="").exists()


def test_the_same_seed_makes_the_same_plan(world: World) -> None:
    first, second = (planned(world, "random", 20) for _ in range(2))
    pairs = [sorted(plan.decisions.values_list("instance_id", "arm", "propensity")) for plan in (first, second)]
    assert pairs[0] == pairs[1]


def test_disagreement_sends_the_judges_flips_to_people_first(world: World) -> None:
    plan = planned(world, "disagreement", 10)
    bought = plan.decisions.filter(arm="human", instance__in=[i.pk for i in world.instances[80:]])
    assert bought.count() == 10
    said = Annotation.objects.filter(instance__in=bought.values("instance"), source="judge")
    assert {row.details["order_consistent"] for row in said} == {False}


def test_labels_outside_the_pilot_are_not_looked_at(world: World) -> None:
    pilot = [str(i.public_id) for i in world.instances[:50]]
    known = evidence.load_evidence(world.cast.task, world.judge, pilot)
    assert sorted(known.evidence.votes.instance) == list(range(50))
    plan = planned(world, "random", 10, pilot=pilot)
    assert plan.summary["labelled"] == 50


def test_a_strategy_without_its_pilot_fails_in_words() -> None:
    plan = planned(make_world(votes=0), "adv_topk", 10)
    assert plan.state == "failed"
    assert "label a pilot first" in plan.error
    assert Job.objects.get(pk=plan.job_id).error == plan.error


def test_strategies_that_need_nothing_plan_without_a_pilot() -> None:
    plan = planned(make_world(size=40, votes=0), "disagreement", 10)
    assert (plan.state, plan.predicted_mean, plan.curve) == ("ready", None, {})
    assert plan.summary["counts"]["human"] == 10


def test_enough_reward_model_runs_replace_the_proxy(world: World) -> None:
    names = [str(i.public_id) for i in world.instances]
    for n in range(8):
        sources = {name: "human" if k < n * 20 else "judge" for k, name in enumerate(names)}
        mix = PreferenceMix.objects.create(task=world.cast.task, name=f"m{n}", sources=sources)
        MixScore.objects.create(mix=mix, metric="accuracy", fidelity=Fidelity.SMALL, value=0.5 + 0.02 * n, stderr=0.01)
    plan = planned(world, "adv_topk", 30)
    assert any("8 reward-model runs" in note for note in plan.summary["notes"])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"strategy": "oracle"}, "strategy"),
        ({"strategy": "nope"}, "strategy"),
        ({"budget_micros": -1}, "budget"),
        ({"params": {"labels": 0}}, "labels"),
        ({"params": {"labels": True}}, "labels"),
        ({"params": {"kind": "oracle"}}, "kind"),
        ({"params": {"surprise": 1}}, "surprise"),
        ({"params": {"pilot": "x"}}, "pilot"),
        ({"params": {"escalate": 1}}, "escalate"),
        ({"strategy": "adaptive_advantage", "params": {"escalate": True}}, "escalate"),
        ({"seed": 2**70}, "seed"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(world: World, changes: dict[str, Any], field: str) -> None:
    wish = {"strategy": "random", "budget_micros": 0, "judge": world.judge, "actor": world.cast.owner, **changes}
    with pytest.raises(InvalidInput) as refused:
        planning.make_plan(world.cast.task, wish.pop("strategy"), wish.pop("budget_micros"), **wish)
    assert field in refused.value.errors
    assert not RoutingPlan.objects.exists()


def test_a_judge_of_another_project_is_refused(world: World) -> None:
    other = create_project("Other", owner=world.cast.outsider)
    foreign = Annotator.objects.create(project=other, kind="judge", name="Foreign")
    with pytest.raises(InvalidInput):
        planning.make_plan(world.cast.task, "random", 0, judge=foreign, actor=world.cast.owner)


def test_an_idempotency_key_makes_one_plan(world: World) -> None:
    first, second = (
        planning.make_plan(
            world.cast.task, "random", 0, judge=world.judge, actor=world.cast.owner, idempotency_key="once"
        )
        for _ in range(2)
    )
    assert first == second


def test_applying_asks_people_reserves_their_price_and_keeps_the_mix(world: World) -> None:
    plan = planned(world, "disagreement", 12)
    done = applying.apply_plan(plan, actor=world.cast.owner)
    plan.refresh_from_db()
    assert (plan.state, done.reserved, done.unspent, done.judge_job) == ("applied", 12 * PRICE, 0, None)
    opened = AnnotationRequest.objects.filter(origin=plan.origin, source="human", state="open")
    assert opened.count() == 12
    assert Instance.objects.filter(open_slots=1).count() == 12
    # what people and the judge had already said is done at once, for nothing
    assert AnnotationRequest.objects.filter(origin=plan.origin, state="done", price_micros=0).count() == 148
    assert not plan.decisions.filter(request=None).exists()
    assert set(plan.mix.sources.values()) == {"human", "judge"}
    assert len(plan.mix.sources) == 160
    assert plan.mix.origin == plan.origin
    assert assert_money_adds_up(world.cast.task).reserved_micros == 12 * PRICE
    assert AuditEvent.objects.filter(action="plan.apply").count() == 1
    money = plan_money(plan)
    assert (money.spent, money.reserved) == (0, 12 * PRICE)


def test_applying_twice_is_refused(world: World) -> None:
    plan = planned(world, "random", 5)
    applying.apply_plan(plan, actor=world.cast.owner)
    with pytest.raises(WrongState) as refused:
        applying.apply_plan(plan, actor=world.cast.owner)
    assert refused.value.status == 409
    assert PreferenceMix.objects.count() == 1


def test_a_plan_the_budget_does_not_cover_changes_nothing(world: World) -> None:
    plan = planned(world, "disagreement", 12)
    set_cap(world.cast.task, 11 * PRICE)
    with pytest.raises(BudgetExhausted):
        applying.apply_plan(plan, actor=world.cast.owner)
    plan.refresh_from_db()
    assert plan.state == "ready"
    assert not AnnotationRequest.objects.exists()
    assert not Instance.objects.filter(open_slots__gt=0).exists()


def test_a_label_on_a_plans_request_is_paid_from_its_reservation(world: World) -> None:
    applying.apply_plan(planned(world, "disagreement", 3), actor=world.cast.owner)
    label_one(world.cast)
    budget = assert_money_adds_up(world.cast.task)
    assert (budget.spent_micros, budget.reserved_micros) == (PRICE, 2 * PRICE)


def label_one(cast: Cast) -> None:
    if cast.task.state != "open":
        tasks.open_task(cast.task, actor=cast.owner)
    assignment = queue.next_assignment(cast.task, cast.annotator)
    answers = {"overall": {"value": "tie"}}
    queue.submit(assignment, submission_id=uuid.uuid4(), answers=answers, active_ms=1)


def test_a_new_plan_withdraws_what_it_does_not_want_but_not_what_is_lent(world: World) -> None:
    cast = world.cast
    applying.apply_plan(planned(world, "disagreement", 12), actor=cast.owner)
    tasks.open_task(cast.task, actor=cast.owner)
    lent = queue.next_assignment(cast.task, cast.annotator)
    plan = planned(world, "all_judge", 0)
    done = applying.apply_plan(plan, actor=cast.owner)
    assert done.released == 11 * PRICE
    assert AnnotationRequest.objects.filter(state="withdrawn").count() == 11
    assert Assignment.objects.get(pk=lent.pk).state == "lent"
    assert not Instance.objects.filter(open_slots__gt=0).exists()
    assert assert_money_adds_up(cast.task).reserved_micros == PRICE


def test_the_diff_counts_what_moves(world: World) -> None:
    first = planned(world, "all_judge", 0)
    applying.apply_plan(first, actor=world.cast.owner)
    second = planned(world, "disagreement", 7)
    assert applying.previous_plan(second) == first
    moves = applying.plan_diff(second, first)
    assert moves[("judge", "human")] == 80 + 7
    assert sum(moves.values()) == 160


def test_slots_that_are_open_or_lent_already_are_not_opened_twice() -> None:
    cast = make_cast(instances=3)
    judge = simulated_judge(cast)
    set_cap(cast.task, 10**9)
    plan = planning.make_plan(cast.task, "all_human", 10**8, judge=judge.annotator, actor=cast.owner)
    jobs.run(plan.job.pk)  # type: ignore[union-attr]
    plan.refresh_from_db()
    queue.next_assignment(cast.task, cast.annotator)
    applying.apply_plan(plan, actor=cast.owner)
    assert sorted(cast.task.instances.values_list("open_slots", flat=True)) == [0, 1, 1]
    assert assert_money_adds_up(cast.task).reserved_micros == 3 * PRICE


def test_applying_starts_the_judge_for_what_it_has_not_said(cast: Cast) -> None:
    judge = simulated_judge(cast)
    set_cap(cast.task, 10**9)
    plan = planning.make_plan(cast.task, "all_judge", 10**8, judge=judge.annotator, actor=cast.owner)
    jobs.run(plan.job.pk)  # type: ignore[union-attr]
    plan.refresh_from_db()
    done = applying.apply_plan(plan, actor=cast.owner)
    assert done.judge_job is not None
    jobs.run(done.judge_job.pk)
    assert AnnotationRequest.objects.filter(origin=plan.origin, state="done").count() == 5
    assert JudgeCall.objects.count() == 10
    budget = assert_money_adds_up(cast.task)
    assert (budget.reserved_micros, budget.spent_micros) == (0, plan_money(plan).spent)


def test_the_pilot_is_drawn_at_random_with_its_propensity_and_judged(cast: Cast) -> None:
    add_instances(cast, 20)
    judge = simulated_judge(cast)
    set_cap(cast.task, 10**9)
    plan, job = pilots.start_pilot(cast.task, 5, actor=cast.owner, judge=judge, seed=3)
    assert job is not None
    jobs.run(job.pk)
    assert set(plan.decisions.values_list("propensity", "n_labels", "arm")) == {(5 / 25, 1, "human")}
    assert Annotation.objects.filter(source="judge").count() == 5
    assert AnnotationRequest.objects.filter(origin=plan.origin, source="human", state="open").count() == 5
    assert_money_adds_up(cast.task)
    state = pilots.pilot_state(cast.task)
    assert (state.drawn, state.labelled, state.advised) == (5, 0, 13)


def add_instances(cast: Cast, count: int) -> None:
    Instance.objects.bulk_create(
        Instance(
            task=cast.task,
            external_id=f"more{n}",
            prompt=[{"role": "user", "content": f"More {n}?"}],
            completions=[{"content": f"Yes {n}", "model": "m"}, {"content": f"No {n}", "model": "m"}],
            prompt_hash=f"{n:064x}",
        )
        for n in range(count)
    )


def test_a_pilot_draws_no_instance_twice(cast: Cast) -> None:
    set_cap(cast.task, 10**9)
    pilots.start_pilot(cast.task, 3, actor=cast.owner)
    pilots.start_pilot(cast.task, 3, actor=cast.owner)
    assert RoutingDecision.objects.values("instance").distinct().count() == 5
    with pytest.raises(WrongState):
        pilots.start_pilot(cast.task, 1, actor=cast.owner)


@pytest.mark.parametrize(
    ("details", "value", "p_a", "consistent"),
    [
        ({"p_a": 0.8, "order_consistent": False}, "tie", 0.8, False),
        ({"orders": {"ab": "a-is-clearly-better", "ba": "b-is-clearly-better"}}, "tie", 0.5, False),
        ({"orders": {"ab": "a-is-clearly-better", "ba": "a-is-clearly-better"}}, "tie", 0.95, True),
        ({}, "b-is-slightly-better", 0.3, True),
        ({}, "tie", 0.5, True),
    ],
)
def test_a_recorded_judge_is_read_whatever_it_recorded(
    details: dict[str, Any], value: str, p_a: float, consistent: bool
) -> None:
    asked: Any = parse_questions([{"kind": "preference", "name": "q", "title": "T", "steps": 5}])[0]
    said = evidence.said_of({"q": {"value": value}}, details, asked)
    assert said is not None
    assert (round(said.p_a, 6), said.consistent) == (p_a, consistent)


def test_both_bad_says_nothing_of_the_order() -> None:
    asked: Any = parse_questions([{"kind": "preference", "name": "q", "title": "T", "steps": 5}])[0]
    assert evidence.said_of({"q": {"value": "both-bad"}}, {}, asked) is None


def test_a_plan_cancelled_before_it_begins_has_failed() -> None:
    cast = make_world().cast
    plan = planning.make_plan(cast.task, "random", 10**7, judge=None, actor=cast.manager)
    jobs.cancel(Job.objects.get(pk=plan.job_id), actor=cast.manager)
    plan.refresh_from_db()
    assert (plan.state, plan.error) == ("failed", "The job was cancelled.")


def ready_plan(world: World, labels: int, rows: slice) -> RoutingPlan:
    """A plan, computed, that asks `labels` people for the instances of these rows."""
    plan = RoutingPlan.objects.create(
        task=world.cast.task,
        strategy="random",
        judge=world.judge,
        budget_micros=100 * PRICE,
        created_by=world.cast.owner,
        state="ready",
    )
    RoutingDecision.objects.bulk_create(
        RoutingDecision(plan=plan, instance=one, arm="human", n_labels=labels) for one in world.instances[rows]
    )
    return plan


def test_a_plan_that_keeps_an_earlier_plans_requests_counts_what_they_cost_from_then_on(world: World) -> None:
    fresh = slice(100, 104)
    first = ready_plan(world, 2, fresh)
    applying.apply_plan(first, actor=world.cast.owner)
    assert label_open(world, 1) == 1
    second = ready_plan(world, 2, fresh)
    applying.apply_plan(second, actor=world.cast.owner)
    for plan in (first, second):
        plan.refresh_from_db()
    assert plan_money(first) == PlanMoney(PRICE, 0, 99 * PRICE)
    assert plan_money(second) == PlanMoney(0, 7 * PRICE, 93 * PRICE)
    label_open(world, person=world.cast.manager)
    assert plan_money(first).spent == PRICE
    assert plan_money(second) == PlanMoney(4 * PRICE, 3 * PRICE, 93 * PRICE)
    assert assert_money_adds_up(world.cast.task).spent_micros == 5 * PRICE


def test_a_label_is_counted_once_where_a_plan_asks_again_after_a_request_that_it_kept(world: World) -> None:
    fresh = slice(100, 101)
    applying.apply_plan(ready_plan(world, 1, fresh), actor=world.cast.owner)
    second = ready_plan(world, 1, fresh)
    applying.apply_plan(second, actor=world.cast.owner)
    second.refresh_from_db()
    assert label_open(world, 1) == 1
    one = {world.instances[100].pk: 2}
    requests.ask_people(world.cast.task, one, origin=second.origin)  # as a later round does where a label is in doubt
    assert plan_money(second) == PlanMoney(PRICE, PRICE, 98 * PRICE)
    assert label_open(world, person=world.cast.manager) == 1
    assert plan_money(second) == PlanMoney(2 * PRICE, 0, 98 * PRICE)
    assert assert_money_adds_up(world.cast.task).spent_micros == 2 * PRICE


def test_a_request_without_a_slot_gets_one_again_once(world: World) -> None:
    applying.apply_plan(planned(world, "disagreement", 3), actor=world.cast.owner)
    tasks.open_task(world.cast.task, actor=world.cast.owner)
    lent = queue.next_assignment(world.cast.task, world.cast.annotator)
    assert requests.reopen() == 0
    lost = Instance.objects.filter(open_slots=1).first()
    assert lost is not None
    Instance.objects.filter(pk=lost.pk).update(open_slots=0)  # as when a submit and a plan do not see each other
    assert requests.reopen() == 1
    assert requests.reopen() == 0
    lost.refresh_from_db()
    assert lost.open_slots == 1
    assert Instance.objects.get(pk=lent.instance_id).open_slots == 0
    assert label_open(world) == 3
    assert assert_money_adds_up(world.cast.task).reserved_micros == 0


def test_a_plan_at_once_keeps_what_is_believed_of_each_instance(world: World) -> None:
    plan = planned(world, "disagreement", 12)
    judged = plan.decisions.filter(arm="judge").select_related("instance")
    sure = {True: [], False: []}  # type: dict[bool, list[float]]
    for one in judged:
        p_a = one.details["p_a"]
        sure[len(one.instance.prompt[0]["content"]) > 200].append(max(p_a, 1 - p_a))
    # the judge says .9 everywhere, and errs on long prompts
    assert sum(sure[True]) / len(sure[True]) < 0.75 < sum(sure[False]) / len(sure[False])


def test_how_far_a_plan_is(world: World) -> None:
    plan = planned(world, "disagreement", 3)
    assert progress.progress_of(plan) == {}
    applying.apply_plan(plan, actor=world.cast.owner)
    assert progress.progress_of(plan)[Arm.HUMAN] == progress.Progress(83, 80)
    label_open(world, 2)
    assert progress.progress_of(plan) == {Arm.HUMAN: progress.Progress(83, 82), Arm.JUDGE: progress.Progress(77, 77)}
