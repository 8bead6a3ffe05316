"""What one round of a plan asks for: rows → the learner → the instances for people, with their reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from django.db.models import Count, QuerySet
from numpy.typing import NDArray

from feedback.models import Annotation, AnnotationRequest, RequestState, Source, Task
from routing.ppm.adaptive import LEAST_WORTH, Learner, Round
from routing.ppm.allocation import Ranking, Wording, plan_for
from routing.ppm.label_curve import LabelCurve, label_curve
from routing.ppm.pool import UNITS_PER_MONEY, Budget, Plan, Pool

from ..models import RoutingDecision, RoutingPlan
from . import learning, requests
from .deciding import Worth, decisions_of
from .evidence import TaskEvidence
from .learning import Known

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

ROUNDS = "adaptive_advantage"
STEPS = 21
LIMITS = {"explore": (5, 15), "least_points": (0, 50), "most_labels": (1, 5)}
DEFAULTS = {"explore": 5, "least_points": round(100 * LEAST_WORTH), "most_labels": 2, "labels": 1}
WORDING = Wording(
    "A person's label is expected to make this label right {score} points more often.",
    "A person's label is not expected to add enough here; the judge's stands, weighed by what people said elsewhere.",
)
DRAWN = "Drawn at random, so that the router also learns where it would not look."
BY_DOUBT = "The judge is among its least sure here; the first labels are where it contradicts itself or gave none."
LATER = "A later round may send it to people: a label would add {score} points."
NO_MONEY = "People are asked for nothing: the budget, after the judge's part of it, does not reach one label."
AGAIN = "One person and the rest disagree here: another person decides."


@dataclass(frozen=True)
class Asked:
    """Which instances may be asked for [N rows]: answers of people so far, and whether somebody is asked already."""

    answered: Ints
    waiting: NDArray[np.bool_]


@dataclass(frozen=True)
class FirstRound:
    """The first round of a plan, as the plan is stored before it is applied."""

    answer: Plan
    worth: Worth
    decisions: list[RoutingDecision]
    curve: dict[str, Any]
    predicted: tuple[float | None, float | None]
    summary: dict[str, Any]
    notes: list[str] = field(default_factory=list)


def setting(plan: RoutingPlan, name: str) -> int:
    """A setting of rounds, or its default."""
    return int(plan.params.get(name, DEFAULTS[name]))


def asked_of(task: Task, ids: Sequence[int], *, stays: QuerySet[AnnotationRequest] | None = None) -> Asked:
    """What people answered and are asked, by row of ``ids``; of what is asked only ``stays``, if given."""
    said = Annotation.objects.live().filter(task=task, source=Source.HUMAN).order_by().values("instance")
    counts = dict(said.annotate(count=Count("pk")).values_list("instance", "count"))
    pending = AnnotationRequest.objects.all() if stays is None else stays
    pending = pending.filter(instance__task=task, source=Source.HUMAN, state=RequestState.OPEN)
    waiting = set(pending.values_list("instance", flat=True))
    return Asked(
        np.array([counts.get(pk, 0) for pk in ids], dtype=np.int64), np.array([pk in waiting for pk in ids], dtype=bool)
    )


def candidates_of(plan: RoutingPlan, learner: Learner, asked: Asked) -> Ints:
    """Instances that nobody labelled or is asked for, and those whose labels leave a doubt that another person pays to
    settle: an answer that agrees with all else leaves none."""
    fresh = (asked.answered == 0) & ~asked.waiting
    doubtful = np.zeros(len(fresh), dtype=bool)
    doubtful[learner.labelled] = True
    doubtful &= (asked.answered < setting(plan, "most_labels")) & ~asked.waiting & ~fresh
    doubtful &= learner.worth > setting(plan, "least_points") / 100
    return np.flatnonzero(fresh | doubtful)


def choose(plan: RoutingPlan, learner: Learner, known: Known, candidates: Ints, most: int | None, number: int) -> Round:
    """The instances that the next round sends to people, at most ``most``. The same seed and labels, the same round."""
    rng = np.random.default_rng([plan.seed % 2**63, number])
    return learner.next_round(
        candidates,
        known.doubt,
        rng,
        most=most,
        explored=setting(plan, "explore") / 100,
        least_worth=setting(plan, "least_points") / 100,
        whole=False,
    )


def worth_of(learner: Learner) -> Worth:
    """What a label is worth everywhere, with its interval around it."""
    lower, upper = learner.worth_bounds()
    mean = learner.worth
    return Worth(mean, np.minimum(lower, mean), np.maximum(upper, mean))


def reasons_of(chosen: Round, learner: Learner, asked: Asked) -> dict[int, str]:
    """Reasons by row where the strategy's own sentence does not say it."""
    reasons = {} if len(learner.labelled) else dict.fromkeys(map(int, chosen.instances), BY_DOUBT)
    reasons |= dict.fromkeys(map(int, chosen.drawn), DRAWN)
    return reasons | {int(row): AGAIN for row in chosen.instances if asked.answered[row]}


def first_round(plan: RoutingPlan, evidence: TaskEvidence, pool: Pool, arms: Budget) -> FirstRound:
    """The plan's first round, what the whole budget is expected to buy, and a decision for every instance."""
    known = learning.known_of(plan.task, plan.judge, evidence)
    learner = learning.learner_of(known)
    # what earlier plans ask is withdrawn where this one does not ask it, too
    asked = asked_of(
        plan.task, evidence.ids, stays=AnnotationRequest.objects.exclude(pk__in=requests.of_plans(plan.task))
    )
    must = np.zeros(pool.size, dtype=bool) if pool.must is None else pool.must & ~pool.human_done
    candidates = np.flatnonzero((asked.answered == 0) & ~asked.waiting & ~must)
    judge_units = int((~pool.judged & ~pool.human_done).sum()) * arms.judge.cost_units
    left = max(arms.units - judge_units, 0)
    payable = left // arms.human.cost_units if arms.human.cost_units else pool.size
    capacity = pool.size if arms.human.capacity is None else arms.human.capacity
    most = max(min(payable, capacity) - int(must.sum()), 0)
    chosen = choose(plan, learner, known, candidates, most, 1)
    worth = worth_of(learner)
    ranking = Ranking(chosen.instances, worth.mean, worth.lower, WORDING, chosen.chance)
    answer = plan_for(ROUNDS, pool, arms, ranking)
    p_a = learning.posterior(known, learner)
    least = setting(plan, "least_points") / 100
    later = {
        int(row): LATER.replace("{score}", f"{100 * worth.mean[row]:.0f}")
        for row in np.setdiff1d(candidates, chosen.instances)
        if worth.mean[row] > least
    }
    reasons = later | reasons_of(chosen, learner, asked)
    decisions = decisions_of(
        plan, evidence.ids, pool, answer, worth, labels=setting(plan, "labels"), p_a=p_a, reasons=reasons
    )
    counts = np.linspace(0, len(candidates), STEPS).round().astype(np.int64)
    rng = np.random.default_rng(plan.seed % 2**63)
    offered = np.append(counts, min(most, len(candidates)))
    curve = label_curve(learner, known.judge_p, candidates, offered, rng, least_worth=least)
    here = curve.points[-1]
    return FirstRound(
        answer,
        worth,
        decisions,
        _curve_of(plan, curve, judge_units, arms, pool),
        (here.mean, (here.high - here.low) / (2 * 1.96)),
        {
            "rounds": _facts(known, learner, chosen, worth, least, int(must.sum())),
            "accuracy": {"human": float(learner.accuracy), "judge": curve.all_judge},
        },
        _notes(known, chosen, int(must.sum())),
    )


def _curve_of(plan: RoutingPlan, curve: LabelCurve, judge_units: int, arms: Budget, pool: Pool) -> dict[str, Any]:
    """What the budget control draws; its last point is the plan's own and no step of it."""
    done = int(pool.human_done.sum())
    money = [(judge_units + point.offered * arms.human.cost_units) / UNITS_PER_MONEY for point in curve.points]
    steps = list(zip(money, curve.points, strict=True))[:-1]
    return {
        "points": [
            {
                "budget": at,
                "mean": point.mean,
                "low": point.low,
                "high": point.high,
                "human_share": (done + point.bought) / max(pool.size, 1),
            }
            for at, point in steps
        ],
        "references": {
            "random": [[at, point.random] for at, point in steps],
            "all_judge": curve.all_judge,
            "all_human": curve.all_human,
        },
        "metric": "share of labels that are right",
        "currency": plan.task.project.currency,
    }


def _facts(known: Known, learner: Learner, chosen: Round, worth: Worth, least: float, ruled: int) -> dict[str, Any]:
    return {
        "asked": len(chosen.instances) + ruled,
        "drawn": len(chosen.drawn),
        "before": list(known.before),
        "ended": chosen.ended,
        "progress": asdict(learner.progress),
        "stats": stats_of(learner, worth, least),
    }


def stats_of(learner: Learner, worth: Worth, least: float) -> dict[str, float | int]:
    """What a round's page shows of the belief before it."""
    p = learner.probability
    return {
        "right": float(np.maximum(p, 1.0 - p).mean()),
        "accuracy": float(learner.accuracy),
        "labels": len(learner.labelled),
        "paying": int((worth.mean > least).sum()),
    }


def _notes(known: Known, chosen: Round, ruled: int) -> list[str]:
    notes = []
    if known.before:
        notes.append(f"It begins from what people taught on {', '.join(known.before)}.")
    if chosen.ended and not ruled:
        notes.append(f"People are asked for nothing: {chosen.ended}.")
    elif not len(chosen.instances) and not ruled:
        notes.append(NO_MONEY)
    return notes


def labels_wanted(plan: RoutingPlan, asked: Asked, rows: Ints) -> Mapping[int, int]:
    """How many people each row shall have: the plan's number at first, one more where that left a doubt."""
    first = setting(plan, "labels")
    return {int(row): int(asked.answered[row]) + 1 if asked.answered[row] else first for row in rows}
