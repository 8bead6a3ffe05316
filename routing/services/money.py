"""Where a plan's money stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, Min, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.expressions import Combinable

from feedback.models import Annotation, AnnotationRequest, RequestState, Source

from ..models import CallState, Judge, JudgeCall, RoutingDecision, RoutingPlan
from .requests import of_plan


@dataclass(frozen=True)
class PlanMoney:
    """Where a plan's money stands, in micros. ``left`` may still be spent, or is not needed."""

    spent: int
    reserved: int
    left: int


def plan_money(plan: RoutingPlan) -> PlanMoney:
    """What the requests behind this plan's decisions cost and still hold, those kept from an earlier plan included.

    A request that a later plan keeps is that plan's from then on: it holds its money, and pays the labels that follow.
    """
    since = plan.applied_at or plan.created_at
    taken = RoutingDecision.objects.filter(request=OuterRef("pk"), plan__applied_at__gt=since).exclude(plan=plan)
    first = taken.order_by().values("request").annotate(at=Min("plan__applied_at")).values("at")
    rows = of_plan(plan).annotate(taken_at=Subquery(first))
    own = rows.filter(taken_at=None)
    human, judge = own.filter(source=Source.HUMAN), own.filter(source=Source.JUDGE)
    verdicts = judge.filter(state__in=[RequestState.DONE, RequestState.ABSTAINED])
    waiting = F("price_micros") * (F("wanted") - F("received"))
    spent = (
        _sum(human.filter(origin=plan.origin), F("price_micros") * F("received"))
        + _sum(verdicts, F("price_micros"))
        + _paid_while(since, human.exclude(origin=plan.origin))
        + _paid_while(since, rows.filter(source=Source.HUMAN, taken_at__isnull=False))
    )
    awaited = judge.filter(state=RequestState.OPEN)
    paid, held = _under_way(plan, awaited)
    spent += paid
    reserved = _sum(human.filter(state=RequestState.OPEN), waiting) + _sum(awaited, F("price_micros")) + held
    return PlanMoney(spent, reserved, max(plan.budget_micros - spent - reserved, 0))


def _under_way(plan: RoutingPlan, awaited: QuerySet[AnnotationRequest]) -> tuple[int, int]:
    """What calls for verdicts that are awaited have cost, and what those in flight hold, which their requests hold no
    longer."""
    judge = Judge.objects.filter(annotator=plan.judge_id).first()
    if judge is None:
        return 0, 0
    made = calls_for(judge).filter(
        instance__requests__in=awaited.values("pk"), created_at__gte=F("instance__requests__created_at")
    )
    flying = Q(state=CallState.RESERVED)
    sums = made.aggregate(paid=Sum("cost_micros", filter=~flying), held=Sum("reserved_micros", filter=flying))
    return int(sums["paid"] or 0), int(sums["held"] or 0)


def calls_for(judge: Judge) -> QuerySet[JudgeCall]:
    """The calls that a judge's verdicts are made of: a panel's are those of its members. Tagging is not among them."""
    members = judge.parsed.members
    judges = Judge.objects.filter(public_id__in=members) if members else [judge.pk]
    return JudgeCall.objects.filter(judge__in=judges, dimension="")


def _sum(rows: QuerySet[AnnotationRequest], micros: Combinable) -> int:
    return int(rows.aggregate(sum=Sum(micros))["sum"] or 0)


def _paid_while(since: datetime, shared: QuerySet[AnnotationRequest]) -> int:
    """What requests that several plans wanted paid people while they were one's own: until they were taken over, or
    people were asked once more, which one does when a request has ended."""
    later = AnnotationRequest.objects.filter(
        instance=OuterRef("instance"), source=Source.HUMAN, created_at__gt=OuterRef("created_at")
    )
    again = later.order_by().values("instance").annotate(at=Min("created_at")).values("at")
    columns = ("instance_id", "created_at", "taken_at", "asked_again_at", "price_micros")
    found = list(shared.filter(received__gt=0).annotate(asked_again_at=Subquery(again)).values_list(*columns))
    paid = 0
    for start in range(0, len(found), 500):
        batch = found[start : start + 500]
        times = _submitted([instance for instance, *_ in batch])
        paid += sum(
            price
            for instance, made, taken, again, price in batch
            for at, micros in times.get(instance, ())
            if micros == price and max(made, since) <= at and all(at < end for end in (taken, again) if end)
        )
    return paid


def _submitted(instances: Sequence[int]) -> dict[int, list[tuple[datetime, int]]]:
    """When people's paid annotations of each instance were submitted, and their price."""
    rows = Annotation.objects.live().filter(instance__in=instances, source=Source.HUMAN, price_micros__gt=0)
    times: dict[int, list[tuple[datetime, int]]] = {}
    for instance, at, price in rows.values_list("instance_id", "submitted_at", "price_micros"):
        times.setdefault(instance, []).append((at, price))
    return times
