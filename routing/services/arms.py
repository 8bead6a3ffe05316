"""A plan's own arms beside people and judge: who has which skill, at what price, and how often each is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from feedback.abilities import skill_name
from feedback.exceptions import WrongState
from feedback.models import Annotation, Instance, Project, Source, Task
from feedback.services.budget import MICROS
from feedback.services.people import annotators_with, skills_of
from feedback.text import InvalidText
from routing.ppm import pool as ppm
from routing.ppm.people import group_accuracy
from routing.ppm.pool import Budget, Pool
from routing.ppm.quality import INTERVAL_Z, Advantage, LabelQuality, majority_accuracy

from ..models import RoutingPlan
from .evidence import TaskEvidence
from .requests import LABELS, with_skill_asked

MOST_ARMS = 4
MOST_NAME = 40
CHOOSES = "adv_per_cost"
"""The strategy that chooses among several arms."""
TAKEN = {"judge", "people"}
LIMITS = {"price_micros": (0, 10**12), "labels": LABELS, "capacity": (0, 10**7), "accuracy": (50, 99)}
FIELDS = {"name", "kind", "skill", *LIMITS}
OPTIONAL = sorted(FIELDS - {"name", "kind", "price_micros"})
NOT_HEARD = "Nobody's labels tell yet how often {name} is right: it is taken to be {share:.0%}."


@dataclass(frozen=True)
class OwnArm:
    """``labels`` people for an instance, who have ``skill`` (if any), at ``price_micros`` a label; for ``capacity``
    instances at most. ``accuracy``: how often one is right, in percent, as far as the admin knows."""

    name: str
    kind: Literal["crowd", "expert"]
    skill: str = ""
    price_micros: int = 0
    labels: int = 1
    capacity: int | None = None
    accuracy: int | None = None

    @property
    def arm(self) -> ppm.Arm:
        return ppm.Arm(self.name, self.kind, self.price_micros / MICROS, self.labels, self.capacity)


def arms_of(plan: RoutingPlan) -> list[OwnArm]:
    """The arms that the plan's admin added."""
    return [OwnArm(**one) for one in plan.params.get("arms", [])]


def checked_arms(project: Project, given: object) -> list[dict[str, Any]]:
    """Arms as plans keep them. Raises ValueError with a sentence that says which arm is wrong, why, and what to do."""
    if not isinstance(given, list) or len(given) > MOST_ARMS:
        raise ValueError(f"Must be a list of at most {MOST_ARMS} arms.")
    known = skills_of(project)
    arms = [_checked(number, one, known) for number, one in enumerate(given, 1)]
    names = [one["name"].casefold() for one in arms]
    if len(set(names)) < len(names) or TAKEN & set(names):
        raise ValueError("Every arm needs a name of its own, other than judge and people.")
    return arms


def _checked(number: int, given: object, known: Sequence[str]) -> dict[str, Any]:
    if not isinstance(given, Mapping) or not {"name", "kind", "price_micros"} <= set(given) <= FIELDS:
        raise ValueError(f"Arm {number} needs a name, a kind and a price_micros, and may have {', '.join(OPTIONAL)}.")
    name = given["name"]
    if not isinstance(name, str) or not 0 < len(name.strip()) <= MOST_NAME:
        raise ValueError(f"Arm {number} needs a name of at most {MOST_NAME} characters.")
    if given["kind"] not in ("crowd", "expert"):
        raise ValueError(f"Arm {number} is of no known kind: choose crowd or expert.")
    arm: dict[str, Any] = {"name": name.strip(), "kind": given["kind"]}
    try:
        arm["skill"] = skill_name(str(given.get("skill") or ""))
    except InvalidText as error:
        raise ValueError(f"Arm {number}: the skill {error.reason}.") from error
    if arm["kind"] == "expert" and not arm["skill"]:
        raise ValueError(f"Arm {number}: experts are people with a skill; name it.")
    if arm["skill"] and arm["skill"] not in known:
        there = ", ".join(known) or "nobody has any"
        raise ValueError(f"Arm {number}: nobody who labels here has the skill {arm['skill']!r}. There are: {there}.")
    for field, (low, high) in LIMITS.items():
        value = given.get(field)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"Arm {number}: {field} must be a whole number between {low:,} and {high:,}.")
        arm[field] = value
    return arm


def with_arms(plan: RoutingPlan, evidence: TaskEvidence, pool: Pool, quality: LabelQuality) -> tuple[Pool, list[str]]:
    """The pool with what each arm adds over the judge, by slice, as far as labels tell; and notes on what they do not.

    Slices are the prompt's category, and whether the judge's orders agree. An instance that asks for another skill by
    itself is nothing for an arm. Raises WrongState where people's advantage over the judge is not known yet.
    """
    own = arms_of(plan)
    if not own:
        return pool, []
    if pool.advantage is None or pool.learner is None:
        raise WrongState("Arms are chosen by how often each is right, which nobody's labels tell yet: label a pilot.")
    facts = evidence.evidence
    sections = np.zeros(pool.size, dtype=np.int64) if facts.sections is None else facts.sections
    slices = 2 * sections + facts.order_consistent
    who, asking = _annotators(plan.task, evidence), _skills(plan.task, evidence)
    found, notes = {}, []
    for one in own:
        people = set(annotators_with(plan.task.project, one.skill)) if one.skill else None
        member = np.array([people is None or pk in people for pk in who], dtype=bool)
        expected = None if one.accuracy is None else one.accuracy / 100
        told = group_accuracy(pool.learner, quality.human_mean, member, slices, expected=expected)
        if not told.labels:
            notes.append(NOT_HEARD.format(name=one.name, share=float(told.mean.mean())))
        fits = np.isin(asking, ["", one.skill]) if one.skill else asking == ""
        found[one.name] = _advantage(pool.advantage, told.mean, told.sd, one.labels, fits)
    return replace(pool, arm_advantages=found), notes


def _advantage(people: Advantage, p: ppm.Floats, sd: ppm.Floats, labels: int, fits: ppm.Bools) -> Advantage:
    """Over the judge, whose accuracy is that beside which people's is known. Nothing where the arm does not fit."""
    right = majority_accuracy(p, labels)
    mean = np.where(fits, right - people.p_judge, -1.0)
    spread = np.hypot(INTERVAL_Z * sd, people.upper - people.mean)
    return Advantage(mean, mean - spread, mean + spread, right, people.p_judge)


def _annotators(task: Task, evidence: TaskEvidence) -> list[int]:
    """Who gave each of the votes, in the order in which the learner heard them: that of the votes."""
    rows = dict(Annotation.objects.filter(task=task, source=Source.HUMAN).values_list("pk", "annotator_id"))
    return [rows[pk] for pk in evidence.said]


def _skills(task: Task, evidence: TaskEvidence) -> np.ndarray[Any, Any]:
    """The skill that each instance asks for by itself [N]."""
    rows = dict(Instance.objects.filter(task=task).exclude(skill="").values_list("pk", "skill"))
    for pk in with_skill_asked(task):
        rows.pop(pk, None)
    return np.array([rows.get(pk, "") for pk in evidence.ids], dtype=object)


def counts_of(plan: RoutingPlan, answer: ppm.Plan, arms: Budget, pool: Pool) -> list[dict[str, Any]]:
    """Each arm's new instances, price of one and mean accuracy there, as the plan's page shows them."""
    names = {one.name: one for one in arms_of(plan)}
    rows = []
    for number, arm in enumerate(arms.arms):
        chosen = (answer.choice == number) & ~pool.human_done
        told = pool.arm_advantages.get(arm.name, pool.advantage if number == 1 else None)
        own = names.get(arm.name)
        rows.append(
            {
                "name": arm.name,
                "kind": arm.kind,
                "skill": own.skill if own else "",
                "labels": arm.n_labels,
                "price_micros": round(arm.unit_cost * MICROS),
                "capacity": arm.capacity,
                "count": int(chosen.sum()),
                "accuracy": _accuracy(number, told, pool),
            }
        )
    return rows


def _accuracy(number: int, told: Advantage | None, pool: Pool) -> float | None:
    if number == 0:
        return None if pool.advantage is None else float(pool.advantage.p_judge.mean())
    return None if told is None else float(told.p_human.mean())
