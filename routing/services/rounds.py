"""A plan in rounds: ask people, learn from their labels, ask where another label pays; stop when none does.

A round is one transaction that holds the job's fence: its decisions, requests, money and the next state of the plan
are written together or not at all. What people are working on is never taken away.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from feedback.exceptions import BudgetExhausted, WrongState
from feedback.models import Annotation, AnnotationRequest, AuditEvent, Job, JobKind, RequestState, Source, Task, User
from feedback.services import budget, jobs, queue
from feedback.services.jobs import JobContext
from routing.ppm.adaptive import Learner, Progress, Round

from ..models import PILOT, Arm, Course, PlanState, RoutingDecision, RoutingPlan, RoutingRound
from . import choosing, learning, mixes, requests
from .choosing import LIMITS, ROUNDS, first_round
from .deciding import with_tags
from .learning import Known
from .money import plan_money

SUMMARY = "Each round of labels teaches where the next ones pay; it stops when none does. The default."
LEVELS = 100
SPENT = "The plan's money is spent, or its cap on people is reached."
EXHAUSTED = "The task's budget does not cover another round."
REPLACED = "Another plan was put in force."
TAKEN_BACK = "Taken back when the plan was stopped, before anybody began it."

__all__ = ["LIMITS", "ROUNDS", "SUMMARY", "first_round"]


def open_first(plan: RoutingPlan, reserved: int) -> None:
    """The first round of a plan that is being applied, in its transaction; a plan that asks for nothing is finished."""
    facts = plan.summary["rounds"]
    first = RoutingRound.objects.create(
        plan=plan,
        number=1,
        asked=facts["asked"],
        drawn=facts["drawn"],
        reserved_micros=reserved,
        progress=facts["progress"],
        stats=facts["stats"],
    )
    if not facts["asked"]:
        _finish(plan, first, _words(facts.get("ended", "")))


def replace_others(plan: RoutingPlan) -> None:
    """Stop the task's other plans that are in rounds: one plan is in force."""
    others = RoutingPlan.objects.filter(task=plan.task_id, course=Course.RUNNING).exclude(pk=plan.pk)
    others.update(course=Course.STOPPED, course_reason=REPLACED)


def prioritise(plan: RoutingPlan) -> None:
    """People get the instances with the highest score first: the plan's ranks in hundredths, nothing for the others."""
    human = plan.decisions.current().filter(arm=Arm.HUMAN)
    ranked = list(human.order_by("-round", "-score", "id").values_list("instance_id", flat=True))
    before = plan.task.instances.filter(priority__range=(1, LEVELS)).values_list("pk", flat=True)
    ranks = {pk: LEVELS - rank * LEVELS // len(ranked) for rank, pk in enumerate(ranked)}
    queue.prioritise(plan.task, dict.fromkeys(before, 0) | ranks)


def advance() -> int:
    """Begin the next round of every plan whose round has all its labels; for the beat. Returns how many began.

    What is held for a reviewer, since people skipped it, holds up no round.
    """
    waiting = AnnotationRequest.objects.filter(
        decisions__plan=OuterRef("plan"), decisions__round=OuterRef("number"), source=Source.HUMAN
    ).filter(state=RequestState.OPEN, instance__held_at=None)
    complete = RoutingRound.objects.filter(~Exists(waiting), plan__course=Course.RUNNING, ended_at=None)
    plans = RoutingPlan.objects.filter(rounds__in=complete).select_related("task__project", "round_job")
    return sum(_begin(plan, actor=None) is not None for plan in plans if not _busy(plan))


def next_round(plan: RoutingPlan, *, actor: User | None) -> Job:
    """Learn from the labels that came in and ask again now; what is still asked stays asked. Raises WrongState."""
    job = _begin(plan, actor=actor)
    if job is None:
        raise WrongState("This plan is not labelling in rounds.")
    return job


def _busy(plan: RoutingPlan) -> bool:
    return plan.round_job is not None and plan.round_job.is_active


def _begin(plan: RoutingPlan, *, actor: User | None) -> Job | None:
    """The job of the next round, one at a time; ``None`` when the plan is not in rounds any more."""
    with transaction.atomic():
        row = RoutingPlan.objects.select_for_update(no_key=True).filter(pk=plan.pk, course=Course.RUNNING).first()
        if row is None:
            return None
        if _busy(row):
            return row.round_job
        number = row.rounds.count() + 1
        params = {"plan": str(row.public_id), "round": number}
        row.round_job = jobs.enqueue(JobKind.PLAN, row.task.project, params, actor=actor)
        row.save(update_fields=["round_job"])
        return row.round_job


def run_round(context: JobContext, plan: RoutingPlan, number: int) -> dict[str, Any]:
    """The job's handler: learn, choose, ask. A round that is there already, or a plan that stopped, is left alone."""
    if plan.course != Course.RUNNING or plan.rounds.filter(number=number).exists():
        return {"plan": str(plan.public_id)}
    context.progress(0, 3, "Learning from the round's labels")
    last = plan.rounds.order_by("-number")[0]
    known = learning.load_known(plan.task, plan.judge)
    learner = learning.learner_of(known, Progress(**last.progress), plan.heard)
    context.progress(1, 3, "Choosing")
    asked = choosing.asked_of(plan.task, known.evidence.ids)
    candidates = choosing.candidates_of(plan, learner, asked)
    chosen = choosing.choose(plan, learner, known, candidates, _affordable(plan), number)
    context.progress(2, 3, "Asking people")
    rows = _decisions(plan, number, known, learner, chosen, asked)
    asked_now = 0
    with transaction.atomic():
        context.hold()
        budget.lock(plan.task)
        if RoutingPlan.objects.filter(pk=plan.pk, course=Course.RUNNING).exists():
            asked_now = _write(plan, last, rows, learner, chosen)
            learning.keep_lesson(plan, known, learner)
            if asked_now:
                RoutingPlan.objects.filter(pk=plan.pk).update(heard=known.evidence.said)
    return {"plan": str(plan.public_id), "round": number, "asked": asked_now}


def _affordable(plan: RoutingPlan) -> int | None:
    """How many more instances the plan's money and its cap on people allow; ``None`` where neither does."""
    money = plan_money(plan)
    price = plan.task.human_price_micros * choosing.setting(plan, "labels")
    payable = money.left // price if price else None
    cap: int | None = plan.params.get("most_people")
    if cap is None:
        return payable
    places = max(cap - requests.asked_of_people(plan), 0)
    return places if payable is None else min(payable, places)


def _decisions(
    plan: RoutingPlan, number: int, known: Known, learner: Learner, chosen: Round, asked: choosing.Asked
) -> list[RoutingDecision]:
    worth = choosing.worth_of(learner)
    p_a = learning.posterior(known, learner)
    reasons = choosing.reasons_of(chosen, learner, asked)
    labels = choosing.labels_wanted(plan, asked, chosen.instances)
    tags = dict(
        plan.decisions.filter(instance__in=[known.evidence.ids[row] for row in labels]).values_list(
            "instance_id", "details__tags"
        )
    )
    rows = []
    for row, chance in zip(map(int, chosen.instances), chosen.propensity, strict=True):
        pk = known.evidence.ids[row]
        own = choosing.WORDING.human.replace("{score}", f"{100 * worth.mean[row]:.0f}")
        top = [(str(name), float(size)) for name, size in tags.get(pk) or []]
        rows.append(
            RoutingDecision(
                plan=plan,
                instance_id=pk,
                arm=Arm.HUMAN,
                n_labels=labels[row],
                score=float(worth.mean[row]),
                lower=float(worth.lower[row]),
                upper=float(worth.upper[row]),
                propensity=float(chance),
                reason=with_tags(reasons.get(row, own), top),
                details={"tags": tags.get(pk) or [], "p_a": round(float(p_a[row]), 4)},
                round=number,
            )
        )
    return rows


def _write(plan: RoutingPlan, last: RoutingRound, rows: list[RoutingDecision], learner: Learner, chosen: Round) -> int:
    """End the round and open the next one, or finish the plan; inside the transaction that holds the purse. Returns
    how many instances people are asked for."""
    if not rows:
        _finish(plan, last, _words(chosen.ended))
        return 0
    try:
        with transaction.atomic():
            made, reserved = requests.ask_people(
                plan.task, {one.instance_id: one.n_labels for one in rows}, origin=plan.origin
            )
    except BudgetExhausted:
        RoutingPlan.objects.filter(pk=plan.pk).update(course=Course.STOPPED, course_reason=EXHAUSTED)
        return 0
    for one in rows:
        one.request = made[one.instance_id]
    supersede(plan, rows)
    _end(last)
    least = choosing.setting(plan, "least_points") / 100
    RoutingRound.objects.create(
        plan=plan,
        number=last.number + 1,
        asked=len(rows),
        drawn=len(chosen.drawn),
        reserved_micros=reserved,
        progress=asdict(learner.progress),
        stats=choosing.stats_of(learner, choosing.worth_of(learner), least),
    )
    _recount(plan)
    prioritise(plan)
    AuditEvent.write(
        "plan.round",
        actor=None,
        project=plan.task.project,
        subject=str(plan),
        round=last.number + 1,
        asked=len(rows),
        reserved_micros=reserved,
    )
    return len(rows)


def _words(ended: str) -> str:
    """Why no round follows: what the learner says, else the money or the cap."""
    return f"Finished: {ended}." if ended else SPENT


def supersede(plan: RoutingPlan, rows: list[RoutingDecision]) -> None:
    """Put decisions in the place of those that stand for the same instances, which are kept for the record."""
    standing = list(plan.decisions.current().filter(instance__in=[one.instance_id for one in rows]))
    now = timezone.now()
    RoutingDecision.objects.filter(pk__in=[one.pk for one in standing]).update(superseded_at=now)
    made = {one.instance_id: one for one in RoutingDecision.objects.bulk_create(rows, batch_size=500)}
    for one in standing:
        one.superseded_at, one.superseded_by = now, made[one.instance_id]
    RoutingDecision.objects.bulk_update(standing, ["superseded_by"], batch_size=500)


def _recount(plan: RoutingPlan) -> None:
    """The plan's shares and mix, as its decisions stand now."""
    counted = dict(plan.decisions.current().order_by().values_list("arm").annotate(count=Count("pk")))
    counts = {arm.value: counted.get(arm.value, 0) for arm in Arm}
    total = max(sum(counts.values()), 1)
    plan.summary = plan.summary | {"counts": counts, "share": {arm: n / total for arm, n in counts.items()}}
    RoutingPlan.objects.filter(pk=plan.pk).update(summary=plan.summary)
    mixes.follow(plan)


def _end(last: RoutingRound) -> None:
    RoutingRound.objects.filter(pk=last.pk, ended_at=None).update(ended_at=timezone.now())


def _finish(plan: RoutingPlan, last: RoutingRound, reason: str) -> None:
    _end(last)
    RoutingPlan.objects.filter(pk=plan.pk).update(course=Course.FINISHED, course_reason=reason[:300])
    money = plan_money(plan)
    AuditEvent.write(
        "plan.finish",
        actor=None,
        project=plan.task.project,
        subject=str(plan),
        reason=reason,
        rounds=last.number,
        unspent_micros=money.left,
    )


def note_failure(pending: QuerySet[RoutingPlan], sentence: str) -> None:
    """A plan whose next round could not be made stops, and says why."""
    pending.filter(course=Course.RUNNING).update(course=Course.STOPPED, course_reason=sentence[:300])


def stop(plan: RoutingPlan, *, actor: User | None, take_back: bool = False) -> int:
    """Begin no further round. What people were asked stays asked, unless ``take_back``: then what nobody works on is
    withdrawn and goes back to the judge where it has said something, to nobody elsewhere.

    Returns the money released. Raises WrongState unless it is in rounds.
    """
    with transaction.atomic():
        budget.lock(plan.task)
        running = RoutingPlan.objects.filter(pk=plan.pk, course=Course.RUNNING)
        if not running.update(course=Course.STOPPED, course_reason="Stopped by hand."):
            raise WrongState("This plan is not labelling in rounds.")
        released = _take_back(plan) if take_back else 0
        AuditEvent.write(
            "plan.stop", actor=actor, project=plan.task.project, subject=str(plan), released_micros=released
        )
    return released


def _take_back(plan: RoutingPlan) -> int:
    asked = requests.of_plan(plan) & requests.of_plans(plan.task).filter(source=Source.HUMAN)
    released = requests.withdraw(plan.task, list(asked.order_by("instance_id", "pk")))
    gone = plan.decisions.current().filter(request__state=RequestState.WITHDRAWN, arm=Arm.HUMAN)
    number = plan.rounds.count()
    said = Annotation.objects.live().filter(task=plan.task, annotator=plan.judge_id)
    judged = set(said.values_list("instance", flat=True)) if plan.judge_id else set()
    rows = [
        RoutingDecision(
            plan=plan,
            instance_id=one.instance_id,
            arm=Arm.JUDGE if one.instance_id in judged else Arm.NONE,
            n_labels=int(one.instance_id in judged),
            score=one.score,
            lower=one.lower,
            upper=one.upper,
            reason=TAKEN_BACK,
            details=one.details,
            round=number,
        )
        for one in gone
    ]
    supersede(plan, rows)
    _recount(plan)
    return released


def resume(plan: RoutingPlan, *, actor: User | None) -> None:
    """Go on with a stopped plan that is still the task's newest in force. Raises WrongState."""
    with transaction.atomic():
        budget.lock(plan.task)
        newest = _in_force(plan.task)
        if newest is None or newest.pk != plan.pk:
            raise WrongState("A later plan is in force; make a new one instead.")
        stopped = RoutingPlan.objects.filter(pk=plan.pk, course=Course.STOPPED)
        if not stopped.update(course=Course.RUNNING, course_reason=""):
            raise WrongState("This plan is not stopped.")
        AuditEvent.write("plan.resume", actor=actor, project=plan.task.project, subject=str(plan))


def _in_force(task: Task) -> RoutingPlan | None:
    applied = RoutingPlan.objects.filter(task=task, state=PlanState.APPLIED).exclude(strategy=PILOT)
    return applied.order_by("-applied_at", "-pk").first()


@dataclass(frozen=True)
class RoundProgress:
    """How far a round is: instances that people were asked for, and those whose labels are in."""

    round: RoutingRound
    received: int
    waiting: int


def progress_of(plan: RoutingPlan) -> list[RoundProgress]:
    """Every round of a plan, the newest first."""
    per = plan.decisions.filter(arm=Arm.HUMAN, request__isnull=False, round__gte=1).order_by().values("round")
    taken_back = Count("pk", filter=Q(request__state=RequestState.WITHDRAWN))
    counted = per.annotate(
        waiting=Count("pk", filter=Q(request__state=RequestState.OPEN)), gone=taken_back
    ).values_list("round", "waiting", "gone")
    left = {number: (waiting, gone) for number, waiting, gone in counted}
    found = []
    for one in plan.rounds.order_by("-number"):
        waiting, gone = left.get(one.number, (0, 0))
        found.append(RoundProgress(one, max(one.asked - waiting - gone, 0), waiting))
    return found
