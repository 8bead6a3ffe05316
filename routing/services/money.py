"""Where a plan's money stands."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import F, QuerySet, Sum

from feedback.models import AnnotationRequest, RequestState, Source

from ..models import RoutingPlan


@dataclass(frozen=True)
class PlanMoney:
    """Where a plan's money stands, in micros."""

    spent: int
    reserved: int


def plan_money(plan: RoutingPlan) -> PlanMoney:
    """Spent and still reserved by the requests that this plan made."""
    rows: QuerySet[AnnotationRequest] = AnnotationRequest.objects.filter(origin=plan.origin)
    human = rows.filter(source=Source.HUMAN)
    judge = rows.filter(source=Source.JUDGE)
    paid = human.aggregate(sum=Sum(F("price_micros") * F("received")))["sum"] or 0
    held = (
        human.filter(state=RequestState.OPEN).aggregate(sum=Sum(F("price_micros") * (F("wanted") - F("received"))))[
            "sum"
        ]
        or 0
    )
    verdicts = judge.filter(state__in=[RequestState.DONE, RequestState.ABSTAINED])
    waiting = judge.filter(state=RequestState.OPEN)
    return PlanMoney(
        spent=paid + (verdicts.aggregate(sum=Sum("price_micros"))["sum"] or 0),
        reserved=held + (waiting.aggregate(sum=Sum("price_micros"))["sum"] or 0),
    )
