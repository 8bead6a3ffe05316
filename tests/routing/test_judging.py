"""Judging as a job: verdicts become annotations, money adds up, and nothing is paid twice."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, transaction

from feedback.exceptions import Conflict, InvalidInput, WrongState
from feedback.models import Annotation, AnnotationRequest, AuditEvent, Instance, Job
from feedback.services import jobs
from routing.judge.answering import preference_value
from routing.models import Judge, JudgeCall, RoutingDecision, RoutingPlan, Verdict
from routing.services import judges, judging, requests
from routing.services.asking import worst_cases
from tests.conftest import Cast, make_cast
from tests.routing.judging_cast import (
    SIMULATED,
    assert_money_adds_up,
    judge_all,
    set_cap,
    simulated_judge,
    spent_on_calls,
)

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("p_a", "strength", "tie", "steps", "value"),
    [
        (0.9, 2.0, False, 5, "a-is-clearly-better"),
        (0.9, 1.5, False, 5, "a-is-slightly-better"),
        (0.2, -1.0, False, 5, "b-is-slightly-better"),
        (0.2, -2.0, False, 3, "b-is-better"),
        (0.8, 2.0, False, 9, "a-is-overwhelmingly-better"),
        (0.8, 0.1, False, 9, "a-is-slightly-better"),
        (0.55, 0.5, True, 5, "tie"),
        (0.5, 2.0, False, 7, "tie"),
    ],
)
def test_a_verdict_lands_on_the_questions_scale(p_a: float, strength: float, tie: bool, steps: int, value: str) -> None:
    assert preference_value(p_a, strength, tie, steps) == value


def test_judging_makes_one_annotation_and_two_calls_for_each_instance(cast: Cast) -> None:
    judge = simulated_judge(cast)
    set_cap(cast.task, 10_000_000)
    job = judge_all(cast, judge)
    assert (job.state, job.result["judged"], job.progress_done) == ("succeeded", 5, 5)
    assert Annotation.objects.filter(source="judge", annotator=judge.annotator).count() == 5
    assert JudgeCall.objects.filter(state="settled").count() == 10
    annotation = Annotation.objects.first()
    assert annotation is not None
    assert set(annotation.details) == {"judge", "p_a", "orders", "order_consistent", "rationale"}
    assert set(annotation.details["orders"]) == {"ab", "ba"}
    assert Verdict.objects.get(annotation=annotation).p_a == annotation.details["p_a"]
    assert assert_money_adds_up(cast.task).spent_micros == spent_on_calls(cast.task) == job.result["spent_micros"] > 0


def test_judging_again_asks_and_pays_nothing(cast: Cast) -> None:
    judge = simulated_judge(cast)
    set_cap(cast.task, 10_000_000)
    judge_all(cast, judge)
    spent = spent_on_calls(cast.task)
    job = judge_all(cast, judge)
    assert (job.result["judged"], job.progress_total) == (0, 0)
    assert (spent_on_calls(cast.task), JudgeCall.objects.count()) == (spent, 10)


def test_instances_with_the_same_texts_are_asked_and_paid_once(cast: Cast) -> None:
    twin = Instance.objects.filter(task=cast.task).first()
    assert twin is not None
    Instance.objects.create(
        task=cast.task, external_id="twin", prompt=twin.prompt, completions=twin.completions, prompt_hash="0"
    )
    set_cap(cast.task, 10_000_000)
    job = judge_all(cast, simulated_judge(cast))
    assert job.result["judged"] == 6
    assert JudgeCall.objects.count() == 10
    assert Verdict.objects.get(instance__external_id="twin").cost_micros == 0


def test_a_budget_used_up_ends_the_job_cleanly_and_says_what_is_left(cast: Cast) -> None:
    judge = simulated_judge(cast)
    first = cast.task.instances.first()
    set_cap(cast.task, worst_cases(judge, cast.task, [first])[first.pk] + 10)
    job = judge_all(cast, judge)
    assert job.state == "succeeded"
    assert job.result["left"] > 0
    assert "raise the cap" in job.result["message"]
    assert job.result["judged"] + job.result["left"] == 5
    assert assert_money_adds_up(cast.task).reserved_micros == 0


def test_the_judges_own_cap_stops_it(cast: Cast) -> None:
    set_cap(cast.task, 10_000_000)
    job = judge_all(cast, simulated_judge(cast, budget_cap="0.000001"))
    assert (job.state, job.result["judged"], job.result["left"]) == ("succeeded", 0, 5)
    assert "own cap" in job.result["message"]


def test_an_abstention_has_no_annotation_and_no_default_winner(cast: Cast) -> None:
    set_cap(cast.task, 10_000_000)
    job = judge_all(cast, simulated_judge(cast, noise={"abstain": 0.999}))
    assert job.result["abstained"] == 5
    assert not Annotation.objects.filter(source="judge").exists()
    assert set(Verdict.objects.values_list("p_a", flat=True)) == {None}


def plan_for_judge(cast: Cast, judge: Any) -> RoutingPlan:
    """A plan that sends every instance to the judge, with its requests made and their money reserved."""
    plan = RoutingPlan.objects.create(
        task=cast.task, strategy="all_judge", judge=judge.annotator, budget_micros=0, state="ready"
    )
    worst = worst_cases(judge, cast.task, cast.task.instances.all())
    made, _ = requests.ask_judge(cast.task, worst, judge.annotator, origin=plan.origin)
    for pk, request in made.items():
        RoutingDecision.objects.create(plan=plan, instance_id=pk, arm="judge", request=request)
    return plan


def test_a_plans_requests_are_answered_from_the_money_they_hold(cast: Cast) -> None:
    judge = simulated_judge(cast)
    set_cap(cast.task, 10_000_000)
    plan = plan_for_judge(cast, judge)
    held = assert_money_adds_up(cast.task).reserved_micros
    set_cap(cast.task, held)
    job = judge_all(cast, judge, {"kind": "plan", "plan": str(plan.public_id)})
    assert job.result["judged"] == 5
    assert set(AnnotationRequest.objects.values_list("state", "received")) == {("done", 1)}
    assert assert_money_adds_up(cast.task).spent_micros == spent_on_calls(cast.task)


def test_an_abstention_on_a_plans_request_asks_a_person(cast: Cast) -> None:
    judge = simulated_judge(cast, noise={"abstain": 0.999})
    cast.task.instances.update(open_slots=0)
    set_cap(cast.task, 10_000_000)
    plan = plan_for_judge(cast, judge)
    job = judge_all(cast, judge, {"kind": "plan", "plan": str(plan.public_id)})
    assert job.result["to_people"] == 5
    assert AnnotationRequest.objects.filter(source="judge", state="abstained").count() == 5
    assert AnnotationRequest.objects.filter(source="human", state="open", origin=plan.origin).count() == 5
    assert set(cast.task.instances.values_list("open_slots", flat=True)) == {1}
    assert set(plan.decisions.values_list("reason", "request__source")) == {("judge abstained", "human")}
    assert_money_adds_up(cast.task)


def test_an_abstention_that_the_budget_cannot_hand_over_is_told(cast: Cast) -> None:
    judge = simulated_judge(cast, noise={"abstain": 0.999})
    set_cap(cast.task, 400_000)
    plan = plan_for_judge(cast, judge)
    job = judge_all(cast, judge, {"kind": "plan", "plan": str(plan.public_id)})
    assert job.result["to_people"] == 0
    assert set(plan.decisions.values_list("reason", flat=True)) == {"judge abstained; the budget covers no person"}
    assert_money_adds_up(cast.task)


def claimed(cast: Cast, judge: Any) -> tuple[Job, judging.Judging]:
    """A judge job as its worker holds it, calls in flight, before anything came back."""
    job = judging.start_judging(cast.task, judge, {"kind": "all"}, actor=cast.owner)
    context = jobs.JobContext(jobs.claim(job.pk, "w1"))  # type: ignore[arg-type]
    ids = list(judging.unjudged(cast.task, judge).values_list("pk", flat=True))
    run = judging.Judging(context, cast.task, judge, ids)
    run._reserved(ids[:2])
    run.pool.shutdown()
    return job, run


def test_calls_of_a_killed_worker_count_at_their_worst_case_and_the_rest_is_judged(cast: Cast) -> None:
    judge = simulated_judge(cast)
    set_cap(cast.task, 10_000_000)
    job, _ = claimed(cast, judge)
    held = assert_money_adds_up(cast.task).reserved_micros
    assert held > 0
    Job.objects.filter(pk=job.pk).update(state="queued", lease_expires_at=None, fence=job.fence + 2)
    jobs.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.result["judged"], job.result["lost_calls"]) == ("succeeded", 5, 4)
    budget = assert_money_adds_up(cast.task)
    assert (budget.reserved_micros, budget.spent_micros) == (0, held + job.result["spent_micros"])
    assert spent_on_calls(cast.task) == budget.spent_micros


def test_a_worker_that_lost_its_job_writes_no_result(cast: Cast) -> None:
    judge = simulated_judge(cast)
    set_cap(cast.task, 10_000_000)
    job, run = claimed(cast, judge)
    Job.objects.filter(pk=job.pk).update(fence=99)
    with pytest.raises(jobs.FenceLost):
        run._finish([])
    assert not Verdict.objects.exists()


def test_cancelling_settles_what_is_in_flight(cast: Cast) -> None:
    judge = simulated_judge(cast)
    set_cap(cast.task, 10_000_000)
    job = judging.start_judging(cast.task, judge, {"kind": "all"}, actor=cast.owner)
    Job.objects.filter(pk=job.pk).update(cancel_requested=True)
    jobs.run(job.pk)
    job.refresh_from_db()
    assert job.state == "cancelled"
    assert assert_money_adds_up(cast.task).reserved_micros == 0


def test_a_random_scope_judges_the_number_asked_for(cast: Cast) -> None:
    set_cap(cast.task, 10_000_000)
    job = judge_all(cast, simulated_judge(cast), {"kind": "random", "n": 3, "seed": 7})
    assert (job.result["judged"], Verdict.objects.count()) == (3, 3)


@pytest.mark.parametrize(
    "scope",
    [
        {},
        {"kind": "everything"},
        {"kind": "random", "n": 0},
        {"kind": "random", "n": True},
        {"kind": "plan", "plan": "x"},
    ],
)
def test_a_scope_that_makes_no_sense_is_refused(cast: Cast, scope: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        judging.start_judging(cast.task, simulated_judge(cast), scope, actor=cast.owner)
    assert not Job.objects.exists()


def test_one_judge_works_on_a_task_once_at_a_time(cast: Cast) -> None:
    judge = simulated_judge(cast)
    first = judging.start_judging(cast.task, judge, {"kind": "all"}, actor=cast.owner, idempotency_key="k")
    again = judging.start_judging(cast.task, judge, {"kind": "all"}, actor=cast.owner, idempotency_key="k")
    assert again == first
    with pytest.raises(Conflict):
        judging.start_judging(cast.task, judge, {"kind": "all"}, actor=cast.owner)


def test_a_change_that_reaches_the_endpoint_makes_a_new_version(cast: Cast) -> None:
    judge = simulated_judge(cast)
    priced = judges.edit_judge(judge, {**SIMULATED, "price_in": "9"}, actor=cast.owner)
    assert (priced.pk, str(priced.parsed.price_in)) == (judge.pk, "9")
    changed = judges.edit_judge(priced, {**SIMULATED, "rubric": "Prefer the shorter one."}, actor=cast.owner)
    assert (changed.version, changed.annotator_id != judge.annotator_id) == (2, True)
    assert Judge.objects.current().get() == changed
    with pytest.raises(WrongState):
        judges.edit_judge(judge, SIMULATED, actor=cast.owner)
    with pytest.raises(WrongState):
        judging.start_judging(cast.task, Judge.objects.get(pk=judge.pk), {"kind": "all"}, actor=cast.owner)


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"backend": "openai"}, "config"),
        ({"backend": "openai", "base_url": "http://127.0.0.1:9/v1"}, "base_url"),
        ({"backend": "openai", "base_url": "http://169.254.169.254/latest"}, "base_url"),
        ({"backend": "openai", "base_url": "file:///etc/passwd"}, "base_url"),
        ({"backend": "simulated", "tie_band": 2}, "tie_band"),
        ({"backend": "simulated", "surprise": 1}, "surprise"),
        ({"backend": "simulated", "rubric": "a\x00b"}, "rubric"),
        ({"backend": "simulated", "persona": "\ud800"}, "persona"),
    ],
)
def test_a_judge_that_is_not_configured_right_is_refused(cast: Cast, config: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        judges.create_judge(cast.project, "J", config, actor=cast.owner)
    assert field in refused.value.errors
    assert not Judge.objects.exists()


@pytest.mark.parametrize("name", ["PATH", "SECRET_KEY", "TIEBREAK_JUDGE_KEY_", "TIEBREAK_JUDGE_KEY_a", "X" * 80])
def test_only_variables_set_aside_for_judges_may_hold_a_key(cast: Cast, name: str) -> None:
    with pytest.raises(InvalidInput):
        judges.create_judge(cast.project, "J", SIMULATED, actor=cast.owner, api_key_env=name)


def test_the_database_refuses_another_key_variable_and_a_second_current_version(cast: Cast) -> None:
    judge = simulated_judge(cast)
    with pytest.raises(IntegrityError), transaction.atomic():
        Judge.objects.filter(pk=judge.pk).update(api_key_env="SECRET_KEY")
    with pytest.raises(IntegrityError), transaction.atomic():
        JudgeCall.objects.create(judge=judge, instance=cast.task.instances.first(), order="ab", cost_micros=1)


def test_creating_and_running_a_judge_is_in_the_audit_trail(cast: Cast) -> None:
    set_cap(cast.task, 10_000_000)
    judge_all(cast, simulated_judge(cast))
    assert {"judge.create", "judge.run"} <= set(AuditEvent.objects.values_list("action", flat=True))


def test_instances_with_other_than_two_completions_are_skipped() -> None:
    cast = make_cast(instances=1)
    Instance.objects.update(completions=[{"content": "Only one", "model": "m"}])
    set_cap(cast.task, 10_000_000)
    job = judge_all(cast, simulated_judge(cast))
    assert (job.result["skipped"], job.result["judged"]) == (1, 0)
