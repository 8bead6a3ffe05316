"""Judge calls as rows and money: reserve before a call, settle after it, in one transaction each.

A call is *unreached* when the endpoint could not be used (outage, refused key, time-out): that says nothing of the
instance, so it may be asked again. Every other reply outside the schema is the judge's abstention about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

from django.db.models import Q, Sum
from django.utils import timezone

from feedback.content import text_of
from feedback.exceptions import BudgetExhausted
from feedback.models import AnnotationRequest, Instance, Job, RequestState, Source, Task
from feedback.models.jobs import ENDED
from feedback.services import budget
from routing.judge.calling import CallResult
from routing.judge.config import JudgeConfig, Order, orders_for
from routing.judge.cost import cache_key, instance_hash, worst_case_cost
from routing.judge.parsing import Abstention, ParsedVerdict, Position
from routing.judge.prompts import build_prompt

from ..models import MOST_RAW, CallState, Judge, JudgeCall
from .judges import micros

UNREACHED = frozenset({"timeout", "connection", "status", "redirect", "refused_address", "circuit_open", "cancelled"})


@dataclass(frozen=True)
class Pair:
    """The texts of an instance as a judge is shown them."""

    prompt: tuple[dict[str, str], ...]
    a: str
    b: str

    @classmethod
    def of(cls, instance: Instance) -> Pair | None:
        """The pair of a two-completion instance; ``None`` for any other."""
        texts = instance.completion_texts()
        if len(texts) != 2 or not instance.prompt:
            return None
        prompt = tuple({"role": str(m["role"]), "content": text_of(m["content"])} for m in instance.prompt)
        return cls(prompt, texts[0], texts[1])

    def content(self) -> str:
        return instance_hash(self.prompt, self.a, self.b)


@dataclass
class Question:
    """One instance being put to the judge: the calls to make, those already answered, and what came back."""

    instance: Instance
    pair: Pair
    request: AnnotationRequest | None
    answered: list[JudgeCall] = field(default_factory=list)
    calls: list[JudgeCall] = field(default_factory=list)
    results: dict[int, CallResult] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return len(self.results) == len(self.calls)


def worst_case_micros(config: JudgeConfig, pair: Pair) -> int:
    """The most that one call about this pair can cost."""
    sent = build_prompt(config, pair.prompt, pair.a, pair.b, "ab", Random(0)).sent_bytes
    return micros(worst_case_cost(config, sent))


def most_for_pair(config: JudgeConfig, pair: Pair) -> int:
    """The most that a verdict on this pair can cost, all orders and samples."""
    orders = orders_for(config, pair.content())
    return worst_case_micros(config, pair) * len(orders) * config.samples


def wanted_calls(config: JudgeConfig, pair: Pair) -> dict[str, tuple[Order, int]]:
    """Cache key → (order, sample) of every call that a verdict needs."""
    content = pair.content()
    return {
        cache_key(config, content, order, sample): (order, sample)
        for order in orders_for(config, content)
        for sample in range(config.samples)
    }


def lock(judge: Judge, task: Task) -> None:
    """Serialise reservations of one judge and money of one task; call it first in the transaction that reserves."""
    Judge.objects.select_for_update(no_key=True).get(pk=judge.pk)
    budget.lock(task)


def reserve_calls(judge: Judge, task: Task, question: Question, job: Job) -> bool:
    """Write the calls that are missing, with their money reserved. False when another job has one in flight.

    Call it in a transaction after :func:`lock`. Raises BudgetExhausted; then nothing was written.
    """
    config = judge.parsed
    wanted = wanted_calls(config, question.pair)
    known = JudgeCall.objects.filter(
        judge=judge, cache_key__in=wanted, state__in=[CallState.RESERVED, CallState.SETTLED]
    )
    rows = {call.cache_key: call for call in known}
    if any(call.state == CallState.RESERVED for call in rows.values()):
        return False
    missing = {key: call for key, call in wanted.items() if key not in rows}
    each = worst_case_micros(config, question.pair) if missing else 0
    _check_judge_cap(judge, config, each * len(missing))
    _move_money(task, question.request, each * len(missing))
    question.answered = list(rows.values())
    question.calls = [
        JudgeCall.objects.create(
            judge=judge,
            instance=question.instance,
            job=job,
            fence=job.fence,
            order=order,
            sample=sample,
            cache_key=key,
            reserved_micros=each,
        )
        for key, (order, sample) in missing.items()
    ]
    return True


def _check_judge_cap(judge: Judge, config: JudgeConfig, needed: int) -> None:
    if config.budget_cap is None or not needed:
        return
    calls = JudgeCall.objects.filter(judge=judge)
    spent = calls.exclude(state=CallState.RESERVED).aggregate(sum=Sum("cost_micros"))["sum"] or 0
    held = calls.filter(state=CallState.RESERVED).aggregate(sum=Sum("reserved_micros"))["sum"] or 0
    if spent + held + needed > micros(config.budget_cap):
        raise BudgetExhausted("The judge's own cap does not cover another call.")


def _move_money(task: Task, request: AnnotationRequest | None, needed: int) -> None:
    """Reserve ``needed``, first from what a plan's request already holds."""
    held = request.price_micros if request else 0
    if needed > held:
        budget.reserve(task, needed - held)
    elif held > needed:
        budget.release(task, held - needed)
    if request and held:
        request.price_micros = 0
        request.save(update_fields=["price_micros"])


def open_request(judge: Judge, instance_ids: Sequence[int]) -> dict[int, AnnotationRequest]:
    """The open request to this judge by instance id. Call it after :func:`lock`: what it holds is about to be spent."""
    pending = AnnotationRequest.objects.filter(
        instance__in=instance_ids, source=Source.JUDGE, judge=judge.annotator_id, state=RequestState.OPEN
    )
    return {request.instance_id: request for request in pending}


def settle_calls(judge: Judge, task: Task, question: Question, secret: str) -> int:
    """Store what the calls of a question gave and turn their reservations into cost. Returns the cost in micros.

    A call that is no longer in flight (its job was given up meanwhile and counted it as lost) is left alone.
    """
    reserved = spent = 0
    for call in question.calls:
        _fill(call, question.results[call.pk], secret)
        if _store_end(call):
            reserved, spent = reserved + call.reserved_micros, spent + call.cost_micros
    budget.settle(task, reserved_micros=reserved, spent_micros=spent)
    return spent


def _fill(call: JudgeCall, result: CallResult, secret: str) -> None:
    unreached = result.parse_status in UNREACHED
    call.state = CallState.FAILED if unreached else CallState.SETTLED
    call.raw = _without(secret, result.raw)[:MOST_RAW]
    call.parse_status = result.parse_status
    call.error = _without(secret, result.outcome.detail)[:300] if isinstance(result.outcome, Abstention) else ""
    if isinstance(result.outcome, ParsedVerdict):
        call.rationale = _without(secret, result.outcome.reason)[:4000]
        call.attention = result.outcome.attention
    call.p_a, call.strength_a = result.p_a, result.strength_a
    if result.usage:
        call.tokens_in = min(result.usage.prompt_tokens, 2**31 - 1)
        call.tokens_out = min(result.usage.completion_tokens, 2**31 - 1)
    call.cost_micros = min(micros(result.cost), call.reserved_micros)
    call.cost_measured = result.cost_measured
    call.latency_ms, call.tries = int(result.latency * 1000), result.tries


def _without(secret: str, text: str) -> str:
    """An endpoint that echoes the key must not bring it into a row."""
    return text.replace(secret, "[key]") if secret else text


def _store_end(call: JudgeCall) -> bool:
    call.ended_at = timezone.now()
    fields = (
        "state", "raw", "parse_status", "error", "rationale", "attention", "p_a", "strength_a", "tokens_in",
        "tokens_out", "cost_micros", "cost_measured", "latency_ms", "tries", "ended_at",
    )  # fmt: skip
    in_flight = JudgeCall.objects.filter(pk=call.pk, state=CallState.RESERVED)
    return bool(in_flight.update(**{name: getattr(call, name) for name in fields}))


def results_of(question: Question) -> list[CallResult]:
    """Everything known of a pair: what was asked now, and what had been answered before."""
    return [*question.results.values(), *(_result_of(call, question.instance) for call in question.answered)]


def _result_of(call: JudgeCall, instance: Instance) -> CallResult:
    """A stored call as the result it was. Its cost counts only for the instance that paid it."""
    order: Order = "ab" if call.order == "ab" else "ba"
    outcome: ParsedVerdict | Abstention = Abstention(call.parse_status, call.error)  # type: ignore[arg-type]
    if call.p_a is not None and call.strength_a is not None:
        sign = 1.0 if order == "ab" else -1.0
        p_first = call.p_a if order == "ab" else 1.0 - call.p_a
        outcome = ParsedVerdict(_position(p_first), p_first, sign * call.strength_a, call.rationale, call.attention)
    own = call.instance_id == instance.pk
    return CallResult(
        order=order,
        sample=call.sample,
        outcome=outcome,
        raw=call.raw,
        usage=None,
        cost=Decimal(call.cost_micros) / budget.MICROS if own else Decimal(0),
        cost_measured=call.cost_measured,
        latency=call.latency_ms / 1000,
        tries=call.tries,
        transient=False,
        cache_key=call.cache_key,
    )


def _position(p_first: float) -> Position:
    return "tie" if p_first == 0.5 else "first" if p_first > 0.5 else "second"


def give_up(task: Task, calls: Sequence[JudgeCall], *, sent: bool) -> None:
    """End calls that will never be heard of: at their worst case when they were sent, at nothing when they were not."""
    reserved = spent = 0
    for call in calls:
        cost = call.reserved_micros if sent else 0
        in_flight = JudgeCall.objects.filter(pk=call.pk, state=CallState.RESERVED)
        state = CallState.LOST if sent else CallState.FAILED
        if in_flight.update(state=state, cost_micros=cost, parse_status=state, ended_at=timezone.now()):
            reserved, spent = reserved + call.reserved_micros, spent + cost
    budget.settle(task, reserved_micros=reserved, spent_micros=spent)


def end_lost_calls(task: Task, job: Job) -> int:
    """Settle the calls that a dead worker left in flight, at their worst case. Returns how many.

    They may have been billed: counting them too low could pass the cap, and asking for them again is a new call. At
    most the calls of :data:`routing.services.judging.IN_FLIGHT` instances are lost by one crash.
    """
    orphaned = Q(job=None) | Q(job__state__in=ENDED) | Q(job=job, fence__lt=job.fence)
    lost = list(JudgeCall.objects.filter(orphaned, state=CallState.RESERVED, instance__task=task).order_by("pk"))
    give_up(task, lost, sent=True)
    return len(lost)
