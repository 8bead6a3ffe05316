"""Jobs survive their workers: claims are exclusive, stale workers are fenced off, nothing queued is forgotten."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from feedback import tasks  # noqa: F401 - registers the handlers that the tests take the place of
from feedback.exceptions import InvalidInput, WrongState
from feedback.models import AuditEvent, Job, JobKind, JobState
from feedback.services import jobs
from tests.conftest import Cast, make_cast
from tests.feedback.test_queue import in_threads


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Register a handler for import jobs for the time of a test."""

    def register(handler: jobs.Handler) -> None:
        monkeypatch.setitem(jobs._HANDLERS, JobKind.IMPORT, handler)

    return register


def enqueue(cast: Cast, **fields: Any) -> Job:
    return jobs.enqueue(JobKind.IMPORT, cast.project, {}, actor=cast.owner, **fields)


def lose_lease(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(lease_expires_at=Now() - timedelta(seconds=1))


def test_a_job_runs_once_and_keeps_its_result(cast: Cast, work: Any) -> None:
    runs: list[int] = []
    work(lambda context: runs.append(1) or {"rows": 3})
    job = enqueue(cast)
    jobs.run(job.pk)
    jobs.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.result, runs) == (JobState.SUCCEEDED, {"rows": 3}, [1])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InvalidInput("Row 3 has no prompt."), "Row 3 has no prompt."),
        (InvalidInput(errors={"prompt": "Row 3 has none."}), "Row 3 has none."),
        (InvalidInput("A wrong file.", errors={"prompt": "Row 3 has none."}), "A wrong file. Row 3 has none."),
    ],
)
def test_a_domain_error_is_the_jobs_sentence(cast: Cast, work: Any, error: InvalidInput, said: str) -> None:
    def refuse(context: jobs.JobContext) -> None:
        raise error

    work(refuse)
    job = enqueue(cast)
    jobs.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error) == (JobState.FAILED, said)


def test_the_same_idempotency_key_is_the_same_job(cast: Cast) -> None:
    assert enqueue(cast, idempotency_key="k").pk == enqueue(cast, idempotency_key="k").pk
    assert enqueue(cast).pk != enqueue(cast).pk


def test_a_stale_worker_writes_nothing(cast: Cast, work: Any) -> None:
    def overtaken(context: jobs.JobContext) -> dict[str, Any]:
        lose_lease(context.job)
        jobs.reap()
        assert jobs.claim(context.job.pk, "the other worker")
        with pytest.raises(jobs.FenceLost):
            context.progress(1, 2)
        return {"rows": "stale"}

    work(overtaken)
    job = enqueue(cast)
    jobs.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.result, job.lease_owner, job.attempt) == (JobState.RUNNING, {}, "the other worker", 2)


def test_a_job_that_kills_its_worker_three_times_is_quarantined(cast: Cast) -> None:
    job = enqueue(cast)
    for _ in range(jobs.MAX_ATTEMPTS):
        assert jobs.claim(job.pk, "doomed")
        lose_lease(job)
        jobs.reap()
    job.refresh_from_db()
    assert (job.state, job.attempt) == (JobState.QUARANTINED, 3)
    assert jobs.claim(job.pk, "next") is None


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_at_its_next_report(cast: Cast, work: Any) -> None:
    queued = enqueue(cast)
    jobs.cancel(queued, actor=cast.owner)
    queued.refresh_from_db()
    assert queued.state == JobState.CANCELLED

    def cancelled_midway(context: jobs.JobContext) -> None:
        jobs.cancel(context.job, actor=cast.owner)
        context.progress(1, 2)

    work(cancelled_midway)
    running = enqueue(cast)
    jobs.run(running.pk)
    running.refresh_from_db()
    assert running.state == JobState.CANCELLED
    with pytest.raises(WrongState):
        jobs.cancel(running, actor=cast.owner)


def test_a_job_whose_wake_up_was_lost_is_sent_again(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    job = enqueue(cast)
    woken: list[int] = []
    monkeypatch.setattr(jobs, "wake", lambda job: woken.append(job.pk))
    assert jobs.resend() == 0
    Job.objects.update(queued_at=timezone.now() - timedelta(seconds=20))
    assert jobs.resend() == 1
    assert woken == [job.pk]


def test_audit_events_cannot_be_changed(cast: Cast) -> None:
    from django.db import InternalError, transaction
    from django.db.utils import DatabaseError

    with pytest.raises((DatabaseError, InternalError), match="append-only"), transaction.atomic():
        AuditEvent.objects.update(actor_name="somebody else")


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_many_workers_claim_each_job_once() -> None:
    cast = make_cast(instances=0)
    ids = [enqueue(cast).pk for _ in range(30)]
    claimed: list[int] = []

    def grab(n: int) -> None:
        claimed.extend(pk for pk in ids if jobs.claim(pk, f"worker {n}"))

    assert in_threads(16 if connection.vendor == "postgresql" else 8, grab) == []
    assert sorted(claimed) == sorted(ids)
    assert set(Job.objects.values_list("fence", flat=True)) == {1}


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_money_never_passes_the_cap() -> None:
    from feedback.exceptions import BudgetExhausted
    from feedback.models import Budget
    from feedback.services import budget

    cast = make_cast(instances=0)
    budget.set_cap(cast.task, 1_000_000, actor=cast.owner)
    granted: list[int] = []

    def spend(n: int) -> None:
        for _ in range(5):
            try:
                budget.reserve(cast.task, 30_000)
            except BudgetExhausted:
                continue
            budget.settle(cast.task, reserved_micros=30_000, spent_micros=30_000)
            granted.append(30_000)

    assert in_threads(32 if connection.vendor == "postgresql" else 12, spend) == []
    row = Budget.objects.get(task=cast.task)
    assert row.spent_micros == sum(granted) <= 1_000_000
    assert row.reserved_micros == 0


def test_a_broker_that_is_away_loses_nothing(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    from kombu.exceptions import OperationalError

    from feedback.tasks import run_job

    def away(*args: Any, **kwargs: Any) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(run_job, "apply_async", away)
    job = enqueue(cast)
    jobs.wake(job)
    job.refresh_from_db()
    assert job.state == JobState.QUEUED
