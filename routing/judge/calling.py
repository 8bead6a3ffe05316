"""One call to a judge, from texts to a result that can be stored."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random

from routing.judge.asking import Ask, Material, View, view_of
from routing.judge.backends import Backend, JudgeCallError, JudgeRequest, Reply, Usage
from routing.judge.config import JudgeConfig, Order
from routing.judge.cost import actual_cost, cache_key, worst_case_cost
from routing.judge.outcome import Abstention, ParsedVerdict, storable
from routing.judge.parsing import parse_reply
from routing.judge.prompts import JudgePrompt, build_prompt
from routing.judge.tagging import Dimension, read_tags, tagging_key, tagging_prompt


@dataclass(frozen=True)
class CallResult:
    """What one call gave, about all completions or the one at `part`.

    `cost` is measured from usage, or the worst case where `cost_measured` is false. `transient` means that the judge
    could not be asked (outage, deadline): asking later may help.
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
    part: int | None = None

    @property
    def answered(self) -> bool:
        """Whether the reply said what was asked; otherwise it is an abstention."""
        return isinstance(self.outcome, ParsedVerdict)

    @property
    def p_a(self) -> float | None:
        """P(completion a preferred); None for an abstention, and where no two were compared."""
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


def judge(
    config: JudgeConfig,
    ask: Ask,
    backend: Backend,
    material: Material,
    order: Order,
    nonce_rng: Random,
    *,
    instance_key: str = "",
    sample: int = 0,
    part: int | None = None,
) -> CallResult:
    """Ask the judge once about an instance in the given order. Never raises for what the endpoint does.

    `instance_key` seeds a simulated judge (else the content's hash). `nonce_rng` must not be predictable by whoever
    writes completions: pass `random.SystemRandom()` outside tests.
    """
    content, view = material.content(), view_of(material, order, part)
    shown = build_prompt(config, ask, material, order, nonce_rng, part)
    request = JudgeRequest(config, ask, shown, material, view, order, instance_key or content, sample)
    key = cache_key(config, ask, content, order, sample, part)
    result = _asked(backend, request, key, lambda reply: _read(reply, config, ask, view))
    return replace(result, part=part)


def tag(
    config: JudgeConfig, backend: Backend, material: Material, dimension: Dimension, nonce_rng: Random
) -> CallResult:
    """Ask once what a prompt is in one dimension; `config` is a :func:`tagging_config`. Never raises, as `judge`."""
    shown = tagging_prompt(dimension, material, nonce_rng)
    view = View((), ())
    request = JudgeRequest(config, Ask(), shown, material, view, "ab", material.content(), dimension=dimension)

    def read(reply: Reply) -> ParsedVerdict | Abstention:
        if reply.refused:
            return Abstention("refusal")
        outcome = read_tags(reply.text, dimension)
        return Abstention("truncated") if isinstance(outcome, Abstention) and reply.truncated else outcome

    return _asked(backend, request, tagging_key(config, dimension, material), read)


def _asked(
    backend: Backend, request: JudgeRequest, key: str, read: Callable[[Reply], ParsedVerdict | Abstention]
) -> CallResult:
    config, sent = request.config, request.prompt.sent_bytes
    started = time.monotonic()
    try:
        reply = backend.complete(request)
    except JudgeCallError as error:
        latency = time.monotonic() - started
        return _failed(config, request.prompt, error, request.order, request.sample, latency, key)
    cost, measured = actual_cost(config, reply.usage, sent)
    return CallResult(
        order=request.order,
        sample=request.sample,
        outcome=read(reply),
        raw=storable(reply.text),
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
        outcome=Abstention(error.reason, storable(error.detail)),
        raw="",
        usage=None,
        cost=cost,
        cost_measured=not error.billed,
        latency=latency,
        tries=error.tries,
        transient=error.transient,
        cache_key=key,
    )


def _read(reply: Reply, config: JudgeConfig, ask: Ask, view: View) -> ParsedVerdict | Abstention:
    if reply.refused:
        return Abstention("refusal")
    outcome = parse_reply(reply.text, config, reply.logprobs, ask=ask, view=view)
    if isinstance(outcome, Abstention) and reply.truncated:
        return Abstention("truncated")
    return outcome
