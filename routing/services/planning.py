"""Making a plan: load rows → arrays → the strategy → rows. The job that computes what an admin then applies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from django.db import transaction
from django.db.models import Avg, Count

from feedback.exceptions import InvalidInput, WrongState
from feedback.models import Annotator, AnnotatorKind, AuditEvent, Fidelity, Job, JobKind, MixScore, Task, User
from feedback.services import jobs
from feedback.services.budget import MICROS
from feedback.services.jobs import JobContext
from routing.ppm.allocation import budget_for_share
from routing.ppm.curve import predicted_curve
from routing.ppm.evaluation import Z80, Z95
from routing.ppm.outlook import fit_outlook
from routing.ppm.pool import Arm, Budget, NotFittedError, Plan, Pool
from routing.ppm.preparation import Prepared, prepare
from routing.ppm.quality import Floats, combine, side_of
from routing.ppm.regression import MODELS
from routing.ppm.strategies import STRATEGIES, Strategy, strategy_named

from ..models import Judge, PerformancePredictionModel, PlanState, RoutingDecision, RoutingPlan, Verdict
from . import arms as own_arms
from . import constraints, requests, rounds, task_features
from .deciding import ARMS, Worth, decisions_of, effects_of, gain_by_tag, worth_of
from .evidence import TaskEvidence, load_evidence
from .judging import estimate_micros

LEAST_REAL_RUNS = 8
LEAST_VERDICTS = 20
WIDER = Z95 / Z80
"""The curve comes with 80% bounds; pages show 95% everywhere."""
LIMITS = {
    "labels": requests.LABELS,
    "mixes": (50, 5000),
    "judge_price_micros": (0, 10**9),
    **rounds.LIMITS,
    **constraints.LIMITS,
}


@dataclass(frozen=True)
class Offer:
    """A strategy that an admin may choose."""

    name: str
    summary: str


def offered() -> list[Offer]:
    """The strategies an admin may choose from, the default first; those of simulations are left out."""
    once = [one for one in STRATEGIES.values() if not one.simulation_only and one.name != rounds.ROUNDS]
    return [Offer(rounds.ROUNDS, rounds.SUMMARY), *(Offer(one.name, one.summary) for one in once)]


def make_plan(
    task: Task,
    strategy: str,
    budget_micros: int,
    *,
    judge: Annotator | None,
    actor: User | None,
    seed: int = 0,
    params: Mapping[str, Any] | None = None,
    idempotency_key: str = "",
) -> RoutingPlan:
    """Enqueue a plan. ``judge`` is the annotator whose verdicts count, configured or recorded.

    params: ``labels`` (people per instance, 1), ``kind`` of prediction model ("gp"), ``mixes`` (500), ``pilot`` (public
    ids: people's labels elsewhere are not looked at), ``judge_price_micros`` (for a recorded judge); for rounds
    ``explore`` (percent drawn at random, 5 to 15), ``least_points`` (what a label must add to pay) and ``most_labels``
    (people for an instance whose label stays in doubt). Rules: ``floors`` (tags whose instances people label
    throughout), ``most_people`` (instances for people at most), ``guarantee`` (random rather than a prediction that is
    not surely above it). ``left_out``: tags and metadata fields that are no features of this plan; by default those
    that the task leaves out.
    ``escalate``: a person where the judge contradicts itself or its panel is split, while the plan's money lasts.
    ``arms``: more arms to choose from (:class:`routing.services.arms.OwnArm`).
    Raises InvalidInput.
    """
    params = {"left_out": task_features.features_of(task).left_out, **(params or {})}
    checked = _checked(task, strategy, budget_micros, judge, params)
    if not -(2**63) <= seed < 2**63:
        raise InvalidInput(errors={"seed": "Must fit 64 bits."})
    if idempotency_key:
        existing = RoutingPlan.objects.filter(
            task=task, job__kind=JobKind.PLAN, job__idempotency_key=idempotency_key
        ).first()
        if existing:
            return existing
    with transaction.atomic():
        plan = RoutingPlan.objects.create(
            task=task,
            strategy=strategy,
            judge=judge,
            budget_micros=budget_micros,
            seed=seed,
            params=checked,
            created_by=actor,
        )
        AuditEvent.write("plan.make", actor=actor, project=task.project, subject=str(plan), strategy=strategy)
        plan.job = jobs.enqueue(
            JobKind.PLAN, task.project, {"plan": str(plan.public_id)}, actor=actor, idempotency_key=idempotency_key
        )
        plan.save(update_fields=["job"])
    return plan


def _checked(
    task: Task, strategy: str, budget_micros: int, judge: Annotator | None, params: dict[str, Any]
) -> dict[str, Any]:
    errors: dict[str, str] = {}
    if strategy not in {s.name for s in offered()}:
        errors["strategy"] = f"Choose one of: {', '.join(s.name for s in offered())}."
    if not 0 <= budget_micros < 2**62:
        errors["budget"] = "A budget cannot be negative."
    if judge and (judge.project_id != task.project_id or judge.kind == AnnotatorKind.HUMAN):
        errors["judge"] = "Choose a judge of this project."
    if task.preference_question is None:
        errors["task"] = "This task asks no preference question, so there is nothing to route."
    if params.get("kind", "gp") not in MODELS:
        errors["kind"] = f"Choose one of: {', '.join(MODELS)}."
    for name, (low, high) in LIMITS.items():
        value = params.get(name, low)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            errors[name] = f"Must be a whole number between {low:,} and {high:,}."
    if not isinstance(params.get("pilot", []), list):
        errors["pilot"] = "Must be a list of instance ids."
    if strategy == rounds.ROUNDS and "pilot" in params:
        errors["pilot"] = "A plan in rounds learns from every label."
    if "arms" in params:
        try:
            params["arms"] = own_arms.checked_arms(task.project, params["arms"])
        except ValueError as error:
            errors["arms"] = str(error)
        if params["arms"] and strategy != own_arms.CHOOSES:
            errors["arms"] = f"Only the strategy {own_arms.CHOOSES} chooses among several arms."
    errors |= constraints.errors_in(params, in_rounds=strategy == rounds.ROUNDS)
    errors |= task_features.errors_in(params)
    known = {*LIMITS, "arms", "kind", "pilot", "floors", "guarantee", "escalate", "left_out"}
    errors |= dict.fromkeys(set(params) - known, "This cannot be set.")
    if errors:
        raise InvalidInput("The plan cannot be made like this.", errors=errors)
    return {name: value for name, value in params.items() if name != "left_out" or value}


def run_plan(context: JobContext) -> dict[str, Any]:
    """The job's handler. Raises WrongState with the reason when the strategy lacks what it needs."""
    plan = RoutingPlan.objects.select_related("task__project", "judge").get(public_id=context.params["plan"])
    if "round" in context.params:
        return rounds.run_round(context, plan, context.params["round"])
    if plan.state in (PlanState.READY, PlanState.APPLIED):
        return dict(plan.summary.get("counts", {}))
    RoutingPlan.objects.filter(pk=plan.pk).update(state=PlanState.COMPUTING, error="")
    try:
        return _compute(context, plan)
    except NotFittedError as error:
        raise WrongState(str(error)) from error


def note_failure(job: Job, sentence: str) -> None:
    """A plan whose job ended before its decisions were written has failed; one whose next round failed has stopped."""
    pending = RoutingPlan.objects.filter(public_id=job.params.get("plan"))
    if "round" in job.params:
        rounds.note_failure(pending, sentence)
        return
    pending.filter(state__in=[PlanState.DRAFT, PlanState.COMPUTING]).update(state=PlanState.FAILED, error=sentence)


def _compute(context: JobContext, plan: RoutingPlan) -> dict[str, Any]:
    context.progress(0, 4, "Reading instances and annotations")
    known = load_evidence(
        plan.task,
        plan.judge,
        plan.params.get("pilot"),
        left_out=plan.params.get("left_out", []),
        tell=lambda done, total: context.progress(0, 4, f"Describing instances: {done:,} of {total:,}"),
    )
    if not known.ids:
        raise WrongState("This task has no instances with two completions.")
    task_features.remember(plan.task, known.pool)
    context.progress(1, 4, "Learning from the pilot")
    price, most = plan.task.human_price_micros / MICROS, plan.params.get("most_people")
    human = Arm("people", "crowd", price, plan.params.get("labels", 1), most)
    others = tuple(one.arm for one in own_arms.arms_of(plan))
    arms = Budget(plan.budget_micros / MICROS, _judge_arm(plan), human, others)
    rng = np.random.default_rng(plan.seed % 2**63)
    kind = plan.params.get("kind", "gp")
    prepared = prepare(known.evidence, human, rng, mixes=plan.params.get("mixes", 500), kind=kind)
    pool, notes = _with_real_runs(plan.task, known, prepared, kind)
    pool, unheard = own_arms.with_arms(plan, known, constraints.with_floors(plan, pool), prepared.quality)
    notes += unheard
    context.progress(2, 4, "Choosing")
    if plan.strategy == rounds.ROUNDS:
        first = rounds.first_round(plan, known, pool, arms)
        constraints.check_floors(pool, first.answer)
        context.progress(3, 4, "Writing decisions")
        summary = _summary(pool, prepared, first.answer, arms, list(first.notes), known, first.worth) | first.summary
        plan.heard = list(known.said)
        _store(context, plan, first.decisions, prepared, summary, first.curve, first.predicted, kind)
        return dict(summary["counts"])
    strategy = strategy_named(plan.strategy)
    if not strategy.can_route(pool):
        raise NotFittedError(" ".join(notes) or "What this strategy needs is not known of this pool yet.")
    answer = constraints.guaranteed(plan, pool, arms, strategy.route(pool, arms, rng), rng)
    constraints.check_floors(pool, answer)
    curve = _curve(plan, pool, arms, strategy)
    context.progress(3, 4, "Writing decisions")
    worth = worth_of(pool)
    summary = _summary(pool, prepared, answer, arms, [*notes, *answer.notes], known, worth)
    labels = plan.params.get("labels", 1)
    if others:
        summary["arms"] = own_arms.counts_of(plan, answer, arms, pool)
    named = arms.arms if others else ()
    decisions = decisions_of(
        plan, known.ids, pool, answer, worth, labels=labels, arms=named, p_a=_believed(known, prepared)
    )
    predicted = (answer.predicted.mean, answer.predicted.sd) if answer.predicted else (None, None)
    _store(context, plan, decisions, prepared, summary, curve, predicted, kind)
    return dict(summary["counts"])


def _believed(known: TaskEvidence, prepared: Prepared) -> Floats | None:
    """P(a better) [N] from the judge, calibrated on what people said elsewhere, and people's own labels; NaN where
    nobody gave a side."""
    if prepared.pool.advantage is None:
        return None
    facts = known.evidence
    return combine(side_of(facts.judge_p), prepared.pool.advantage.p_judge, facts.votes, prepared.quality.accuracy)


def _judge_arm(plan: RoutingPlan) -> Arm:
    return Arm("judge", "judge", judge_price_micros(plan.task, plan.judge, plan.params) / MICROS)


def judge_price_micros(task: Task, annotator: Annotator | None, params: Mapping[str, Any]) -> int:
    """What one more verdict costs: the mean so far, else the worst case; for a recorded judge what ``params`` say."""
    judge = Judge.objects.filter(annotator=annotator).first() if annotator else None
    if judge is None:
        return int(params.get("judge_price_micros", 0))
    seen = Verdict.objects.filter(judge=judge, annotation__isnull=False).aggregate(
        mean=Avg("cost_micros"), count=Count("pk")
    )
    if seen["count"] >= LEAST_VERDICTS:
        return math.ceil(float(seen["mean"]))
    return estimate_micros(task, judge, 1)


def _with_real_runs(task: Task, known: TaskEvidence, prepared: Prepared, kind: str) -> tuple[Pool, list[str]]:
    """With enough real reward-model runs, the prediction is fitted on their scores instead of the proxy's."""
    notes = list(prepared.notes)
    outlook = prepared.pool.outlook
    scores = MixScore.objects.filter(mix__task=task).exclude(fidelity=Fidelity.PROXY).select_related("mix")
    metric = scores.values("metric").annotate(count=Count("pk")).order_by("-count").first()
    if outlook is None or metric is None or metric["count"] < LEAST_REAL_RUNS:
        return prepared.pool, notes
    rows = list(scores.filter(metric=metric["metric"]).order_by("pk"))
    masks = np.array([[row.mix.sources.get(name) == "human" for name in known.public_ids] for row in rows], np.uint8)
    values = np.array([row.value for row in rows])
    errors = [row.stderr for row in rows]
    noise = None if None in errors else np.array(errors, dtype=np.float64)
    real = fit_outlook(kind, outlook.design, masks, values, noise)
    notes.append(f"The prediction is fitted on {len(rows)} reward-model runs ({metric['metric']}).")
    return replace(prepared.pool, outlook=real), notes


def _curve(plan: RoutingPlan, pool: Pool, arms: Budget, strategy: Strategy) -> dict[str, Any]:
    """What the budget control draws: this strategy at every budget, beside random, all judge and all people."""
    if pool.outlook is None:
        return {}
    seed = plan.seed % 2**63
    own = predicted_curve(pool, arms, strategy, seed)
    random = predicted_curve(pool, arms, STRATEGIES["random"], seed)
    ends, _ = pool.outlook.predict(np.stack([np.zeros(pool.size, np.uint8), np.ones(pool.size, np.uint8)]))
    points = [
        {
            "budget": p.money,
            "mean": p.mean,
            "low": p.mean - (p.mean - p.low) * WIDER,
            "high": p.mean + (p.high - p.mean) * WIDER,
            "human_share": p.human_share,
        }
        for p in own
    ]
    return {
        "points": points,
        "references": {
            "random": [[p.money, p.mean] for p in random],
            "all_judge": float(ends[0]),
            "all_human": float(ends[1]),
        },
        "metric": "accuracy of the reward model",
        "currency": plan.task.project.currency,
    }


def _summary(
    pool: Pool,
    prepared: Prepared,
    answer: Plan,
    arms: Budget,
    notes: list[str],
    known: TaskEvidence,
    worth: Worth | None,
) -> dict[str, Any]:
    counts = {name: answer.count(source) for source, name in ARMS.items()}
    votes = known.evidence.votes
    summary: dict[str, Any] = {
        "counts": counts,
        "share": {name: count / max(pool.size, 1) for name, count in counts.items()},
        "pool": pool.size,
        "labelled": int(pool.human_done.sum()),
        "shared": int((pool.human_done & pool.has_verdict).sum()),
        "votes": len(votes.side),
        "costs": {
            "human_micros": math.ceil(round(answer.human_cost * MICROS, 3)),
            "judge_micros": math.ceil(round(answer.judge_cost * MICROS, 3)),
            "unspent_micros": math.floor(round(answer.unspent * MICROS, 3)),
        },
        "all_human_micros": math.ceil(round(budget_for_share(pool, 1.0, arms).money * MICROS, 3)),
        "notes": list(dict.fromkeys(notes)),
        "gain_by_tag": gain_by_tag(effects_of(pool, worth)),
        "features": {"recipe": known.pool.recipe, "why": known.pool.why, "own": list(known.pool.own_counting)},
        "accuracy": _accuracy(pool, prepared),
    }
    return summary


def _accuracy(pool: Pool, prepared: Prepared) -> dict[str, float]:
    if pool.advantage is None:
        return {}
    return {
        "human": prepared.quality.human_mean,
        "human_sd": prepared.quality.human_sd,
        "judge": float(pool.advantage.p_judge.mean()),
    }


def _store(
    context: JobContext,
    plan: RoutingPlan,
    decisions: list[RoutingDecision],
    prepared: Prepared,
    summary: dict[str, Any],
    curve: dict[str, Any],
    predicted: tuple[float | None, float | None],
    kind: str,
) -> None:
    """All of the plan in one transaction: visible complete, or not at all."""
    with transaction.atomic():
        RoutingDecision.objects.filter(plan=plan).delete()
        RoutingDecision.objects.bulk_create(decisions, batch_size=500)
        model = _prediction_model(plan.task, prepared, kind)
        RoutingPlan.objects.filter(pk=plan.pk, state=PlanState.COMPUTING).update(
            state=PlanState.READY,
            prediction_model=model,
            heard=plan.heard,
            predicted_mean=predicted[0],
            predicted_sd=predicted[1],
            curve=curve,
            summary=summary,
        )
        context.hold()


def _prediction_model(task: Task, prepared: Prepared, kind: str) -> PerformancePredictionModel | None:
    if prepared.pool.outlook is None or prepared.tag_gain is None:
        return None
    weights = dict(zip(prepared.pool.tag_names, map(float, prepared.tag_gain.weights), strict=True))
    return PerformancePredictionModel.objects.create(
        task=task,
        kind=kind,
        coefficients={"tag_gain": weights, "points": prepared.pool.outlook.points},
    )
