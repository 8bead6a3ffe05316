from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from random import Random

import pytest

from feedback.egress import EgressPolicy
from routing.judge.backends.circuit import CircuitBreaker
from routing.judge.backends.openai import OpenAIBackend
from routing.judge.calling import CallResult
from routing.judge.config import JudgeConfig
from routing.judge.outcome import Abstention
from tests.routing.asking import combine_orders, judge_pair
from tests.routing.judge_endpoint import FAULTS, GOOD, Handler, JudgeEndpoint, judge_endpoint

DEADLINE = 0.5


def config_for(endpoint: JudgeEndpoint, **changes: object) -> JudgeConfig:
    fields: dict[str, object] = {
        "name": "stub",
        "backend": "openai",
        "model": "stub-1",
        "base_url": endpoint.base_url,
        "deadline": DEADLINE,
        "price_in": Decimal("2"),
        "price_out": Decimal("10"),
    }
    return JudgeConfig.model_validate(fields | changes)


def backend_for(endpoint: JudgeEndpoint, **changes: object) -> OpenAIBackend:
    policy = EgressPolicy.from_entries([f"127.0.0.1:{endpoint.port}"])
    settings: dict[str, object] = {"api_key": "secret-key", "jitter": Random(1), "breaker": CircuitBreaker(10_000)}
    return OpenAIBackend(policy, **(settings | changes))  # type: ignore[arg-type]


def ask(config: JudgeConfig, backend: OpenAIBackend, seed: int = 0) -> CallResult:
    return judge_pair(config, backend, "Say hi.", "hi", "no", "ab", Random(seed))


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_an_abstention_before_the_deadline(fault: str) -> None:
    with judge_endpoint(FAULTS[fault]) as endpoint, ThreadPoolExecutor(8) as threads:
        config, backend = config_for(endpoint), backend_for(endpoint)
        started = time.monotonic()
        results = list(threads.map(lambda seed: ask(config, backend, seed), range(8)))
        assert time.monotonic() - started < DEADLINE + 1.0
    assert all(isinstance(result.outcome, Abstention) and result.p_a is None for result in results)
    assert all(result.latency < DEADLINE + 1.0 for result in results)
    verdict = combine_orders(results[0], None, config)
    assert verdict.p_a is None
    assert verdict.needs_person


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_two_hundred_calls_of_each_fault_give_no_verdict_and_none_is_late(fault: str) -> None:
    with judge_endpoint(FAULTS[fault]) as endpoint, ThreadPoolExecutor(25) as threads:
        config, backend = config_for(endpoint), backend_for(endpoint)
        ask(config, backend)  # the first call of a process loads certificates and code, which takes as long as it takes
        results = list(threads.map(lambda seed: ask(config, backend, seed), range(200)))
    assert sum(result.p_a is not None for result in results) == 0
    assert max(result.latency for result in results) < DEADLINE + 1.0


def test_a_good_reply_gives_the_verdict_its_cost_and_the_expected_request() -> None:
    with judge_endpoint(lambda h: h.answer_chat(json.dumps(GOOD))) as endpoint:
        result = ask(config_for(endpoint), backend_for(endpoint))
    assert result.parse_status == "ok"
    assert result.p_a == pytest.approx(0.9)
    assert result.cost == Decimal("0.0004")
    assert result.cost_measured
    assert endpoint.paths == ["/v1/chat/completions"]
    assert endpoint.headers[0]["Authorization"] == "Bearer secret-key"
    assert endpoint.bodies[0]["response_format"]["json_schema"]["strict"] is True
    assert endpoint.headers[0]["Host"] == f"127.0.0.1:{endpoint.port}"


def test_a_429_is_tried_again_and_the_answer_counts() -> None:
    calls = []

    def behave(handler: Handler) -> None:
        calls.append(1)
        if len(calls) < 3:
            handler.answer_json({}, 429, Retry_After="0")
        else:
            handler.answer_chat(json.dumps(GOOD))

    with judge_endpoint(behave) as endpoint:
        result = ask(config_for(endpoint, deadline=20.0), backend_for(endpoint, sleep=lambda seconds: None))
    assert (result.parse_status, result.tries) == ("ok", 3)


def test_at_most_four_tries_are_made() -> None:
    with judge_endpoint(FAULTS["500"]) as endpoint:
        result = ask(config_for(endpoint, deadline=20.0), backend_for(endpoint, sleep=lambda seconds: None))
    assert (result.tries, len(endpoint.bodies), result.transient) == (4, 4, True)
    assert result.cost == 0


def test_retry_after_is_waited_for_when_it_ends_before_the_deadline() -> None:
    waits: list[float] = []
    with judge_endpoint(lambda h: h.answer_json({}, 429, Retry_After="3")) as endpoint:
        ask(config_for(endpoint, deadline=20.0, max_tries=2), backend_for(endpoint, sleep=waits.append))
    assert len(waits) == 1
    assert 3.0 <= waits[0] <= 4.0


def test_a_retry_after_beyond_the_deadline_ends_the_call_at_once() -> None:
    waits: list[float] = []
    with judge_endpoint(lambda h: h.answer_json({}, 429, Retry_After="120")) as endpoint:
        result = ask(config_for(endpoint, deadline=20.0), backend_for(endpoint, sleep=waits.append))
    assert (waits, result.tries, result.parse_status) == ([], 1, "status")


def test_a_401_is_not_tried_again_and_never_shows_the_key() -> None:
    with judge_endpoint(FAULTS["401"]) as endpoint:
        result = ask(config_for(endpoint), backend_for(endpoint))
    assert (result.tries, result.transient, len(endpoint.bodies)) == (1, False, 1)
    assert "secret-key" not in repr(result)


def test_a_redirect_is_not_followed() -> None:
    with judge_endpoint(FAULTS["redirect"]) as endpoint:
        result = ask(config_for(endpoint), backend_for(endpoint))
    assert result.parse_status == "redirect"
    assert endpoint.paths == ["/v1/chat/completions"]


def test_an_endpoint_that_rejects_schemas_is_asked_plainly_from_then_on() -> None:
    def behave(handler: Handler) -> None:
        if "response_format" in handler.endpoint.bodies[-1]:
            handler.answer_json({"error": "response_format is not supported"}, 400)
        else:
            handler.answer_chat(f"```json\n{json.dumps(GOOD)}\n```")

    with judge_endpoint(behave) as endpoint:
        config, backend = config_for(endpoint), backend_for(endpoint)
        first, second = ask(config, backend), ask(config, backend)
    assert (first.parse_status, first.tries) == ("ok", 2)
    assert (second.parse_status, second.tries) == ("ok", 1)


def test_an_endpoint_that_rejects_everything_is_left_after_its_forms_are_used_up() -> None:
    with judge_endpoint(lambda h: h.answer_json({}, 400)) as endpoint:
        result = ask(config_for(endpoint, top_logprobs=5), backend_for(endpoint))
    assert (result.parse_status, result.tries) == ("status", 3)


def test_an_open_circuit_answers_without_calling() -> None:
    with judge_endpoint(FAULTS["500"]) as endpoint:
        backend = backend_for(endpoint, breaker=CircuitBreaker(threshold=2, cooldown=60.0))
        config = config_for(endpoint, max_tries=1)
        results = [ask(config, backend) for _ in range(4)]
    assert [result.parse_status for result in results] == ["status", "status", "circuit_open", "circuit_open"]
    assert len(endpoint.bodies) == 2


def test_one_probe_per_cooldown_reaches_an_open_circuit() -> None:
    now = [0.0]
    breaker = CircuitBreaker(threshold=1, cooldown=10.0, clock=lambda: now[0])
    breaker.failed("x")
    assert not breaker.allows("x")
    now[0] = 10.0
    assert [breaker.allows("x"), breaker.allows("x")] == [True, False]
    breaker.succeeded("x")
    assert breaker.allows("x")


def test_an_internal_address_is_refused_unless_it_is_listed() -> None:
    with judge_endpoint(lambda h: h.answer_chat(json.dumps(GOOD))) as endpoint:
        backend = OpenAIBackend(EgressPolicy())
        result = ask(config_for(endpoint), backend)
    assert (result.parse_status, endpoint.bodies) == ("refused_address", [])


def test_a_closed_port_is_a_transient_failure() -> None:
    with judge_endpoint(FAULTS["401"]) as endpoint:
        config, backend = config_for(endpoint, deadline=20.0), backend_for(endpoint, sleep=lambda seconds: None)
    result = ask(config, backend)
    assert (result.parse_status, result.transient, result.tries) == ("connection", True, 4)


def test_missing_or_impossible_usage_is_charged_at_the_worst_case() -> None:
    usages = [None, {"prompt_tokens": 10**9, "completion_tokens": 1}, {"prompt_tokens": -1, "completion_tokens": 1}]
    for usage in usages:

        def behave(handler: Handler, usage: object = usage) -> None:
            handler.answer_chat(json.dumps(GOOD), usage=usage)

        with judge_endpoint(behave) as endpoint:
            result = ask(config_for(endpoint), backend_for(endpoint))
        assert not result.cost_measured
        assert result.cost > Decimal("0.005")


def test_log_probs_of_the_endpoint_decide_the_probability() -> None:
    text = json.dumps(GOOD)
    start = text.index('first"', text.index("verdict"))
    tokens = [
        {"token": text[:start], "top_logprobs": []},
        {
            "token": "first",
            "top_logprobs": [{"token": "first", "logprob": -0.5108256}, {"token": "second", "logprob": -0.9162907}],
        },
        {"token": text[start + 5 :], "top_logprobs": []},
    ]
    with judge_endpoint(lambda h: h.answer_chat(text, choice={"logprobs": {"content": tokens}})) as endpoint:
        result = ask(config_for(endpoint, top_logprobs=5), backend_for(endpoint))
    assert result.p_a == pytest.approx(0.6, abs=1e-6)
    assert endpoint.bodies[0]["top_logprobs"] == 5


def test_a_lone_surrogate_in_a_completion_is_sent_as_text() -> None:
    with judge_endpoint(lambda h: h.answer_chat(json.dumps(GOOD))) as endpoint:
        result = judge_pair(
            config_for(endpoint), backend_for(endpoint), "p", "bad \ud800 text", "b\x00", "ab", Random(0)
        )
    assert result.parse_status == "ok"


def test_a_null_character_in_a_reply_is_replaced_before_it_is_stored() -> None:
    with judge_endpoint(lambda h: h.answer_chat(json.dumps({**GOOD, "reason": "a\x00\ud800b"}))) as endpoint:
        result = ask(config_for(endpoint), backend_for(endpoint))
    assert not isinstance(result.outcome, Abstention)
    assert result.outcome.reason == "a\ufffd\ufffdb"


def test_a_cut_off_reply_says_so() -> None:
    with judge_endpoint(lambda h: h.answer_chat('{"reason": "long', choice={"finish_reason": "length"})) as endpoint:
        assert ask(config_for(endpoint), backend_for(endpoint)).parse_status == "truncated"
