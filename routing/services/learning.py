"""Rows → the adaptive learner: signals of a task's pool, people's labels so far, and what earlier tasks taught."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedback.models import Annotation, Annotator, Source, Task
from feedback.questions import PreferenceQuestion, strength
from routing.ppm.adaptive import Learner, Progress
from routing.ppm.people import label_accuracy
from routing.ppm.signals import Signals, Verdicts, signals_of
from routing.ppm.transfer import Learned, learned_from, warm_signals

from ..models import PerformancePredictionModel, RoutingPlan
from .evidence import TaskEvidence, load_evidence

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PREFERENCE = "preference"
MOST_OTHERS = 8
LEAST_COVERAGE = 0.2
MOST_EARLIER = 5
NO_VERDICT_DOUBT = 3.0


@dataclass(frozen=True)
class Known:
    """All that the learner may know of a task: evidence, signals, the judge's own doubt [N] and P(a better) [N], and
    the tasks whose lessons its prior holds."""

    evidence: TaskEvidence
    signals: Signals
    doubt: Floats
    judge_p: Floats
    before: tuple[str, ...]
    first: Progress


def load_known(task: Task, judge: Annotator | None, pilot: Sequence[str] | None = None) -> Known:
    """Everything that routing in rounds may know. With ``pilot`` people's labels elsewhere are left out."""
    return known_of(task, judge, load_evidence(task, judge, pilot))


def known_of(task: Task, judge: Annotator | None, evidence: TaskEvidence) -> Known:
    """The same from evidence that is loaded already."""
    main, others = _verdicts(task, judge, evidence.ids)
    pool, facts = evidence.pool, evidence.evidence
    signals = signals_of(
        Verdicts(main, np.column_stack([*others.values()]) if others else np.zeros((len(main), 0))),
        pool.features,
        pool.group,
        pool.a,
        pool.b,
        [f"judge {name}" for name in others],
    )
    lessons = _lessons(task)
    doubt = np.where(np.isnan(facts.judge_p), NO_VERDICT_DOUBT, 1.0 - np.abs(main) + ~facts.order_consistent)
    taught = [learned for _, learned in lessons]
    accuracy = np.average([one.accuracy for one in taught], weights=[one.labels for one in taught]) if taught else None
    first = Progress() if accuracy is None else Progress(float(accuracy), float(accuracy))
    names = tuple(name for name, _ in lessons)
    return Known(evidence, warm_signals(signals, taught), doubt, (main + 1.0) / 2.0, names, first)


def _verdicts(task: Task, judge: Annotator | None, ids: Sequence[int]) -> tuple[Floats, dict[str, Floats]]:
    """Mean verdicts −1…1 of the judge that is routed [N], and of each other judge that said enough, by name."""
    asked = task.preference_question
    assert isinstance(asked, PreferenceQuestion)
    place = {pk: row for row, pk in enumerate(ids)}
    by_judge: dict[int, Floats] = defaultdict(lambda: np.zeros(len(ids)))
    said: dict[int, int] = defaultdict(int)
    rows = Annotation.objects.live().filter(task=task, source=Source.JUDGE)
    if judge is not None:
        rows |= Annotation.objects.live().filter(task=task, source=Source.SIMULATED, annotator=judge)
    columns = ("instance_id", "annotator_id", "answers", "details")
    for pk, who, answers, details in rows.order_by("pk").values_list(*columns).iterator():
        verdict = verdict_of(answers, details, asked)
        if verdict is not None and pk in place:
            by_judge[who][place[pk]] = verdict
            said[who] += 1
    main = by_judge.pop(judge.pk, np.zeros(len(ids))) if judge else np.zeros(len(ids))
    enough = [who for who in by_judge if said[who] >= LEAST_COVERAGE * len(ids)]
    most = sorted(enough, key=lambda who: (-said[who], who))[:MOST_OTHERS]
    names = dict(Annotator.objects.filter(pk__in=most).values_list("pk", "name"))
    return main, {f"{names[who]} {who}": by_judge[who] for who in most}


def verdict_of(answers: Mapping[str, Any], details: Mapping[str, Any], asked: PreferenceQuestion) -> float | None:
    """A judge's verdict from A's side, −1 … 1: the mean side of its orders where they are kept (0 where they are known
    to contradict each other), else 2·P(a) − 1, else the side of its value. ``None`` where it gave no preference, as a
    judge that writes critiques, or answered a question that had other steps then."""
    values = [*(details.get("orders") or {}).values()]
    sides = [side for v in values if (side := _side(v, asked)) is not None]
    if sides:
        return sum(sides) / len(sides)
    if details.get("order_consistent") is False:
        return 0.0
    p_a = details.get("p_a")
    if isinstance(p_a, (int, float)):
        return 2.0 * float(p_a) - 1.0
    return _side(answers.get(asked.name, {}).get("value"), asked)


def _side(value: object, asked: PreferenceQuestion) -> float | None:
    signed = strength(value, asked.steps) if isinstance(value, str) and value in asked.values() else None
    return None if signed is None else float(np.sign(-signed))


def learner_of(known: Known, progress: Progress | None = None, heard: Sequence[int] | None = None) -> Learner:
    """The learner with all labels so far. Without ``progress`` it learns them in one go; with it, the annotations
    ``heard`` (none given: all) are known already, and it learns from the others, whichever round asked for them."""
    votes = known.evidence.evidence.votes
    said = (votes.side + 1.0) / 2.0
    learner = Learner(known.signals, progress or known.first)
    if progress is None:
        if len(said):
            learner.learn(votes.instance, said)
        return learner
    new = np.isin(known.evidence.said, known.evidence.said if heard is None else heard, invert=True)
    learner.know(votes.instance[~new], said[~new])
    if new.any():
        learner.learn(votes.instance[new], said[new])
    return learner


def posterior(known: Known, learner: Learner) -> Floats:
    """P(a better) [N] from judge and people, each label weighed by its person's accuracy and the slice's.

    Slices are the prompt's category, and whether the judge's orders agree.
    """
    facts = known.evidence.evidence
    if not len(learner.labelled):
        return learner.probability
    sections = np.zeros(len(facts.judge_p), dtype=np.int64) if facts.sections is None else facts.sections
    slices = 2 * sections + facts.order_consistent
    order = _in_order(learner, facts.votes.instance)
    accuracy = label_accuracy(learner, facts.votes.annotator[order], slices[learner.labelled])
    return learner.weighed(accuracy)


def _in_order(learner: Learner, instance: Ints) -> Ints:
    """The votes' rows in the order in which the learner heard them; votes of one instance keep theirs."""
    heard = np.argsort(learner.labelled, kind="stable")
    order = np.empty(len(instance), dtype=np.int64)
    order[heard] = np.argsort(instance, kind="stable")
    return order


def _lessons(task: Task) -> list[tuple[str, Learned]]:
    """What the project's other tasks taught, the newest of each, at most five."""
    rows = PerformancePredictionModel.objects.filter(kind=PREFERENCE, task__project=task.project_id)
    found: dict[int, tuple[str, Learned]] = {}
    for row in rows.exclude(task=task).select_related("task").order_by("-pk")[:50]:
        found.setdefault(row.task_id, (row.task.name, _learned(row.coefficients)))
    return list(found.values())[:MOST_EARLIER]


def _learned(kept: Mapping[str, Any]) -> Learned:
    weights = {name: (float(mean), float(variance)) for name, (mean, variance) in kept["weights"].items()}
    return Learned(weights, float(kept["accuracy"]), int(kept["labels"]))


def keep_lesson(plan: RoutingPlan, known: Known, learner: Learner) -> None:
    """Store what the plan taught, for the plans of other tasks; the newest stands for its plan."""
    if not len(learner.labelled):
        return
    learned = learned_from(known.signals, learner.model, len(learner.labelled))
    kept = {**asdict(learned), "weights": {name: list(both) for name, both in learned.weights.items()}}
    if plan.lesson_id is not None:
        PerformancePredictionModel.objects.filter(pk=plan.lesson_id).update(coefficients=kept)
        return
    plan.lesson = PerformancePredictionModel.objects.create(task=plan.task, kind=PREFERENCE, coefficients=kept)
    RoutingPlan.objects.filter(pk=plan.pk).update(lesson=plan.lesson)
