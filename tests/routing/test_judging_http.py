"""Judging over HTTP: faults are abstentions or wait for another run, never a winner; and money is settled right."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.db import connection
from django.db.models import Sum

from feedback.models import Annotation, AnnotationRequest, AuditEvent, Job
from routing.models import Judge, JudgeCall, Verdict
from routing.services import judges, judging
from tests.conftest import Cast, make_cast
from tests.routing.judging_cast import assert_money_adds_up, endpoint_judge, judge_all, set_cap, spent_on_calls
from tests.routing.test_judging import plan_for_judge

pytestmark = pytest.mark.django_db
KEY = "sk-canary-4e1f7a90"


def completion(content: str, usage: dict[str, int] | None = None) -> bytes:
    message = {"role": "assistant", "content": content}
    body: dict[str, Any] = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    if usage:
        body["usage"] = usage
    return json.dumps(body).encode()


GOOD = completion(
    json.dumps({"reason": "It is right.", "verdict": "first", "strength": "clearly"}),
    {"prompt_tokens": 100, "completion_tokens": 20},
)


def prefer_first_text(sent: dict[str, Any]) -> bytes:
    """The judge that looks at texts, not places: whichever completion begins with 'First' is better."""
    text = sent["messages"][1]["content"]
    first = text.index("First ") < text.index("Second ")
    verdict = {"reason": "It is right.", "verdict": "first" if first else "second", "strength": "clearly"}
    return completion(json.dumps(verdict), {"prompt_tokens": 100, "completion_tokens": 20})


class Stub(ThreadingHTTPServer):
    """A scripted endpoint. ``answer`` gets the parsed request and returns (status, body, seconds to wait)."""

    daemon_threads = True

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any]], tuple[int, bytes, float]] = lambda sent: (200, GOOD, 0.0)
        self.seen: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Stub

    def do_POST(self) -> None:
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.seen.append(sent)
        self.server.keys.add(self.headers.get("Authorization", ""))
        status, body, wait = self.server.answer(sent)
        time.sleep(wait)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def stub(settings: Any) -> Iterator[Stub]:
    server = Stub()
    settings.EGRESS_ALLOW = [f"127.0.0.1:{server.server_address[1]}"]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def fresh_breaker() -> None:
    judges._breaker.cache_clear()


def test_an_endpoint_that_answers_in_form_gives_verdicts(cast: Cast, stub: Stub) -> None:
    stub.answer = lambda sent: (200, prefer_first_text(sent), 0.0)
    set_cap(cast.task, 10_000_000)
    job = judge_all(cast, endpoint_judge(cast, stub.url))
    assert (job.state, job.result["judged"], len(stub.seen)) == ("succeeded", 5, 10)
    values = {a.answers["overall"]["value"] for a in Annotation.objects.filter(source="judge")}
    assert values == {"a-is-clearly-better"}
    assert set(Verdict.objects.values_list("order_consistent", flat=True)) == {True}
    # 100 tokens in at 1, 20 out at 2 per million: 140 micros a call
    assert (spent_on_calls(cast.task), set(JudgeCall.objects.values_list("cost_micros", flat=True))) == (1400, {140})
    assert assert_money_adds_up(cast.task).spent_micros == 1400


def test_a_judge_that_only_looks_at_places_ends_in_ties_that_say_so(cast: Cast, stub: Stub) -> None:
    set_cap(cast.task, 10_000_000)
    judge_all(cast, endpoint_judge(cast, stub.url))
    annotation = Annotation.objects.filter(source="judge").first()
    assert annotation is not None
    assert annotation.answers["overall"]["value"] == "tie"
    assert annotation.details["order_consistent"] is False
    assert annotation.details["orders"] == {"ab": "a-is-clearly-better", "ba": "b-is-clearly-better"}
    assert set(Verdict.objects.values_list("needs_person", flat=True)) == {True}


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, completion("I prefer the first one."), "not_json"),
        (200, completion('{"verdict": "first"}'), "wrong_schema"),
        (200, completion('{"reason": "", "verdict": "A", "strength": "clearly"}'), "wrong_schema"),
        (200, completion(""), "empty"),
        (200, b"", "empty"),
        (200, b"<html>gateway</html>", "bad_reply"),
        (200, b"x" * 300_000, "too_large"),
    ],
)
def test_a_reply_outside_the_schema_is_an_abstention_and_is_paid(
    cast: Cast, stub: Stub, status: int, body: bytes, reason: str
) -> None:
    stub.answer = lambda sent: (status, body, 0.0)
    set_cap(cast.task, 10_000_000)
    job = judge_all(cast, endpoint_judge(cast, stub.url))
    assert (job.state, job.result["abstained"], job.result["judged"]) == ("succeeded", 5, 0)
    assert not Annotation.objects.filter(source="judge").exists()
    assert set(JudgeCall.objects.values_list("parse_status", flat=True)) == {reason}
    # usage is missing: charged at the worst case, since it was answered
    assert all(call.cost_micros == call.reserved_micros for call in JudgeCall.objects.all())
    assert assert_money_adds_up(cast.task).spent_micros == spent_on_calls(cast.task)


def test_a_refused_key_costs_nothing_and_sends_nobody_to_people(cast: Cast, stub: Stub) -> None:
    stub.answer = lambda sent: (401, b"{}", 0.0)
    set_cap(cast.task, 10_000_000)
    judge = endpoint_judge(cast, stub.url)
    plan = plan_for_judge(cast, judge)
    job = judge_all(cast, judge, {"kind": "plan", "plan": str(plan.public_id)})
    assert (job.result["unreached"], job.result["to_people"]) == (5, 0)
    assert assert_money_adds_up(cast.task).spent_micros == 0
    assert set(Verdict.objects.values_list("p_a", "unreached")) == {(None, True)}
    assert set(AnnotationRequest.objects.values_list("source", "state")) == {("judge", "open")}


def test_what_was_not_reached_is_asked_again_and_then_goes_to_people(cast: Cast, stub: Stub) -> None:
    stub.answer = lambda sent: (401, b"{}", 0.0)
    set_cap(cast.task, 10_000_000)
    judge = endpoint_judge(cast, stub.url)
    plan = plan_for_judge(cast, judge)
    scope = {"kind": "plan", "plan": str(plan.public_id)}
    judge_all(cast, judge, scope)
    again = judge_all(cast, judge, scope)
    assert (again.result["unreached"], again.result["to_people"]) == (5, 5)
    assert_money_adds_up(cast.task)


def test_an_endpoint_that_recovers_is_asked_again(cast: Cast, stub: Stub) -> None:
    stub.answer = lambda sent: (401, b"{}", 0.0)
    set_cap(cast.task, 10_000_000)
    judge = endpoint_judge(cast, stub.url)
    judge_all(cast, judge)
    stub.answer = lambda sent: (200, GOOD, 0.0)
    job = judge_all(cast, judge)
    assert (job.result["judged"], Verdict.objects.filter(unreached=True).count()) == (5, 0)
    assert assert_money_adds_up(cast.task).spent_micros == spent_on_calls(cast.task) == 1400


def test_a_verdict_that_took_two_runs_costs_what_its_calls_cost(cast: Cast, stub: Stub) -> None:
    asked = itertools.count()
    stub.answer = lambda sent: (401, b"{}", 0.0) if next(asked) % 2 else (200, GOOD, 0.0)
    set_cap(cast.task, 10_000_000)
    one = endpoint_judge(cast, stub.url)
    config = {**one.config, "seed": 1}
    other = judges.create_judge(cast.project, "Other", config, actor=cast.owner)
    members = [str(one.public_id), str(other.public_id)]
    panel = judges.create_judge(cast.project, "Panel", {"backend": "panel", "members": members}, actor=cast.owner)
    judge_all(cast, panel)
    assert Verdict.objects.filter(judge=panel, unreached=True).exists()
    stub.answer = lambda sent: (200, GOOD, 0.0)
    judge_all(cast, panel)
    costs = dict(Verdict.objects.values_list("judge").annotate(cost=Sum("cost_micros")))
    assert costs[one.pk] == costs[other.pk] == 1400
    assert costs[panel.pk] == spent_on_calls(cast.task) == 2800


def test_ten_refusals_in_a_row_end_the_job_with_a_reason(stub: Stub, db: None) -> None:
    cast = make_cast(instances=30)
    stub.answer = lambda sent: (403, b"{}", 0.0)
    set_cap(cast.task, 10_000_000)
    job = judge_all(cast, endpoint_judge(cast, stub.url))
    assert job.state == "failed"
    assert "10 times in a row. The endpoint answered 403." in job.error
    assert len(stub.seen) <= 40
    assert assert_money_adds_up(cast.task).reserved_micros == 0


def test_a_timeout_is_charged_at_its_worst_case_and_has_no_winner(cast: Cast, stub: Stub) -> None:
    stub.answer = lambda sent: (200, GOOD, 1.0)
    set_cap(cast.task, 10_000_000)
    started = time.monotonic()
    job = judge_all(cast, endpoint_judge(cast, stub.url, deadline=0.3))
    assert time.monotonic() - started < 5
    assert (job.result["unreached"], Annotation.objects.filter(source="judge").count()) == (5, 0)
    first = JudgeCall.objects.filter(parse_status="timeout").first()
    assert first is not None
    assert first.cost_micros == first.reserved_micros > 0
    assert assert_money_adds_up(cast.task).spent_micros == spent_on_calls(cast.task)


@pytest.mark.django_db(transaction=True)
def test_cancelling_ends_a_job_that_waits_for_a_slow_endpoint(
    cast: Cast, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, release = threading.Event(), threading.Event()

    def hang(sent: dict[str, Any]) -> tuple[int, bytes, float]:
        if not asked.is_set():
            asked.set()
            Job.objects.filter(kind="judge").update(cancel_requested=True)
            connection.close()
        release.wait(20)
        return 200, GOOD, 0.0

    stub.answer = hang
    monkeypatch.setattr(judging, "GRACE_SECONDS", 0.5)
    set_cap(cast.task, 10_000_000)
    judge = endpoint_judge(cast, stub.url, deadline=30.0)
    started = time.monotonic()
    job = judge_all(cast, judge)
    seconds = time.monotonic() - started
    release.set()
    for thread in threading.enumerate():
        if thread.name.startswith("judge-"):
            thread.join()
    assert (job.state, seconds < 5) == ("cancelled", True)
    budget = assert_money_adds_up(cast.task)
    assert (budget.reserved_micros, budget.spent_micros) == (0, spent_on_calls(cast.task))
    assert JudgeCall.objects.filter(state="lost").count() > 0


def test_an_internal_endpoint_is_refused_unless_it_is_allowed(cast: Cast, stub: Stub, settings: Any) -> None:
    set_cap(cast.task, 10_000_000)
    judge = endpoint_judge(cast, stub.url)
    settings.EGRESS_ALLOW = []
    job = judge_all(cast, judge)
    assert (job.result["unreached"], stub.seen) == (5, [])
    assert set(JudgeCall.objects.values_list("parse_status", "cost_micros")) == {("refused_address", 0)}


def test_the_key_is_sent_and_kept_nowhere_else(
    cast: Cast, stub: Stub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setenv("TIEBREAK_JUDGE_KEY_TEST", KEY)
    stub.answer = lambda sent: (200, completion(f'{{"reason": "You sent {KEY}", "verdict": "first", "x": 1}}'), 0.0)
    set_cap(cast.task, 10_000_000)
    judge_all(cast, endpoint_judge(cast, stub.url, api_key_env="TIEBREAK_JUDGE_KEY_TEST"))
    assert stub.keys == {f"Bearer {KEY}"}
    rows = [
        row
        for model in (Judge, JudgeCall, Verdict, Annotation, Job, AuditEvent)
        for row in model.objects.values()  # type: ignore[attr-defined]
    ]
    assert KEY not in json.dumps(rows, default=str)
    assert KEY not in caplog.text


def test_a_missing_key_fails_the_job_in_words(cast: Cast, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIEBREAK_JUDGE_KEY_GONE", raising=False)
    job = judge_all(cast, endpoint_judge(cast, stub.url, api_key_env="TIEBREAK_JUDGE_KEY_GONE"))
    assert (job.state, stub.seen) == ("failed", [])
    assert "TIEBREAK_JUDGE_KEY_GONE is not set" in job.error
