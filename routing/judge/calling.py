"""One call to a judge, from texts to a result that can be stored."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from random import Random

from routing.judge.backends import Backend, JudgeCallError, JudgeRequest, Reply, Usage
from routing.judge.config import JudgeConfig, Order
from routing.judge.cost import actual_cost, cache_key, instance_hash, worst_case_cost
from routing.judge.parsing import Abstention, ParsedVerdict, parse_reply
from routing.judge.prompts import JudgePrompt, build_prompt, render_messages

# PostgreSQL stores neither NUL nor lone surrogates.
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True)
class CallResult:
    """What one call gave. `cost` is measured from usage, or the worst case where `cost_measured` is false.

    `transient` means that the judge could not be asked (outage, deadline): asking later may help.
    """

    order: Order
    sample: int
    outcome: ParsedVerdict | Abstention
    raw: str
    usage: Usage | None
    cost: Decimal
    cost_measured: bool
    latency: float
    tries: int
    transient: bool
    cache_key: str

    @property
    def p_a(self) -> float | None:
        """P(completion a preferred), or None for an abstention."""
        return self.outcome.p_a(self.order) if isinstance(self.outcome, ParsedVerdict) else None

    @property
    def strength_a(self) -> float | None:
        """Strength signed towards a, −2…+2, or None for an abstention."""
        if not isinstance(self.outcome, ParsedVerdict):
            return None
        return self.outcome.strength if self.order == "ab" else -self.outcome.strength

    @property
    def parse_status(self) -> str:
        """`ok`, or the reason of the abstention."""
        return "ok" if isinstance(self.outcome, ParsedVerdict) else self.outcome.reason


def judge_pair(
    config: JudgeConfig,
    backend: Backend,
    prompt: str | Sequence[Mapping[str, str]],
    a: str,
    b: str,
    order: Order,
    nonce_rng: Random,
    *,
    instance_key: str = "",
    sample: int = 0,
) -> CallResult:
    """Ask the judge once about completions a and b in the given order. Never raises for what the endpoint does.

    `prompt` is text or chat messages (`role`, `content`). `instance_key` seeds a simulated judge (else the hash).
    `nonce_rng` must not be predictable by whoever writes completions: pass `random.SystemRandom()` outside tests.
    """
    content = instance_hash(prompt, a, b)
    shown = build_prompt(config, prompt, a, b, order, nonce_rng)
    first, second = (a, b) if order == "ab" else (b, a)
    request = JudgeRequest(
        config, shown, render_messages(prompt), first, second, order, instance_key or content, sample
    )
    key = cache_key(config, content, order, sample)
    started = time.monotonic()
    try:
        reply = backend.complete(request)
    except JudgeCallError as error:
        return _failed(config, shown, error, order, sample, time.monotonic() - started, key)
    cost, measured = actual_cost(config, reply.usage, shown.sent_bytes)
    return CallResult(
        order=order,
        sample=sample,
        outcome=_storable_outcome(_read(reply, config)),
        raw=_storable(reply.text),
        usage=reply.usage,
        cost=cost,
        cost_measured=measured,
        latency=time.monotonic() - started,
        tries=reply.tries,
        transient=False,
        cache_key=key,
    )


def _failed(
    config: JudgeConfig, shown: JudgePrompt, error: JudgeCallError, order: Order, sample: int, latency: float, key: str
) -> CallResult:
    cost = worst_case_cost(config, shown.sent_bytes) if error.billed else Decimal(0)
    return CallResult(
        order=order,
        sample=sample,
        outcome=Abstention(error.reason, _storable(error.detail)),
        raw="",
        usage=None,
        cost=cost,
        cost_measured=not error.billed,
        latency=latency,
        tries=error.tries,
        transient=error.transient,
        cache_key=key,
    )


def _read(reply: Reply, config: JudgeConfig) -> ParsedVerdict | Abstention:
    if reply.refused:
        return Abstention("refusal")
    outcome = parse_reply(reply.text, config, reply.logprobs)
    if isinstance(outcome, Abstention) and reply.truncated:
        return Abstention("truncated")
    return outcome


def _storable(text: str) -> str:
    return UNSTORABLE.sub("\ufffd", text)


def _storable_outcome(outcome: ParsedVerdict | Abstention) -> ParsedVerdict | Abstention:
    if isinstance(outcome, Abstention):
        return Abstention(outcome.reason, _storable(outcome.detail))
    return ParsedVerdict(
        outcome.position, outcome.p_first, outcome.strength, _storable(outcome.reason), outcome.attention
    )
