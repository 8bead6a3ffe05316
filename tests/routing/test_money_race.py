"""Plans come into force while people label, undo and skip and a judge works: no deadlock, every cent accounted."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import Sum
from django.utils import timezone

from feedback.exceptions import Conflict, FeedbackError
from feedback.models import Annotation, Assignment, Instance, Job, Task
from feedback.services import jobs, queue
from feedback.services.queue import submitting
from routing.models import PlanState, RoutingDecision, RoutingPlan
from routing.services import applying, judges, requests, tagging
from routing.services.judging import Judging
from tests.conftest import Cast, make_cast
from tests.feedback.test_queue import ANSWER, in_threads
from tests.routing.judging_cast import (
    SIMULATED,
    assert_money_adds_up,
    judge_all,
    set_cap,
    simulated_judge,
    spent_on_calls,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]
SECONDS = 6.0


def plan_of(cast: Cast, judge: Any, arms: list[str], labels: int = 1) -> RoutingPlan:
    """A ready plan that sends each instance where ``arms`` says."""
    plan = RoutingPlan.objects.create(
        task=cast.task,
        strategy="random",
        judge=judge.annotator,
        budget_micros=0,
        created_by=cast.owner,
        state=PlanState.READY,
    )
    numbers = {"human": labels, "judge": 1, "none": 0}
    RoutingDecision.objects.bulk_create(
        RoutingDecision(plan=plan, instance=instance, arm=arm, n_labels=numbers[arm])
        for instance, arm in zip(cast.task.instances.order_by("pk"), arms, strict=True)
    )
    return plan


def labels(task: Task, user: Any, rng: random.Random) -> None:
    """One step of a restless annotator."""
    assignment = queue.next_assignment(task, user)
    chance = rng.random()
    if chance < 0.2:
        queue.skip(assignment, reason="other")
        return
    if chance < 0.4:
        Assignment.objects.filter(pk=assignment.pk, state="lent").update(lease_expires_at=timezone.now())
        queue.return_expired()
    annotation, _ = queue.submit(assignment, submission_id=uuid4(), answers=ANSWER, active_ms=1)
    if chance > 0.7:
        queue.undo(annotation, user)


@pytest.mark.slow
def test_plans_labels_and_verdicts_at_once_neither_deadlock_nor_lose_money() -> None:
    cast = make_cast(instances=30)
    judge = simulated_judge(cast, price_in="3", price_out="7")
    set_cap(cast.task, 10**9)
    Task.objects.filter(pk=cast.task.pk).update(plan_only=True)
    Instance.objects.update(open_slots=0)
    applying.apply_plan(plan_of(cast, judge, ["human"] * 30, 2), actor=cast.owner)
    people = [cast.annotator, cast.reviewer, cast.manager, cast.owner] * 2
    end = time.monotonic() + SECONDS

    def work(n: int) -> None:
        rng = random.Random(n)
        while time.monotonic() < end:
            with contextlib.suppress(FeedbackError):
                if n < len(people):
                    labels(Task.objects.get(pk=cast.task.pk), people[n], rng)
                    continue
                arms = rng.choices(["human", "judge", "none"], [2, 1, 1], k=30)
                applying.apply_plan(plan_of(cast, judge, arms, rng.randint(1, 3)), actor=cast.owner)
                for job in Job.objects.filter(state="queued"):
                    jobs.run(job.pk)

    assert in_threads(len(people) + 1, work) == []
    assert not Job.objects.filter(state="failed").exists()
    paid = Annotation.objects.live().filter(source="human").aggregate(sum=Sum("price_micros"))["sum"] or 0
    assert assert_money_adds_up(cast.task).spent_micros == paid + spent_on_calls(cast.task)


def test_a_verdict_that_a_later_plan_no_longer_wants_asks_nobody_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call abstains; while the first is out, a plan that wants nobody comes into force."""
    cast = make_cast(instances=1)
    judge = simulated_judge(cast, noise={"abstain": 0.999999})
    set_cap(cast.task, 10**9)
    wanted = plan_of(cast, judge, ["judge"])
    monkeypatch.setattr(applying, "_start_judge", lambda plan, actor: None)
    applying.apply_plan(wanted, actor=cast.owner)
    unwanted = plan_of(cast, judge, ["none"])
    finish = Judging._finish

    def late(self: Judging, questions: Any) -> None:
        if unwanted.state == PlanState.READY:
            applying.apply_plan(unwanted, actor=cast.owner)
            unwanted.refresh_from_db()
        finish(self, questions)

    monkeypatch.setattr(Judging, "_finish", late)
    assert judge_all(cast, judge, {"kind": "all"}).state == "succeeded"
    states = list(cast.task.instances.get().requests.values_list("source", "state"))
    assert states == [("judge", "withdrawn")]
    assert_money_adds_up(cast.task)


def test_a_submit_that_does_not_see_the_plan_leaves_no_request_without_a_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan comes into force after the submit looked for a request, and before it commits."""
    if connection.vendor == "sqlite":
        pytest.skip("one writer at a time: the two never overlap")
    cast = make_cast(instances=1)
    judge = simulated_judge(cast)
    set_cap(cast.task, 10**9)
    plan = plan_of(cast, judge, ["human"])
    lent = queue.next_assignment(cast.task, cast.annotator)
    looked, applied = threading.Event(), threading.Event()
    insert = submitting._insert

    def later(annotation: Any) -> Any:
        looked.set()
        assert applied.wait(20)
        return insert(annotation)

    monkeypatch.setattr(submitting, "_insert", later)

    def work(n: int) -> None:
        if n:
            queue.submit(lent, submission_id=uuid4(), answers=ANSWER, active_ms=1)
            return
        assert looked.wait(20)
        applying.apply_plan(plan, actor=cast.owner)
        applied.set()

    assert in_threads(2, work) == []
    instance = cast.task.instances.get()
    assert (instance.requests.get().state, instance.open_slots) == ("open", 0)
    assert requests.reopen() == 1
    monkeypatch.setattr(submitting, "_insert", insert)
    queue.submit(queue.next_assignment(cast.task, cast.manager), submission_id=uuid4(), answers=ANSWER, active_ms=1)
    assert instance.requests.get().state == "done"
    assert requests.reopen() == 0
    assert_money_adds_up(cast.task)


def test_two_judges_never_begin_to_tag_one_task_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cast = make_cast(instances=1)
    both = [judges.create_judge(cast.project, name, SIMULATED, actor=cast.owner) for name in ("One", "Other")]
    looked = threading.Barrier(2)
    active = tagging.active_job

    def slowly(task: Task) -> Job | None:
        found = active(task)
        with contextlib.suppress(threading.BrokenBarrierError):
            looked.wait(1)
        return found

    monkeypatch.setattr(tagging, "active_job", slowly)

    def work(n: int) -> None:
        with contextlib.suppress(Conflict):
            tagging.start_tagging(cast.task, both[n], ["language"], None, actor=cast.owner)

    assert in_threads(2, work) == []
    assert Job.objects.filter(kind="tag").count() == 1
