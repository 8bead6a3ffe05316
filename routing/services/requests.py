"""Requests for annotations: what decisions become. Money is reserved with the request that promises it.

What stands reserved in a task's budget is always: price × (wanted − received) of its open requests to people, plus the
price of its open requests to judges, plus what its judge calls in flight hold. Everything here works on many instances
at once and belongs in a transaction that begins with ``budget.lock``.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Self

from django.db import transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from feedback.exceptions import WrongState
from feedback.models import (
    Annotation,
    AnnotationRequest,
    Annotator,
    Assignment,
    Instance,
    RequestState,
    Source,
    Task,
)
from feedback.services import budget, payments
from feedback.services.datasets import PLAN
from feedback.services.people import annotators_with
from feedback.services.queue import line

from ..models import PILOT, RoutingDecision, RoutingPlan

AT_ONCE = 500
LABELS = (1, 9)
"""How many people may be asked for one instance."""


@dataclass(frozen=True)
class Terms:
    """On what terms people are asked: the skill they need, if any, and the price of a label (the task's, unless given).

    ``people`` are the annotators who have the skill; of everybody else's labels and leases nothing counts.
    """

    skill: str = ""
    price_micros: int | None = None
    people: tuple[int, ...] = ()

    @classmethod
    def of(cls, task: Task, skill: str, price_micros: int) -> Self:
        return cls(skill, price_micros, tuple(annotators_with(task.project, skill)) if skill else ())


ANYBODY = Terms()


def batches(ids: Iterable[int]) -> Iterator[list[int]]:
    """Ids in ascending lists that fit one query; ascending, so that two transactions lock in one order."""
    ordered = iter(sorted(ids))
    while batch := list(islice(ordered, AT_ONCE)):
        yield batch


def ask_people(
    task: Task, labels: Mapping[int, int], *, origin: str, terms: Terms = ANYBODY
) -> tuple[dict[int, AnnotationRequest], int]:
    """See to it that ``labels[instance id]`` people annotate each instance, those who already did included.

    Opens only the slots and reserves only the money that are missing. What is asked already on other terms stays so.
    Returns the request of each instance and what was reserved. Raises BudgetExhausted, and WrongState where an instance
    asks for another skill by itself; then roll back.
    """
    made: dict[int, AnnotationRequest] = {}
    reserved = 0
    number = line.number_of(task.pk) if line.announce(task.pk, len(labels)) else F("returned")
    for batch in batches(labels):
        lock_instances(batch)
        missing = {pk: max(labels[pk] - count, 0) for pk, count in _answered(batch, terms).items()}
        pending = _pending(batch, Source.HUMAN)
        reserved += _widen(pending, missing)
        needs = _need_skill([pk for pk in batch if pk not in pending and missing[pk]], terms)
        new = [
            _human_request(task, pk, labels[pk], missing[pk], origin, terms, pk in needs)
            for pk in batch
            if pk not in pending
        ]
        reserved += sum(request.price_micros * (request.wanted - request.received) for request in new)
        made |= pending | {request.instance_id: request for request in AnnotationRequest.objects.bulk_create(new)}
        _open_slots(missing, number, terms)
    budget.reserve(task, reserved)
    return made, reserved


def _need_skill(ids: Sequence[int], terms: Terms) -> set[int]:
    """Let these instances ask for the skill; returns those that did not by themselves."""
    if not terms.skill or not ids:
        return set()
    asking = dict(Instance.objects.filter(pk__in=ids).values_list("pk", "skill"))
    if others := {skill for skill in asking.values() if skill not in ("", terms.skill)}:
        raise WrongState(f"An instance asks for {min(others)}, and this plan for {terms.skill}: make the plan anew.")
    needs = {pk for pk, skill in asking.items() if not skill}
    Instance.objects.filter(pk__in=needs).update(skill=terms.skill)
    return needs


def with_skill_asked(task: Task) -> set[int]:
    """The instances that ask for a skill only until the request for it ends."""
    asked = AnnotationRequest.objects.filter(instance__task=task, source=Source.HUMAN, state=RequestState.OPEN)
    return set(asked.exclude(skill="").values_list("instance_id", flat=True))


def of_plan(plan: RoutingPlan) -> QuerySet[AnnotationRequest]:
    """The requests behind a plan's decisions: its own, and those that it kept of an earlier plan."""
    decided = RoutingDecision.objects.filter(plan=plan, request=OuterRef("pk"))
    return AnnotationRequest.objects.filter(Q(origin=plan.origin) | Exists(decided), instance__task=plan.task_id)


def asked_of_people(plan: RoutingPlan) -> int:
    """Instances that this plan asked people for. A request whose labels were there before it was done when it was
    made; its price does not tell, since people may work for nothing."""
    human = plan.decisions.current().filter(request__source=Source.HUMAN)
    return human.exclude(request__ended_at__lte=F("request__created_at"), request__state=RequestState.DONE).count()


def of_plans(task: Task) -> QuerySet[AnnotationRequest]:
    """The open requests of a task's plans, which a later plan may withdraw; a pilot's always stay."""
    pilots = RoutingPlan.objects.filter(task=task, strategy=PILOT).values_list("public_id", flat=True)
    pending = AnnotationRequest.objects.filter(instance__task=task, state=RequestState.OPEN, origin__startswith=PLAN)
    return pending.exclude(origin__in=[f"{PLAN}{name}" for name in pilots])


def lock_instances(batch: Sequence[int]) -> None:
    """Keep slots and lending of these instances as they are until the transaction ends; references stay possible."""
    rows = Instance.objects.select_for_update(no_key=True).filter(pk__in=batch).order_by("pk")
    list(rows.values_list("pk", flat=True))


def _answered(batch: Sequence[int], terms: Terms) -> dict[int, int]:
    """How many people annotated each instance, of those whom the terms speak of."""
    live = Q(annotations__state="submitted", annotations__source=Source.HUMAN)
    if terms.skill:
        live &= Q(annotations__annotator__in=terms.people)
    counts = Instance.objects.filter(pk__in=batch).annotate(count=Count("annotations", filter=live))
    return dict(counts.values_list("pk", "count"))


def _pending(batch: Sequence[int], source: Source) -> dict[int, AnnotationRequest]:
    rows = AnnotationRequest.objects.select_for_update(no_key=True).filter(
        instance__in=batch, source=source, state=RequestState.OPEN
    )
    return {request.instance_id: request for request in rows}


def _widen(pending: Mapping[int, AnnotationRequest], missing: Mapping[int, int]) -> int:
    """Raise ``wanted`` of requests that are already open to what is missing; returns the money that takes."""
    reserved = 0
    for pk, request in pending.items():
        more = missing[pk] - (request.wanted - request.received)
        if more > 0:
            request.wanted += more
            request.save(update_fields=["wanted"])
            reserved += more * request.price_micros
    return reserved


def _human_request(
    task: Task, pk: int, labels: int, missing: int, origin: str, terms: Terms, needs_skill: bool
) -> AnnotationRequest:
    """Where nothing is missing the request is done from the start, and free."""
    price = task.human_price_micros if terms.price_micros is None else terms.price_micros
    return AnnotationRequest(
        instance_id=pk,
        source=Source.HUMAN,
        wanted=missing or labels,
        received=0 if missing else labels,
        price_micros=price if missing else 0,
        skill=terms.skill if needs_skill else "",
        state=RequestState.OPEN if missing else RequestState.DONE,
        ended_at=None if missing else timezone.now(),
        origin=origin,
    )


def _lent(batch: Iterable[int], terms: Terms = ANYBODY) -> dict[int, int]:
    lent = Assignment.objects.lent().filter(instance__in=list(batch))
    if terms.skill:
        lent = lent.filter(annotator__in=terms.people)
    counts = lent.order_by().values("instance")
    return dict(counts.annotate(count=Count("pk")).values_list("instance", "count"))


def _open_slots(missing: Mapping[int, int], number: Subquery | F, terms: Terms = ANYBODY) -> None:
    """Open what is missing beyond the slots that are open and the instances that are lent."""
    lent = _lent(missing, terms)
    by_number: dict[int, list[int]] = defaultdict(list)
    for pk, slots in Instance.objects.filter(pk__in=missing).values_list("pk", "open_slots"):
        by_number[missing[pk] - slots - lent.get(pk, 0)].append(pk)
    for more, pks in by_number.items():
        if more > 0:
            Instance.objects.filter(pk__in=pks).update(open_slots=F("open_slots") + more, returned=number)


def reopen() -> int:
    """Open the slots that open requests to people lack; for the beat. Returns how many instances had too few.

    A person who submits at the moment in which a plan asks for their instance is still at work for the plan and asked
    by nobody for the submit: that request would wait for a slot that nobody opens. Doing it again changes nothing.
    """
    found: dict[Task, list[int]] = defaultdict(list)
    for request in _short().select_related("instance__task")[:AT_ONCE]:
        found[request.instance.task].append(request.instance_id)
    return sum(_reopen(task, ids) for task, ids in found.items())


def _short() -> QuerySet[AnnotationRequest]:
    """Open requests that wait for more people than may still begin or are at work."""
    lent = Assignment.objects.lent().filter(instance=OuterRef("instance")).order_by().values("instance")
    at_work = Coalesce(Subquery(lent.annotate(count=Count("pk")).values("count")), 0)
    waiting = AnnotationRequest.objects.filter(source=Source.HUMAN, state=RequestState.OPEN, instance__removed_at=None)
    slotless = waiting.filter(wanted__gt=F("received") + F("instance__open_slots"))
    return slotless.filter(wanted__gt=F("received") + F("instance__open_slots") + at_work).order_by("instance_id")


@transaction.atomic
def _reopen(task: Task, ids: Sequence[int]) -> int:
    """Looks again with purse and instances locked: what is lent or answered meanwhile is short no more."""
    budget.lock(task)
    number = line.number_of(task.pk) if line.announce(task.pk, len(ids)) else F("returned")
    lock_instances(ids)
    missing = {one.instance_id: one.wanted - one.received for one in _short().filter(instance__in=ids)}
    _open_slots(missing, number)
    return len(missing)


def ask_judge(
    task: Task, worst_case: Mapping[int, int], judge: Annotator, *, origin: str
) -> tuple[dict[int, AnnotationRequest], int]:
    """Ask a judge for each instance: done at once where it has annotated, else its worst case is reserved.

    Returns the request of each instance and what was reserved. Raises BudgetExhausted; then roll back.
    """
    made: dict[int, AnnotationRequest] = {}
    reserved = 0
    for batch in batches(worst_case):
        said = Annotation.objects.live().filter(instance__in=batch, annotator=judge)
        done = set(said.values_list("instance", flat=True))
        pending = _pending(batch, Source.JUDGE)
        kept = {pk: request for pk, request in pending.items() if request.judge_id == judge.pk and pk not in done}
        withdraw(task, [request for pk, request in pending.items() if pk not in kept])
        new = [_judge_request(pk, judge, origin, worst_case[pk], pk in done) for pk in batch if pk not in kept]
        reserved += sum(request.price_micros for request in new)
        made |= kept | {request.instance_id: request for request in AnnotationRequest.objects.bulk_create(new)}
    budget.reserve(task, reserved)
    return made, reserved


def _judge_request(pk: int, judge: Annotator, origin: str, price: int, done: bool) -> AnnotationRequest:
    return AnnotationRequest(
        instance_id=pk,
        source=Source.JUDGE,
        judge=judge,
        received=int(done),
        price_micros=0 if done else price,
        state=RequestState.DONE if done else RequestState.OPEN,
        ended_at=timezone.now() if done else None,
        origin=origin,
    )


def withdraw(task: Task, requests: Sequence[AnnotationRequest]) -> int:
    """Take open requests back as far as nobody works on them; their money is released. Returns how much.

    Instances already lent stay lent, and their request keeps room for them. Call it after ``budget.lock``.
    """
    if any(request.skill for request in requests):
        line.reform(task.pk)
    for batch in batches(request.instance_id for request in requests):
        lock_instances(batch)
    lent = _lent(request.instance_id for request in requests)
    released = 0
    for request in requests:
        if request.source == Source.JUDGE:
            _end(task, request, RequestState.WITHDRAWN)
            released += request.price_micros
        else:
            released += _withdraw_from_people(task, request, lent.get(request.instance_id, 0))
    budget.release(task, released)
    return released


def _withdraw_from_people(task: Task, request: AnnotationRequest, lent: int) -> int:
    kept = min(request.wanted, request.received + lent)
    dropped = request.wanted - kept
    if kept:
        request.wanted = kept
        request.save(update_fields=["wanted"])
    if kept == request.received:
        # a request that nobody answered keeps its `wanted`: the row tells what was asked
        _end(task, request, RequestState.DONE if request.received else RequestState.WITHDRAWN)
    _close_slots(request.instance_id, dropped)
    return dropped * request.price_micros


def _close_slots(instance_id: int, count: int) -> None:
    slots = Instance.objects.values_list("open_slots", flat=True).get(pk=instance_id)
    Instance.objects.filter(pk=instance_id).update(open_slots=F("open_slots") - min(slots, count))


def _end(task: Task, request: AnnotationRequest, state: RequestState) -> None:
    request.state, request.ended_at = state, timezone.now()
    request.save(update_fields=["state", "ended_at"])
    payments.lift_skill(task, request)
