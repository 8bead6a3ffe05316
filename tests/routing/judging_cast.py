"""What tests of judging share: a judge of each kind, a cap, and the sums that must always hold."""

from __future__ import annotations

from typing import Any

from django.db.models import Sum

import routing.tasks  # noqa: F401 - registers the handlers, as a worker does
from feedback.models import AnnotationRequest, Budget, Job, JobKind
from feedback.services import jobs
from routing.models import JudgeCall
from routing.services import judges, judging
from tests.conftest import Cast

SIMULATED = {"backend": "simulated", "price_in": "1", "price_out": "2", "max_tokens": 64, "noise": {"flip": 0.0}}


def simulated_judge(cast: Cast, **changes: Any) -> Any:
    return judges.create_judge(cast.project, "Pool", {**SIMULATED, **changes}, actor=cast.owner)


def endpoint_judge(cast: Cast, base_url: str, **changes: Any) -> Any:
    config = {
        "backend": "openai", "model": "tiny", "base_url": base_url, "price_in": "1", "price_out": "2",
        "max_tokens": 64, "deadline": 15.0, "connect_timeout": 10.0, "max_tries": 1,
    }  # fmt: skip
    key = changes.pop("api_key_env", "")
    return judges.create_judge(cast.project, "Endpoint", {**config, **changes}, actor=cast.owner, api_key_env=key)


def set_cap(task: Any, micros: int) -> None:
    Budget.objects.filter(task=task).update(cap_micros=micros)


def judge_all(cast: Cast, judge: Any, scope: dict[str, Any] | None = None) -> Job:
    """Start judging and run the job here."""
    job = judging.start_judging(cast.task, judge, scope or {"kind": "all"}, actor=cast.owner)
    jobs.run(job.pk)
    job.refresh_from_db()
    return job


def assert_money_adds_up(task: Any) -> Budget:
    """Reserved is what open requests and calls in flight hold, spent is what calls cost, and both fit the cap."""
    budget = Budget.objects.get(task=task)
    pending = AnnotationRequest.objects.filter(instance__task=task, state="open")
    held = sum(r.price_micros * (r.wanted - r.received if r.source == "human" else 1) for r in pending)
    calls = JudgeCall.objects.filter(instance__task=task)
    held += calls.filter(state="reserved").aggregate(sum=Sum("reserved_micros"))["sum"] or 0
    assert budget.reserved_micros == held
    assert budget.spent_micros + budget.reserved_micros <= budget.cap_micros
    return budget


def spent_on_calls(task: Any) -> int:
    return JudgeCall.objects.filter(instance__task=task).aggregate(sum=Sum("cost_micros"))["sum"] or 0


def only_job() -> Job:
    return Job.objects.get(kind=JobKind.JUDGE)
