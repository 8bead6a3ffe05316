"""Plans in rounds: each learns from the labels before, within the money; stopped, resumed, and safe to crash."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from feedback.exceptions import WrongState
from feedback.models import (
    Annotation,
    AnnotationRequest,
    Annotator,
    Assignment,
    AuditEvent,
    DatasetVersion,
    Instance,
    Job,
)
from feedback.services import jobs, queue, tasks
from routing.models import Course, PerformancePredictionModel, RoutingDecision, RoutingPlan, RoutingRound
from routing.services import applying, evidence, learning, planning, rounds
from routing.services.money import plan_money
from tests.routing.judging_cast import assert_money_adds_up, set_cap
from tests.routing.planning_cast import PRICE, World, go_on, in_rounds, label_open, make_world, open_for_labels, planned

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(db: None) -> World:
    return make_world(votes=0)


def test_the_first_round_asks_where_the_judge_doubts_and_keeps_the_rest_of_the_money(world: World) -> None:
    plan = in_rounds(world, 100)
    first = plan.rounds.get()
    assert (plan.course, first.number, first.asked, first.drawn) == ("running", 1, 25, 0)
    assert first.reserved_micros == 25 * PRICE
    said = [evidence_of(world, pk) for pk in plan.decisions.filter(arm="human").values_list("instance_id", flat=True)]
    assert not any(said)  # all of them change with the order
    assert plan_money(plan).reserved == 25 * PRICE
    assert plan.summary["costs"]["unspent_micros"] == 75 * PRICE


def evidence_of(world: World, pk: int) -> bool:
    known = evidence.load_evidence(world.cast.task, world.judge)
    return bool(known.evidence.order_consistent[known.ids.index(pk)])


def test_the_next_round_begins_by_itself_when_all_labels_are_in(world: World) -> None:
    plan = in_rounds(world, 100)
    assert label_open(world, 24) == 24
    assert not go_on(plan)
    label_open(world)
    assert go_on(plan)
    second = plan.rounds.get(number=2)
    assert plan.rounds.get(number=1).ended_at
    assert 1 <= second.asked <= round(0.03 * 160) + 1
    asked = plan.decisions.current().filter(round=2)
    assert asked.count() == second.asked
    assert set(asked.values_list("arm", flat=True)) == {"human"}
    assert not asked.filter(instance__annotations__source="human").exists()
    assert not asked.filter(request=None).exists()
    assert_money_adds_up(world.cast.task)


def test_an_instance_that_is_held_for_a_reviewer_holds_up_no_round(world: World) -> None:
    plan = in_rounds(world, 100)
    label_open(world, 24)
    assert not go_on(plan)
    (last,) = AnnotationRequest.objects.filter(state="open").values_list("instance_id", flat=True)
    Instance.objects.filter(pk=last).update(held_at=timezone.now())
    assert go_on(plan)
    assert not plan.decisions.filter(round=2, instance=last).exists()
    assert_money_adds_up(world.cast.task)


def test_what_a_round_decides_anew_keeps_the_decision_before(world: World) -> None:
    plan = in_rounds(world, 100)
    label_open(world)
    go_on(plan)
    before = plan.decisions.exclude(superseded_at=None)
    assert before.count() == plan.rounds.get(number=2).asked
    for one in before.select_related("superseded_by"):
        assert (one.arm, one.round, one.superseded_by.round, one.superseded_by.instance_id) == (
            "judge", 1, 2, one.instance_id,
        )  # fmt: skip
    assert plan.decisions.current().count() == 160
    assert plan.mix.sources == {
        str(one.instance.public_id): one.arm for one in plan.decisions.current().select_related("instance")
    }


def test_rounds_go_on_until_no_label_pays_and_less_than_the_budget_is_spent(world: World) -> None:
    plan = in_rounds(world, 160)
    for _ in range(40):
        label_open(world)
        label_open(world, person=world.cast.manager)  # where a second one is wanted
        if not go_on(plan):
            break
    assert plan.course == Course.FINISHED
    assert "pays" in plan.course_reason or "changed no side" in plan.course_reason
    money = plan_money(plan)
    assert money.reserved == 0
    assert 25 * PRICE <= money.spent < 160 * PRICE
    assert AuditEvent.objects.get(action="plan.finish").details["unspent_micros"] == 160 * PRICE - money.spent
    assert_money_adds_up(world.cast.task)
    assert rightness(world) > 0.85


def rightness(world: World) -> float:
    known = learning.load_known(world.cast.task, world.judge)
    p = learning.posterior(known, learning.learner_of(known))
    truth = np.array([world.truth[pk] for pk in known.evidence.ids])
    return float(((p > 0.5) == truth).mean())


def test_the_money_ends_the_rounds(world: World) -> None:
    plan = in_rounds(world, 27)
    for _ in range(4):
        label_open(world)
        go_on(plan)
    assert plan.course == Course.FINISHED
    assert plan.course_reason == rounds.SPENT
    assert plan_money(plan).spent == 27 * PRICE


def test_a_task_budget_that_is_empty_stops_the_plan_in_words(world: World) -> None:
    plan = in_rounds(world, 100)
    set_cap(world.cast.task, 25 * PRICE)
    label_open(world)
    go_on(plan)
    assert (plan.course, plan.course_reason) == ("stopped", rounds.EXHAUSTED)
    assert plan.rounds.count() == 1
    set_cap(world.cast.task, 10**9)
    rounds.resume(plan, actor=world.cast.owner)
    assert go_on(plan)
    assert plan.rounds.count() == 2


def test_the_next_round_can_be_had_early_and_asks_nobody_twice(world: World) -> None:
    plan = in_rounds(world, 100)
    label_open(world, 10)
    job = rounds.next_round(plan, actor=world.cast.owner)
    assert rounds.next_round(plan, actor=world.cast.owner) == job
    jobs.run(job.pk)
    waiting = AnnotationRequest.objects.filter(source="human", state="open")
    assert waiting.count() == 15 + plan.rounds.get(number=2).asked
    assert len(set(waiting.values_list("instance", flat=True))) == waiting.count()


def test_running_a_rounds_job_again_changes_nothing(world: World) -> None:
    plan = in_rounds(world, 100)
    label_open(world)
    go_on(plan)
    before = list(RoutingDecision.objects.order_by("pk").values_list("pk", "superseded_at"))
    job = Job.objects.filter(kind="plan").latest("pk")
    Job.objects.filter(pk=job.pk).update(state="queued", ended_at=None)
    jobs.run(job.pk)
    assert list(RoutingDecision.objects.order_by("pk").values_list("pk", "superseded_at")) == before
    assert plan.rounds.count() == 2


def test_a_worker_that_lost_its_job_leaves_no_trace_of_a_round(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = in_rounds(world, 100)
    label_open(world)
    job = rounds.next_round(plan, actor=None)

    chosen = rounds.choosing.choose

    def while_it_chooses(*args: Any) -> Any:
        Job.objects.filter(pk=job.pk).update(fence=99)  # what a reaper does to a worker that it takes for dead
        return chosen(*args)

    monkeypatch.setattr(rounds.choosing, "choose", while_it_chooses)
    jobs.run(job.pk)
    assert RoutingRound.objects.count() == 1
    assert not RoutingDecision.objects.exclude(superseded_at=None).exists()
    assert not AnnotationRequest.objects.filter(state="open").exists()


def test_stopping_keeps_what_was_asked_and_resuming_goes_on(world: World) -> None:
    plan = in_rounds(world, 100)
    rounds.stop(plan, actor=world.cast.owner)
    with pytest.raises(WrongState):
        rounds.stop(plan, actor=world.cast.owner)
    assert AnnotationRequest.objects.filter(state="open", source="human").count() == 25
    label_open(world)
    assert not go_on(plan)
    with pytest.raises(WrongState):
        rounds.next_round(plan, actor=world.cast.owner)
    rounds.resume(plan, actor=world.cast.owner)
    assert go_on(plan)
    with pytest.raises(WrongState):
        rounds.resume(plan, actor=world.cast.owner)
    assert AuditEvent.objects.filter(action__in=["plan.stop", "plan.resume"]).count() == 2


def test_stopping_can_take_back_what_nobody_began(world: World) -> None:
    plan = in_rounds(world, 100)
    open_for_labels(world)
    lent = queue.next_assignment(world.cast.task, world.cast.annotator)
    released = rounds.stop(plan, actor=world.cast.owner, take_back=True)
    assert released == 24 * PRICE
    assert Assignment.objects.get(pk=lent.pk).state == "lent"
    back = plan.decisions.current().filter(reason=rounds.TAKEN_BACK)
    assert (back.count(), set(back.values_list("arm", flat=True))) == (24, {"judge"})
    assert plan.decisions.current().filter(arm="human").get().instance_id == lent.instance_id
    assert_money_adds_up(world.cast.task)
    rounds.resume(plan, actor=world.cast.owner)
    label_open(world)
    assert go_on(plan)


def test_a_new_plan_in_rounds_keeps_what_the_one_before_asks(world: World) -> None:
    before = in_rounds(world, 100)
    asked = set(before.decisions.filter(arm="human").values_list("instance_id", flat=True))
    plan = in_rounds(world, 120)
    assert set(plan.decisions.filter(arm="human").values_list("instance_id", flat=True)) == asked
    assert set(AnnotationRequest.objects.filter(source="human").values_list("state", flat=True)) == {"open"}
    assert_money_adds_up(world.cast.task)
    label_open(world)
    assert go_on(plan)
    assert plan.rounds.count() == 2


def test_what_is_taken_back_goes_to_no_judge_that_said_nothing(world: World) -> None:
    plan = in_rounds(world, 100)
    silent = list(plan.decisions.filter(arm="human").values_list("instance_id", flat=True)[:5])
    Annotation.objects.filter(annotator=world.judge, instance__in=silent).delete()
    rounds.stop(plan, actor=world.cast.owner, take_back=True)
    back = plan.decisions.current().filter(reason=rounds.TAKEN_BACK)
    assert set(back.filter(arm="none").values_list("instance_id", flat=True)) == set(silent)
    assert back.filter(arm="judge").count() == 20
    plan.refresh_from_db()
    assert len(plan.mix.sources) == 155


def test_what_was_taken_back_is_not_counted_as_labelled(world: World) -> None:
    plan = in_rounds(world, 100)
    label_open(world, 10)
    rounds.stop(plan, actor=world.cast.owner, take_back=True)
    (first,) = rounds.progress_of(plan)
    assert (first.round.asked, first.received, first.waiting) == (25, 10, 0)


def test_a_cap_on_people_holds_where_they_work_for_nothing(world: World) -> None:
    world.cast.task.human_price_micros = 0
    world.cast.task.save(update_fields=["human_price_micros"])
    plan = in_rounds(world, 100, most_people=27)
    for _ in range(4):
        label_open(world)
        go_on(plan)
    assert (plan.course, plan.course_reason) == (Course.FINISHED, rounds.SPENT)
    assert plan.decisions.current().filter(arm="human").count() == 27


def test_a_budget_below_one_label_asks_nobody_and_says_so(world: World) -> None:
    plan = planned(world, "adaptive_advantage", 0)
    RoutingPlan.objects.filter(pk=plan.pk).update(budget_micros=PRICE - 1)
    plan.refresh_from_db()
    assert rounds.choosing.NO_MONEY in plan.summary["notes"]
    applying.apply_plan(plan, actor=world.cast.owner)
    plan.refresh_from_db()
    assert (plan.course, plan.course_reason) == (Course.FINISHED, rounds.SPENT)


def test_another_plan_stops_the_one_in_rounds_for_good(world: World) -> None:
    plan = in_rounds(world, 100)
    applying.apply_plan(planned(world, "disagreement", 5), actor=world.cast.owner)
    plan.refresh_from_db()
    assert (plan.course, plan.course_reason) == ("stopped", rounds.REPLACED)
    with pytest.raises(WrongState, match="later plan"):
        rounds.resume(plan, actor=world.cast.owner)


def test_a_rounds_job_that_is_cancelled_stops_the_plan_and_says_so(world: World) -> None:
    plan = in_rounds(world, 100)
    label_open(world)
    jobs.cancel(rounds.next_round(plan, actor=None), actor=world.cast.owner)
    plan.refresh_from_db()
    assert (plan.state, plan.course) == ("applied", "stopped")
    assert "cancelled" in plan.course_reason


def test_a_label_that_contradicts_all_else_brings_a_second_person(world: World) -> None:
    plan = in_rounds(world, 160)
    wrong = frozenset(instance.pk for instance in world.instances[::3])
    for _ in range(25):
        label_open(world, wrong=wrong)
        again = plan.decisions.current().filter(n_labels=2)
        if again.exists() or not go_on(plan):
            break
    assert again.exists()
    assert all("another person decides" in one.reason for one in again)
    doubted = set(again.values_list("instance_id", flat=True))
    assert label_open(world) == 0  # nobody labels an instance twice
    assert label_open(world, person=world.cast.manager) == len(doubted)
    votes = learning.load_known(world.cast.task, world.judge).evidence.evidence.votes
    assert np.bincount(votes.instance).max() == 2


def test_a_rule_of_one_label_asks_no_second_person(world: World) -> None:
    plan = in_rounds(world, 100, most_labels=1)
    for _ in range(8):
        label_open(world, wrong=frozenset(instance.pk for instance in world.instances[::3]))
        if not go_on(plan):
            break
    assert not plan.decisions.filter(n_labels__gt=1).exists()


def test_the_same_labels_and_seed_choose_the_same_round(world: World) -> None:
    plan = in_rounds(world, 100)
    label_open(world)
    known = learning.load_known(world.cast.task, world.judge)
    rows = np.arange(100, 160)
    chosen = [
        rounds.choosing.choose(plan, learning.learner_of(known), known, rows, 50, 2).instances.tolist()
        for _ in range(2)
    ]
    assert chosen[0] == chosen[1] != []
    other = rounds.choosing.choose(plan, learning.learner_of(known), known, rows, 50, 3).instances.tolist()
    assert len(other) == len(chosen[0])


def test_exploration_is_logged_with_its_chance(db: None) -> None:
    world = make_world(size=400, votes=0)
    plan = in_rounds(world, 200, explore=15)
    label_open(world)
    go_on(plan)
    second = plan.rounds.get(number=2)
    assert second.drawn in (1, 2)  # 15% of 12 is 1.8: two four times of five
    drawn = plan.decisions.filter(round=2, propensity__lt=1)
    assert drawn.count() == second.drawn
    assert all("at random" in one.reason for one in drawn)
    (chance,) = set(drawn.values_list("propensity", flat=True))
    fresh = 400 - 25 - (second.asked - second.drawn)
    # labelled instances that are still in doubt may be drawn, too
    assert 1.8 / (fresh + 26) <= chance <= 1.8 / fresh


def test_a_round_too_small_for_its_share_logs_how_often_it_draws_one() -> None:
    world = make_world(votes=80)
    plan = planned(world, "adaptive_advantage", 100, explore=5)  # 5% of 4 is one of five times
    rest = 160 - 80 - 3
    chances = plan.decisions.filter(arm="judge").values_list("propensity", flat=True)
    assert sorted(chances)[1:] == pytest.approx([1 - 0.2 / rest] * (len(chances) - 1))


def test_labels_that_come_after_their_round_are_learned_from(world: World) -> None:
    plan = in_rounds(world, 100)
    label_open(world, 5)
    late = list(plan.decisions.filter(arm="human", request__state="open").values_list("instance_id", flat=True))
    assert len(late) == 20
    jobs.run(rounds.next_round(plan, actor=world.cast.owner).pk)
    plan.refresh_from_db()
    assert len(plan.heard) == 5
    before = plan.rounds.get(number=2).progress
    person = Annotator.objects.create(project=world.cast.project, kind="human", name="Late")
    Annotation.objects.bulk_create(
        Annotation(
            task=world.cast.task,
            instance_id=pk,
            annotator=person,
            source="human",
            answers={"overall": {"value": "a-is-clearly-better" if world.truth[pk] else "b-is-clearly-better"}},
            recorded=True,
        )
        for pk in late
    )
    jobs.run(rounds.next_round(plan, actor=world.cast.owner).pk)
    plan.refresh_from_db()
    third = plan.rounds.get(number=3)
    assert third.progress["accuracy"] != before["accuracy"]
    assert third.progress["fitted_with"] == before["accuracy"]
    assert len(plan.heard) == 25
    assert third.stats["labels"] == 25


def test_taking_back_takes_back_what_was_kept_of_an_earlier_plan(world: World) -> None:
    in_rounds(world, 100)
    plan = in_rounds(world, 120)
    assert rounds.stop(plan, actor=world.cast.owner, take_back=True) == 25 * PRICE
    assert_money_adds_up(world.cast.task)


def test_a_mix_that_a_version_was_frozen_from_stays_as_it_was(world: World) -> None:
    plan = in_rounds(world, 100)
    first = plan.mix
    sources = dict(first.sources)
    DatasetVersion.objects.create(task=world.cast.task, number=1, spec={}, mix=first, created_by=world.cast.owner)
    label_open(world)
    go_on(plan)
    first.refresh_from_db()
    assert first.sources == sources
    assert RoutingPlan.objects.get(pk=plan.pk).mix_id != first.pk


def test_labels_that_exist_begin_the_first_round_by_worth() -> None:
    world = make_world(votes=80)
    plan = planned(world, "adaptive_advantage", 100)
    assert plan.summary["rounds"]["stats"]["labels"] == 80
    asked = plan.decisions.filter(arm="human", n_labels=1).exclude(instance__in=[i.pk for i in world.instances[:80]])
    assert asked.count() == plan.summary["rounds"]["asked"] == int(0.03 * 160)
    judged = plan.decisions.filter(arm="judge")
    assert judged.filter(reason__contains="A later round may send it").exists()
    assert judged.exclude(lower=None).exclude(upper=None).count() == judged.count()


def test_a_plan_of_another_task_begins_from_what_this_one_taught(db: None) -> None:
    world = make_world(votes=60)
    plan = in_rounds(world, 100)
    label_open(world)
    go_on(plan)
    lesson = PerformancePredictionModel.objects.get(kind=learning.PREFERENCE)
    assert (lesson.task, lesson.coefficients["labels"]) == (world.cast.task, 64)
    assert plan.lesson == lesson
    assert plan.prediction_model.kind == "gp"
    other = another_task(world)
    known = learning.load_known(other, world.judge)
    assert known.before == (world.cast.task.name,)
    verdict = known.signals.names.index("verdict")
    cold = learning.load_known(world.cast.task, world.judge).signals.prior
    assert known.signals.prior.sd[verdict] < cold.sd[verdict]
    assert known.first.accuracy == lesson.coefficients["accuracy"]
    made = planning.make_plan(other, "adaptive_advantage", 20 * PRICE, judge=world.judge, actor=world.cast.owner)
    assert made.job is not None
    jobs.run(made.job.pk)
    made.refresh_from_db()
    assert f"It begins from what people taught on {world.cast.task.name}." in made.summary["notes"]


def test_a_judge_that_compares_nothing_or_answered_older_questions_stops_no_plan(world: World) -> None:
    critic = Annotator.objects.create(project=world.cast.project, kind="judge", name="Critic")
    older = Annotator.objects.create(project=world.cast.project, kind="judge", name="Older")
    said = [
        (critic, {"why": {"critiques": ["Fine.", "Rude."]}}, {"order_consistent": None}),
        (older, {"overall": {"value": "a-is-better"}}, {"orders": {"ab": "a-is-better", "ba": "b-is-much-better"}}),
    ]
    Annotation.objects.bulk_create(
        Annotation(
            task=world.cast.task, instance=instance, annotator=who, source="judge", answers=answers, details=details
        )
        for instance in world.instances
        for who, answers, details in said
    )
    names = learning.load_known(world.cast.task, world.judge).signals.names
    assert not any(name.startswith("judge ") for name in names)
    assert planned(world, "adaptive_advantage", 100).state == "ready"


def another_task(world: World) -> Any:
    """A task of the same project with the same judge's verdicts on other instances."""
    old = world.cast.task
    task = tasks.create_task(world.cast.project, "Another", old.questions, actor=world.cast.owner)
    rows = [
        Instance(
            task=task, external_id=f"o{n}", prompt=one.prompt, completions=one.completions, prompt_hash=f"{n:064x}"
        )
        for n, one in enumerate(world.instances[:60])
    ]
    made = Instance.objects.bulk_create(rows)
    said = {a.instance_id: a for a in Annotation.objects.filter(task=old, annotator=world.judge)}
    Annotation.objects.bulk_create(
        Annotation(
            task=task, instance=new, annotator=world.judge, source="judge", recorded=True,
            answers=said[old_one.pk].answers, details=said[old_one.pk].details,
        )
        for new, old_one in zip(made, world.instances, strict=False)
    )  # fmt: skip
    return task
