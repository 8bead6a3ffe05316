"""The pilot: instances that both people and the judge label, so that each one's errors can be learned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from feedback.exceptions import InvalidInput, WrongState
from feedback.models import Annotation, AnnotationRequest, AuditEvent, Instance, Job, RequestState, Source, Task, User
from feedback.services import budget
from routing.ppm.pilot import advised_pilot_size, draw_pilot, pilot_precision, sizes_to_compare

from ..models import PILOT, Arm, Judge, PlanState, RoutingDecision, RoutingPlan
from . import requests
from .judging import start_judging

MOST = 5000


@dataclass(frozen=True)
class PilotSize:
    """A size that the pilot might have: its price in micros, and how far the judge's accuracy is known then (±)."""

    count: int
    price_micros: int
    precision: float
    advised: bool


@dataclass(frozen=True)
class PilotState:
    """How far the pilot is: instances that people labelled, that also have a verdict, and the advised number."""

    drawn: int
    labelled: int
    shared: int
    advised: int
    sizes: list[PilotSize]


def without_people(task: Task) -> QuerySet[Instance]:
    """Instances that no person labelled or was asked for."""
    said = Annotation.objects.live().filter(instance=OuterRef("pk"), source=Source.HUMAN)
    asked = AnnotationRequest.objects.filter(instance=OuterRef("pk"), source=Source.HUMAN, state=RequestState.OPEN)
    return Instance.objects.filter(~Exists(said), ~Exists(asked), task=task, removed_at=None).order_by("pk")


def start_pilot(
    task: Task, count: int, *, actor: User | None, judge: Judge | None = None, labels: int = 1, seed: int = 0
) -> tuple[RoutingPlan, Job | None]:
    """Draw ``count`` instances at random, ask ``labels`` people for each, and have them judged.

    Each draw's probability is kept with its decision. Raises InvalidInput, WrongState when none is left to draw,
    BudgetExhausted.
    """
    low, high = requests.LABELS
    if not 1 <= count <= MOST or not low <= labels <= high:
        raise InvalidInput(errors={"count": f"Choose 1 to {MOST:,} instances and {low} to {high} labels for each."})
    if task.preference_question is None:
        raise InvalidInput("This task asks no preference question, so there is nothing to learn from.")
    with transaction.atomic():
        budget.lock(task)
        ids = np.array(without_people(task).values_list("pk", flat=True), dtype=np.int64)
        if not len(ids):
            raise WrongState("People have labelled or been asked for every instance; there is nothing to draw from.")
        sample = draw_pilot(np.ones(len(ids), dtype=bool), count, np.random.default_rng(seed))
        plan = _pilot_plan(task, actor, judge, labels, seed, len(sample.instances))
        chosen = {int(pk): labels for pk in ids[sample.instances]}
        made, reserved = requests.ask_people(task, chosen, origin=plan.origin)
        RoutingDecision.objects.bulk_create(
            (
                RoutingDecision(
                    plan=plan,
                    instance_id=pk,
                    arm=Arm.HUMAN,
                    n_labels=labels,
                    propensity=float(chance),
                    reason="Drawn at random for the pilot.",
                    request=made[pk],
                )
                for pk, chance in zip(chosen, sample.propensity, strict=True)
            ),
            batch_size=500,
        )
        AuditEvent.write(
            "pilot.start", actor=actor, project=task.project, subject=task.name, count=len(chosen), reserved=reserved
        )
    job = start_judging(task, judge, {"kind": "pilot"}, actor=actor) if judge else None
    return plan, job


def _pilot_plan(task: Task, actor: User | None, judge: Judge | None, labels: int, seed: int, count: int) -> RoutingPlan:
    return RoutingPlan.objects.create(
        task=task,
        strategy=PILOT,
        judge=judge.annotator if judge else None,
        budget_micros=task.human_price_micros * labels * count,
        seed=seed,
        params={"labels": labels},
        state=PlanState.APPLIED,
        applied_at=timezone.now(),
        created_by=actor,
        summary={"counts": {"human": count, "judge": 0, "none": 0}, "share": {"human": 1.0}},
    )


def pilot_state(task: Task) -> PilotState:
    """What the pilot panel shows: every label by people counts, whether it was drawn for a pilot or not."""
    labelled = Instance.objects.filter(
        Exists(Annotation.objects.live().filter(instance=OuterRef("pk"), source=Source.HUMAN)),
        task=task,
        removed_at=None,
    )
    judged = Annotation.objects.live().filter(instance=OuterRef("pk"), source=Source.JUDGE)
    pool = task.instances.filter(removed_at=None).count()
    return PilotState(
        drawn=RoutingDecision.objects.filter(plan__task=task, plan__strategy=PILOT).count(),
        labelled=labelled.count(),
        shared=labelled.filter(Exists(judged)).count(),
        advised=advised_pilot_size(pool),
        sizes=[
            PilotSize(size, size * task.human_price_micros, pilot_precision(size), size == advised_pilot_size(pool))
            for size in sizes_to_compare(pool)
        ],
    )
