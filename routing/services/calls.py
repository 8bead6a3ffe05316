"""Judge calls as rows and money: reserve before a call, settle after it, in one transaction each.

A call is *unreached* when the endpoint could not be used (outage, refused key, time-out): that says nothing of the
instance, so it may be asked again. Every other reply outside the schema is the judge's abstention about it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from django.db.models import Q, Sum
from django.utils import timezone

from feedback.exceptions import BudgetExhausted
from feedback.models import AnnotationRequest, Instance, Job, RequestState, Source, Task
from feedback.models.jobs import ENDED
from feedback.services import budget
from routing.judge.asking import Material
from routing.judge.calling import CallResult
from routing.judge.config import JudgeConfig, Order
from routing.judge.outcome import Abstention, ParsedVerdict, Position
from routing.judge.said import Said

from ..models import MOST_RAW, CallState, Judge, JudgeCall
from .asking import Call
from .judges import micros

UNREACHED = frozenset({"timeout", "connection", "status", "redirect", "refused_address", "circuit_open", "cancelled"})


@dataclass
class Question:
    """One instance being put to the judge: the calls to make, those already answered, and what came back.

    ``keeps`` says that the request's money is for more than these calls (a panel's), so that the rest stays held.
    """

    instance: Instance
    material: Material
    request: AnnotationRequest | None
    answered: list[JudgeCall] = field(default_factory=list)
    calls: list[JudgeCall] = field(default_factory=list)
    results: dict[int, CallResult] = field(default_factory=dict)
    keeps: bool = False

    @property
    def complete(self) -> bool:
        return len(self.results) == len(self.calls)


def lock(judge: Judge, task: Task) -> None:
    """Serialise reservations of one judge and money of one task; call it first in the transaction that reserves."""
    Judge.objects.select_for_update(no_key=True).get(pk=judge.pk)
    budget.lock(task)


class Asks(Protocol):
    """What is put to a judge about an instance: for a verdict, or for tags."""

    @property
    def judge(self) -> Judge: ...
    @property
    def config(self) -> JudgeConfig: ...
    def wanted(self, material: Material) -> dict[str, Call]: ...
    def worst_case_micros(self, material: Material) -> int: ...


def reserve_calls(asking: Asks, task: Task, question: Question, job: Job) -> bool:
    """Write the calls that are missing, with their money reserved. False when another job has one in flight.

    Call it in a transaction after :func:`lock`. Raises BudgetExhausted; then nothing was written.
    """
    judge = asking.judge
    wanted = asking.wanted(question.material)
    known = JudgeCall.objects.filter(
        judge=judge, cache_key__in=wanted, state__in=[CallState.RESERVED, CallState.SETTLED]
    )
    rows = {call.cache_key: call for call in known}
    if any(call.state == CallState.RESERVED for call in rows.values()):
        return False
    missing = {key: call for key, call in wanted.items() if key not in rows}
    each = asking.worst_case_micros(question.material) if missing else 0
    _check_judge_cap(judge, asking.config, each * len(missing))
    _move_money(task, question, each * len(missing))
    question.answered = list(rows.values())
    question.calls = [
        JudgeCall.objects.create(
            judge=judge,
            instance=question.instance,
            job=job,
            fence=job.fence,
            order=call.order,
            sample=call.sample,
            part=call.part,
            dimension=call.dimension,
            cache_key=key,
            reserved_micros=each,
        )
        for key, call in missing.items()
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


def _move_money(task: Task, question: Question, needed: int) -> None:
    """Reserve ``needed``, first from what a plan's request already holds; what is over goes back unless it is kept."""
    request = question.request
    held = request.price_micros if request else 0
    if needed > held:
        budget.reserve(task, needed - held)
    elif held > needed and not question.keeps:
        budget.release(task, held - needed)
    if request and held:
        request.price_micros = max(held - needed, 0) if question.keeps else 0
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
        said = _without(secret, result.outcome.said.model_dump_json(exclude_defaults=True))
        call.said = json.loads(said)
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
        "state", "raw", "parse_status", "error", "rationale", "attention", "said", "p_a", "strength_a", "tokens_in",
        "tokens_out", "cost_micros", "cost_measured", "latency_ms", "tries", "ended_at",
    )  # fmt: skip
    in_flight = JudgeCall.objects.filter(pk=call.pk, state=CallState.RESERVED)
    return bool(in_flight.update(**{name: getattr(call, name) for name in fields}))


def results_of(question: Question) -> list[CallResult]:
    """Everything known of a pair: what was asked now, and what had been answered before."""
    return [*question.results.values(), *map(_result_of, question.answered)]


def _result_of(call: JudgeCall) -> CallResult:
    """A stored call as the result it was. Its cost counts in the verdict that it was made for, and in no later one."""
    order: Order = "ab" if call.order == "ab" else "ba"
    outcome: ParsedVerdict | Abstention = Abstention(call.parse_status, call.error)  # type: ignore[arg-type]
    if call.parse_status == "ok":
        outcome = _verdict_of(call, order)
    return CallResult(
        order=order,
        sample=call.sample,
        outcome=outcome,
        raw=call.raw,
        usage=None,
        cost=Decimal(0),
        cost_measured=call.cost_measured,
        latency=call.latency_ms / 1000,
        tries=call.tries,
        transient=False,
        cache_key=call.cache_key,
        part=call.part,
    )


def _verdict_of(call: JudgeCall, order: Order) -> ParsedVerdict:
    said, sign = Said.model_validate(call.said), 1.0 if order == "ab" else -1.0
    if call.p_a is None or call.strength_a is None:
        return ParsedVerdict(None, None, 0.0, call.rationale, call.attention, said)
    p_first = call.p_a if order == "ab" else 1.0 - call.p_a
    return ParsedVerdict(_position(p_first), p_first, sign * call.strength_a, call.rationale, call.attention, said)


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
