"""Carrying a plan out: decisions become requests, money is reserved, a mix is kept. Once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet, Subquery
from django.utils import timezone

from feedback.exceptions import Conflict, WrongState
from feedback.models import (
    AnnotationRequest,
    AuditEvent,
    Instance,
    Job,
    RequestState,
    Source,
    Task,
    User,
)
from feedback.services import budget, queue

from ..models import PILOT, Arm, Course, DecisionQuerySet, Judge, PlanState, RoutingDecision, RoutingPlan
from . import mixes, requests, rounds
from .arms import arms_of
from .asking import worst_cases
from .judging import start_judging


@dataclass(frozen=True)
class Applied:
    """What applying a plan did. Money in micros: reserved now, released from the plan before, and not needed."""

    reserved: int
    released: int
    unspent: int
    judge_job: Job | None


def apply_plan(plan: RoutingPlan, *, actor: User | None) -> Applied:
    """Turn a ready plan's decisions into requests. Instances that are lent stay lent.

    Requests of earlier plans that this one does not want are withdrawn as far as nobody works on them.
    Raises WrongState unless the plan is ready (applied twice, say), BudgetExhausted; then nothing changed.
    """
    task = plan.task
    with transaction.atomic():
        budget.lock(task)
        ready = RoutingPlan.objects.filter(pk=plan.pk, state=PlanState.READY)
        course = Course.RUNNING if plan.strategy == rounds.ROUNDS else Course.NONE
        if not ready.update(state=PlanState.APPLIED, applied_at=timezone.now(), course=course):
            raise WrongState("This plan was already applied." if _is_applied(plan) else "This plan is not ready yet.")
        rounds.replace_others(plan)
        queue.reform(task.pk)
        released = _withdraw_unwanted(plan)
        reserved = _ask(plan)
        rounds.prioritise(plan)
        mixes.keep_mix(plan)
        if course == Course.RUNNING:
            rounds.open_first(plan, reserved)
        unspent = plan.budget_micros - reserved
        AuditEvent.write(
            "plan.apply",
            actor=actor,
            project=task.project,
            subject=str(plan),
            strategy=plan.strategy,
            reserved_micros=reserved,
            released_micros=released,
        )
    return Applied(reserved, released, max(unspent, 0), _start_judge(plan, actor))


def _is_applied(plan: RoutingPlan) -> bool:
    return RoutingPlan.objects.filter(pk=plan.pk, state=PlanState.APPLIED).exists()


def _withdraw_unwanted(plan: RoutingPlan) -> int:
    """Open requests of other plans for people where this plan wants none, or people with another skill; or for a judge
    where it wants none."""
    decided = RoutingDecision.objects.current().filter(plan=plan, instance=OuterRef("instance"))
    earlier = requests.of_plans(plan.task).annotate(
        arm=Subquery(decided.values("arm")[:1]),
        arm_name=Subquery(decided.values("arm_name")[:1]),
        asks=F("instance__skill"),
    )
    skills = {one.name: one.skill for one in arms_of(plan) if one.skill}
    unwanted = [
        one
        for one in earlier.order_by("instance_id", "pk")
        if one.arm != one.source or (one.asks != skills[one.arm_name] if one.arm_name in skills else one.skill)
    ]
    return requests.withdraw(plan.task, unwanted)


def _ask(plan: RoutingPlan) -> int:
    """Make the requests and link the decisions to them; returns what was reserved."""
    made, reserved = _ask_people(plan)
    if plan.judge:
        worst = _worst_cases(plan, plan.decisions.filter(arm=Arm.JUDGE).values_list("instance_id", flat=True))
        asked, more = requests.ask_judge(plan.task, worst, plan.judge, origin=plan.origin)
        made, reserved = made | asked, reserved + more
    decisions = list(plan.decisions.filter(instance__in=made) if len(made) <= 500 else plan.decisions.all())
    for decision in decisions:
        request = made.get(decision.instance_id)
        decision.request_id = request.pk if request else None
    RoutingDecision.objects.bulk_update(decisions, ["request"], batch_size=500)
    return reserved


def _ask_people(plan: RoutingPlan) -> tuple[dict[int, AnnotationRequest], int]:
    """People of each of the plan's arms, on its terms."""
    by_arm: dict[str, dict[int, int]] = defaultdict(dict)
    human = plan.decisions.filter(arm=Arm.HUMAN)
    for pk, name, labels in human.values_list("instance_id", "arm_name", "n_labels"):
        by_arm[name][pk] = labels
    terms = {one.name: requests.Terms.of(plan.task, one.skill, one.price_micros) for one in arms_of(plan)}
    made: dict[int, AnnotationRequest] = {}
    reserved = 0
    for name, wanted in sorted(by_arm.items()):  # in one order, so that two plans never wait for each other
        asked, more = requests.ask_people(
            plan.task, wanted, origin=plan.origin, terms=terms.get(name, requests.ANYBODY)
        )
        made, reserved = made | asked, reserved + more
    return made, reserved


def _worst_cases(plan: RoutingPlan, instance_ids: Iterable[int]) -> dict[int, int]:
    """The most that this plan's judge can cost for each instance; a recorded judge costs nothing more."""
    judge = Judge.objects.filter(annotator=plan.judge).first()
    worst = dict.fromkeys(instance_ids, 0)
    if judge is None:
        return worst
    for batch in requests.batches(worst):
        worst |= worst_cases(judge, plan.task, Instance.objects.filter(pk__in=batch))
    return worst


def _start_judge(plan: RoutingPlan, actor: User | None) -> Job | None:
    """Wake the judge when requests wait for it; a recorded or retired one cannot be woken."""
    judge = Judge.objects.current().filter(annotator=plan.judge).first() if plan.judge else None
    waiting = requests.of_plan(plan).filter(source=Source.JUDGE, judge=plan.judge_id, state=RequestState.OPEN)
    if judge is None or not waiting.exists():
        return None
    try:
        return start_judging(plan.task, judge, {"kind": "plan", "plan": str(plan.public_id)}, actor=actor)
    except Conflict:  # it is at work on this task: the plan's page offers to run it afterwards
        return None


def previous_plan(plan: RoutingPlan) -> RoutingPlan | None:
    """The plan that was in force before this one."""
    earlier = RoutingPlan.objects.filter(task=plan.task, state=PlanState.APPLIED).exclude(strategy=PILOT)
    if plan.applied_at:
        earlier = earlier.filter(applied_at__lt=plan.applied_at)
    return earlier.exclude(pk=plan.pk).order_by("-applied_at").first()


def plan_diff(plan: RoutingPlan, before: RoutingPlan) -> dict[tuple[str, str], int]:
    """(arm before, arm now) → how many instances; ``new`` for instances that the earlier plan did not hold."""
    moves = plan.decisions.current().annotate(before=_arm_under(before)).values_list("before", "arm")
    return dict(Counter((was or "new", now) for was, now in moves.iterator(chunk_size=2000)))


def moved_of(decisions: DecisionQuerySet, before: RoutingPlan) -> DecisionQuerySet:
    """Those of the decisions that give an instance to another arm than an earlier plan, with its arm as ``before``."""
    same = RoutingDecision.objects.current().filter(plan=before, instance=OuterRef("instance"), arm=OuterRef("arm"))
    return decisions.filter(~Exists(same)).annotate(before=_arm_under(before))


def _arm_under(before: RoutingPlan) -> Subquery:
    earlier = RoutingDecision.objects.current().filter(plan=before, instance=OuterRef("instance"))
    return Subquery(earlier.values("arm")[:1])


def plans_of(task: Task) -> QuerySet[RoutingPlan]:
    """A task's plans, newest first, pilots left out."""
    return RoutingPlan.objects.filter(task=task).exclude(strategy=PILOT).order_by("-created_at", "-pk")
