"""Any OpenAI-compatible `/chat/completions` endpoint, asked once with a total deadline and read up to a limit."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from random import Random
from typing import Any

import httpx

from feedback.egress import Deadline, EgressPolicy, EgressRefused, HostNotFound, guarded_client
from routing.judge.backends import JudgeCallError, JudgeRequest, Reply, Usage
from routing.judge.backends.circuit import CircuitBreaker
from routing.judge.config import JudgeConfig
from routing.judge.outcome import AbstentionReason, TokenLogprob

RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504, 529})
FORM_STATUSES = frozenset({400, 422})
FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 8.0
MOST_TOKENS_READ = 20_000


@dataclass(frozen=True)
class _Failure:
    reason: AbstentionReason
    detail: str
    retry: bool = False
    transient: bool = False
    billed: bool = False
    retry_after: float = 0.0
    bad_form: bool = False


class OpenAIBackend:
    """Calls an endpoint with retries, a circuit breaker and the egress guard. Safe to share between threads."""

    def __init__(
        self,
        policy: EgressPolicy,
        api_key: str = "",
        breaker: CircuitBreaker | None = None,
        jitter: Random | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._policy = policy
        self._api_key = api_key
        self._breaker = breaker or CircuitBreaker()
        self._jitter = jitter or Random()
        self._sleep = sleep
        self._plainness: dict[tuple[str, str], int] = {}
        self._lock = threading.Lock()

    def complete(self, request: JudgeRequest) -> Reply:
        """One reply within `config.deadline` seconds, all tries and waits included. Raises JudgeCallError.

        Tried again, at most `config.max_tries` times with full jitter: 408, 429, 5xx and failed connections. A read
        that fails is not, as it may have been billed. Retry-After is honoured if it ends before the deadline.
        """
        config = request.config
        endpoint = config.base_url.rstrip("/") + "/chat/completions"
        deadline = Deadline.after(config.deadline)
        number = 0
        while True:
            number += 1
            outcome = self._guarded_try(endpoint, request, deadline)
            if isinstance(outcome, Reply):
                return replace(outcome, tries=number)
            wait = self._wait_before_next(outcome, number, config)
            if wait is None or number >= config.max_tries or wait >= deadline.remaining():
                raise JudgeCallError(
                    outcome.reason, outcome.detail, tries=number, transient=outcome.transient, billed=outcome.billed
                )
            self._sleep(wait)

    def _guarded_try(self, endpoint: str, request: JudgeRequest, deadline: Deadline) -> Reply | _Failure:
        if not self._breaker.allows(endpoint):
            return _Failure("circuit_open", "The endpoint failed repeatedly and is left alone.", transient=True)
        outcome = self._try_once(endpoint, request, deadline)
        self._report(endpoint, outcome)
        return outcome

    def _report(self, endpoint: str, outcome: Reply | _Failure) -> None:
        if isinstance(outcome, _Failure) and outcome.transient:
            self._breaker.failed(endpoint)
        else:
            self._breaker.succeeded(endpoint)

    def _wait_before_next(self, failure: _Failure, number: int, config: JudgeConfig) -> float | None:
        """Seconds to wait, or None when another try is pointless."""
        if failure.bad_form:
            return 0.0 if self._use_plainer_form(config) else None
        if not failure.retry:
            return None
        with self._lock:
            jitter = self._jitter.uniform(0.0, min(LONGEST_BACKOFF, FIRST_BACKOFF * 2.0**number))
        return failure.retry_after + jitter

    def _use_plainer_form(self, config: JudgeConfig) -> bool:
        """After a 400: first without response_format, then without log-probs. False when nothing is left to drop."""
        key = (config.base_url, config.model)
        with self._lock:
            plainness = self._plainness.get(key, 0) + 1
            if plainness > (2 if config.top_logprobs else 1):
                return False
            self._plainness[key] = plainness
            return True

    def _body(self, request: JudgeRequest) -> dict[str, Any]:
        config = request.config
        with self._lock:
            plainness = self._plainness.get((config.base_url, config.model), 0)
        body: dict[str, Any] = {
            "model": config.model,
            "messages": [{k: _sendable(v) for k, v in message.items()} for message in request.prompt.messages],
            "temperature": config.temperature,
            "max_tokens": config.max_tokens,
        }
        if plainness < 1:
            schema = {"name": request.prompt.schema_name, "strict": True, "schema": request.prompt.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if plainness < 2 and config.top_logprobs:
            body |= {"logprobs": True, "top_logprobs": config.top_logprobs}
        return body

    def _try_once(self, endpoint: str, request: JudgeRequest, deadline: Deadline) -> Reply | _Failure:
        headers = {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}
        config = request.config
        try:
            with (
                guarded_client(self._policy, deadline, config.connect_timeout) as client,
                client.stream("POST", endpoint, json=self._body(request), headers=headers) as response,
            ):
                if response.status_code != 200:
                    return _status_failure(response)
                raw = _read_limited(response, config.max_reply_bytes)
        except HostNotFound as error:
            return _Failure("connection", str(error), retry=True, transient=True)
        except EgressRefused as error:
            return _Failure("refused_address", str(error))
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return _Failure("connection", str(error), retry=True, transient=True)
        except httpx.TimeoutException:
            return _Failure("timeout", "No complete reply before the deadline.", transient=True, billed=True)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            return _Failure("connection", str(error), transient=True, billed=True)
        return raw if isinstance(raw, _Failure) else _read_reply(raw)


def _sendable(text: str) -> str:
    """Lone surrogates cannot be sent as UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _status_failure(response: httpx.Response) -> _Failure:
    status = response.status_code
    detail = f"The endpoint answered {status}."
    if 300 <= status < 400:
        return _Failure("redirect", detail)
    if status in FORM_STATUSES:
        return _Failure("status", detail, bad_form=True)
    if status in RETRIED_STATUSES or status >= 500:
        wait = _retry_after(response.headers.get("Retry-After", ""))
        return _Failure("status", detail, retry=True, transient=True, retry_after=wait)
    return _Failure("status", detail)


def _retry_after(value: str) -> float:
    """Seconds from a Retry-After header: whole seconds or an HTTP date. 0 when it is neither."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)


def _read_limited(response: httpx.Response, most: int) -> bytes | _Failure:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        return _Failure("bad_reply", "The reply is compressed although that was refused.", billed=True)
    read = bytearray()
    for chunk in response.iter_raw():
        read += chunk
        if len(read) > most:
            return _Failure("too_large", f"The reply is larger than {most} bytes.", billed=True)
    return bytes(read)


def _read_reply(raw: bytes) -> Reply | _Failure:
    if not raw.strip():
        return _Failure("empty", "The reply has no body.", billed=True)
    try:
        value = json.loads(raw)
        choice = value["choices"][0]
        message = choice["message"]
        text, refusal, finish = message.get("content"), message.get("refusal"), choice.get("finish_reason")
        tokens = choice.get("logprobs")
        usage = value.get("usage")
    except (ValueError, RecursionError, KeyError, IndexError, TypeError, AttributeError):
        return _Failure("bad_reply", "The reply is not a chat completion.", billed=True)
    if not isinstance(text, str):
        text = ""
    return Reply(
        text, _usage(usage), _logprobs(tokens), bool(refusal) or finish == "content_filter", finish == "length"
    )


def _usage(value: Any) -> Usage | None:
    if not isinstance(value, Mapping):
        return None
    counts = [value.get("prompt_tokens"), value.get("completion_tokens")]
    whole = [count for count in counts if isinstance(count, int) and not isinstance(count, bool) and count >= 0]
    return Usage(whole[0], whole[1]) if len(whole) == 2 else None


def _logprobs(value: Any) -> tuple[TokenLogprob, ...]:
    """Log-probs in the chat completion form; none at all when any part of them has another form."""
    try:
        entries = value["content"][:MOST_TOKENS_READ]
        return tuple(
            TokenLogprob(str(entry["token"]), {str(t["token"]): float(t["logprob"]) for t in entry["top_logprobs"]})
            for entry in entries
        )
    except (KeyError, TypeError, ValueError):
        return ()
