"""Verdicts as annotations, and what follows for the requests that asked for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import F, Sum
from django.utils import timezone

from feedback.exceptions import BudgetExhausted
from feedback.models import (
    Annotation,
    AnnotationRequest,
    Annotator,
    DatasetVersion,
    Instance,
    PreferenceMix,
    RequestState,
    Source,
    Task,
)
from feedback.services import budget, queue
from routing.judge.answering import answers_of, preference_value
from routing.judge.calling import CallResult
from routing.judge.verdict import Verdict as Reading

from ..models import Judge, RoutingDecision, RoutingPlan, Verdict
from .asking import Asking
from .calls import UNREACHED, Question, results_of
from .judges import micros
from .money import calls_for, plan_money
from .requests import ask_people, asked_of_people

ABSTAINED, NOBODY = "judge abstained", "judge abstained; the budget covers no person"
UNSURE = "The judge contradicts itself or its panel is split here: a person decides."
MOST_TRIES = 2
"""Runs after which an instance that the endpoint never answers goes to a person."""


@dataclass(frozen=True)
class PanelCost:
    """The share of a panel's members on its side, and what all of them cost for one instance."""

    agreement: float | None
    micros: int


@dataclass(frozen=True)
class HandedOver:
    """An instance that a plan had sent to the judge and that now goes to people."""

    instance: Instance
    origin: str


def store(
    task: Task, asking: Asking, question: Question, reading: Reading, *, panel: PanelCost | None = None
) -> Verdict:
    """Write the verdict and, unless the judge abstained, its annotation. Call it in the transaction that settles."""
    instance = question.instance
    answers = answers_of(asking.ask, reading, len(instance.completions))
    unreached = not answers and any(reason in UNREACHED for reason in reading.abstentions)
    fields: dict[str, Any] = {
        "p_a": None if unreached else reading.p_a,
        "p_ab": reading.p_ab,
        "p_ba": reading.p_ba,
        "strength": reading.strength,
        "tie": reading.tie,
        "order_consistent": reading.order_consistent,
        "self_consistency": reading.self_consistency,
        "panel_agreement": panel.agreement if panel else None,
        "attention": reading.attention,
        "said": reading.said.model_dump(mode="json", exclude_defaults=True) if reading.said else {},
        "needs_person": reading.needs_person or not answers,
        "unreached": unreached,
        "abstentions": list(reading.abstentions),
        "rationale": reading.rationale[:4000],
    }
    cost = panel.micros if panel else micros(reading.cost)
    row, made = Verdict.objects.get_or_create(
        judge=asking.judge, instance=instance, defaults={**fields, "cost_micros": cost}
    )
    if not made:
        # what a panel's members cost is known whole each time; a judge's own new calls come on top
        total = cost if panel else F("cost_micros") + cost
        Verdict.objects.filter(pk=row.pk).update(**fields, attempts=F("attempts") + 1, cost_micros=total)
        row.refresh_from_db()
    if answers:
        row.annotation = Annotation.objects.create(
            task=task,
            instance=instance,
            annotator_id=asking.judge.annotator_id,
            source=Source.JUDGE,
            answers=queue.checked(task.parsed_questions, instance, answers, partial=True),
            details=_details(asking, row, results_of(question)),
            questions_version=task.questions_version,
            price_micros=0 if panel else row.cost_micros,
        )
        row.save(update_fields=["annotation"])
    return row


def _details(asking: Asking, row: Verdict, results: Sequence[CallResult]) -> dict[str, Any]:
    """What a judge's annotation carries beside its value. ``orders`` name A and B as stored, not as shown."""
    details: dict[str, Any] = {"judge": str(asking.judge.public_id), "rationale": row.rationale}
    if row.order_consistent is not None or row.p_a is not None:
        details["order_consistent"] = row.order_consistent
    if asking.ask.preference and row.p_a is not None:
        steps = asking.ask.preference.steps
        orders = {
            order: preference_value(p, _strength_in(order, results), False, steps)
            for order, p in (("ab", row.p_ab), ("ba", row.p_ba))
            if p is not None
        }
        details |= {"p_a": row.p_a, "orders": orders}
    for name in ("self_consistency", "panel_agreement", "attention"):
        if getattr(row, name) is not None:
            details[name] = getattr(row, name)
    if rationales := row.said.get("rationales"):
        details["rationales"] = rationales
    if own_answer := row.said.get("own_answer"):
        details["own_answer"] = own_answer
    return details


def _strength_in(order: str, results: Sequence[CallResult]) -> float:
    known = [r.strength_a for r in results if r.order == order and r.strength_a is not None]
    return sum(known) / len(known) if known else 0.0


def answer_request(task: Task, question: Question, row: Verdict) -> HandedOver | None:
    """End the plan's request that asked for this verdict; an abstention opens one for a person instead.

    An unreached endpoint says nothing of the instance: its request stays open for another run, up to two.
    """
    request = question.request
    if request is None or (row.unreached and row.attempts < MOST_TRIES):
        return None
    request.refresh_from_db(fields=["state"])
    if request.state != RequestState.OPEN:  # a later plan took it back while the judge was asked
        return None
    abstained = row.annotation is None
    request.state = RequestState.ABSTAINED if abstained else RequestState.DONE
    request.received, request.ended_at = int(not abstained), timezone.now()
    request.price_micros = _paid_for(request, row)
    request.save(update_fields=["state", "received", "ended_at", "price_micros"])
    if abstained:
        return _ask_person_instead(task, question.instance, request, ABSTAINED, NOBODY)
    if row.needs_person and _escalates(task, request):
        return _ask_person_instead(task, question.instance, request, UNSURE)
    return None


def _plan_of(request: AnnotationRequest) -> RoutingPlan | None:
    """The plan that asks for it now: the last one in force that decided so."""
    decisions = RoutingDecision.objects.filter(request=request).exclude(plan__applied_at=None)
    newest = decisions.select_related("plan").order_by("plan__applied_at").last()
    return newest.plan if newest else None


def _escalates(task: Task, request: AnnotationRequest) -> bool:
    """Whether its plan sends what the judge is unsure of to a person, and has the money and a place for one."""
    plan = _plan_of(request)
    if plan is None or not plan.params.get("escalate"):
        return False
    most = plan.params.get("most_people")
    return (most is None or asked_of_people(plan) < most) and plan_money(plan).left >= task.human_price_micros


def _paid_for(request: AnnotationRequest, row: Verdict) -> int:
    """What the verdict cost since it was asked for: a panel's members, or an earlier try, may have been paid before."""
    if not row.judge.parsed.members and row.attempts == 1:
        return row.cost_micros
    calls = calls_for(row.judge).filter(instance=row.instance_id, created_at__gte=request.created_at)
    return int(calls.aggregate(sum=Sum("cost_micros"))["sum"] or 0)


def _ask_person_instead(
    task: Task, instance: Instance, request: AnnotationRequest, reason: str, without: str = ""
) -> HandedOver | None:
    """Ask one person and say why; where the budget covers none, the decision stays, or says ``without``."""
    decisions, plan = RoutingDecision.objects.filter(request=request), _plan_of(request)
    origin = plan.origin if plan else request.origin
    try:
        with transaction.atomic():
            made, _ = ask_people(task, {instance.pk: 1}, origin=origin)
    except BudgetExhausted:
        if without:
            decisions.update(reason=without)
        return None
    decisions.update(reason=reason, request=made[instance.pk])
    return HandedOver(instance, origin)


def close_answered(task: Task, judge: Judge) -> None:
    """End open requests whose verdict came by another way, and give their money back."""
    pending = AnnotationRequest.objects.filter(
        instance__task=task, source=Source.JUDGE, judge=judge.annotator_id, state=RequestState.OPEN
    )
    annotated = Annotation.objects.live().filter(annotator=judge.annotator_id).values("instance")
    for request in pending.filter(instance__in=annotated).select_for_update(no_key=True):
        budget.release(task, request.price_micros)
        request.state, request.received, request.ended_at = RequestState.DONE, 1, timezone.now()
        request.price_micros = 0
        request.save(update_fields=["state", "received", "ended_at", "price_micros"])


def move_in_mixes(handed_over: Sequence[HandedOver]) -> None:
    """Say ``human`` for these instances in their plans' mixes, as long as no dataset version was frozen from them."""
    by_origin: dict[str, list[str]] = defaultdict(list)
    for moved in handed_over:
        by_origin[moved.origin].append(str(moved.instance.public_id))
    for origin, ids in by_origin.items():
        mix = PreferenceMix.objects.select_for_update(no_key=True).filter(origin=origin).first()
        if mix and not DatasetVersion.objects.filter(mix=mix).exists():
            mix.sources = {**mix.sources, **dict.fromkeys(ids, "human")}
            mix.save(update_fields=["sources"])


def judge_of(annotator: Annotator) -> Judge | None:
    """The configured judge behind an annotator; ``None`` for a recorded one of an imported set."""
    return Judge.objects.filter(annotator=annotator).first()
