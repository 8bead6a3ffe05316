"""The demo project: sixty written instances, every question kind configured, and one turn of the loop.

Labels come from simulated annotators and a simulated judge, through the services that people and judges use.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

from feedback.exceptions import NothingToLabel
from feedback.formats.splits import prompt_hash
from feedback.models import Assignment, Instance, Membership, Project, Role, Task, User
from feedback.questions import value_of_strength
from feedback.services import datasets, jobs, people, queue, tasks
from routing.services.judges import create_judge
from routing.services.judging import start_judging
from routing.services.planning import make_plan
from training.base_models import SMALL
from training.services import start_run

NAME = "Demo: everyday questions"
FOLDER = Path(__file__).parent
GUIDELINE = """\
## What makes a completion better

1. **True.** A wrong statement weighs more than anything else.
2. **Helpful.** It answers what was asked, and says what to do.
3. **Safe.** It warns where harm is likely, and only there.
4. **Plain.** No padding. Length by itself is no virtue.

Choose *clearly* when you would be surprised if a colleague disagreed, *slightly* otherwise. Choose a tie only when you
would not care which one you got. *Both are bad* means that you would send neither.
"""

PREFERENCE: list[dict[str, Any]] = [
    {
        "kind": "preference",
        "name": "overall",
        "title": "Which completion is better?",
        "description": "Read both to the end before you choose.",
        "steps": 5,
        "aspects": ["helpful", "truthful", "harmless"],
        "ask_confidence": True,
        "reasons": ["more correct", "clearer", "more complete", "safer", "right length"],
    }
]
EVERY_KIND: list[dict[str, Any]] = [
    {"kind": "ranking", "name": "rank", "title": "Rank the completions", "allow_ties": True},
    {
        "kind": "rating",
        "name": "rubric",
        "title": "Rate each completion",
        "widget": "rubric",
        "scales": [
            {"name": "correctness", "low": 1, "high": 5, "weight": 2.0},
            {"name": "clarity", "low": 1, "high": 5, "weight": 1.0},
        ],
    },
    {
        "kind": "span",
        "name": "errors",
        "title": "Mark what is wrong",
        "types": [{"name": "false", "subtypes": ["number", "cause", "name"]}, {"name": "unclear"}],
        "severities": {"minor": 1, "major": 5},
        "allow_missing": True,
    },
    {"kind": "critique", "name": "critique", "title": "What should change?", "ask_refinement": True},
    {
        "kind": "choice",
        "name": "language",
        "title": "Is the prompt in clear English?",
        "options": ["yes", "no"],
    },
]


@dataclass(frozen=True)
class Person:
    """A simulated annotator: right with probability ``accuracy``, sure of it with probability ``confident``."""

    name: str
    accuracy: float
    confident: float


Says = Callable[[Person, Assignment, random.Random], dict[str, Any]]
CROWD = (Person("Simulated annotator 1", 0.95, 0.8), Person("Simulated annotator 2", 0.85, 0.5))


def load(owner: User, *, seed: int = 7) -> Project:
    """Create the demo project, or return the one that is there."""
    existing = Project.objects.filter(name=NAME).first()
    if existing:
        return existing
    project = people.create_project(
        NAME, owner=owner, description="Sixty written instances. Labels here come from simulated annotators."
    )
    several, task = everything_task(project, owner), preference_task(project, owner)
    crowd = hire(project)
    label(task, crowd, opinion, random.Random(seed), share=0.6)
    label(several, crowd, everything, random.Random(seed), share=0.3)
    turn(task, owner)
    return project


def preference_task(project: Project, owner: User) -> Task:
    """The open task: 48 pairs, two people each."""
    task = tasks.create_task(
        project,
        "Helpful and true",
        PREFERENCE,
        actor=owner,
        guideline=GUIDELINE,
        budget_micros=60_000_000,
        description="Which of two answers to an everyday question would you rather get?",
        overlap=3,
    )
    Instance.objects.bulk_create(pair(task, n, row) for n, row in enumerate(rows("pairs.jsonl")))
    tasks.open_task(task, actor=owner)
    return task


def everything_task(project: Project, owner: User) -> Task:
    """An open task with every other question kind on lists of four completions."""
    task = tasks.create_task(
        project, "Rank, rate, mark and rewrite", EVERY_KIND, actor=owner, guideline=GUIDELINE, overlap=2
    )
    Instance.objects.bulk_create(
        instance(task, f"list-{n}", row["prompt"], row["completions"], row["subject"])
        for n, row in enumerate(rows("lists.jsonl"))
    )
    tasks.open_task(task, actor=owner)
    return task


def turn(task: Task, owner: User) -> None:
    """One turn of the loop: judge everything, plan, freeze a version; a run waits for the training worker."""
    judge = create_judge(task.project, "Simulated pool", {"backend": "simulated"}, actor=owner)
    jobs.run(start_judging(task, judge, {"kind": "all"}, actor=owner).pk)
    plan = make_plan(task, "disagreement", 5_000_000, judge=judge.annotator, actor=owner)
    if plan.job:
        jobs.run(plan.job.pk)
    version = datasets.create_version(task, {"splits": [0.7, 0.0, 0.3]}, actor=owner)
    freezing = datasets.job_of(version)
    if freezing:
        jobs.run(freezing.pk)
    version.refresh_from_db()
    if find_spec("torch"):
        start_run(version, "bt", SMALL, {"epochs": 8, "learning_rate": 5e-4, "tokens_per_batch": 2048}, owner)


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


def texts_of(n: int, row: dict[str, Any]) -> list[str]:
    """The completions of pair ``n``: the better one is number n mod 2."""
    return [row["better"], row["worse"]] if n % 2 == 0 else [row["worse"], row["better"]]


def pair(task: Task, n: int, row: dict[str, Any]) -> Instance:
    """An instance whose ``meta`` keeps no hint of which completion is better."""
    return instance(task, f"pair-{n}", row["prompt"], texts_of(n, row), row["subject"])


def instance(task: Task, external_id: str, prompt: str, texts: list[str], subject: str) -> Instance:
    messages = [{"role": "user", "content": prompt}]
    return Instance(
        task=task,
        external_id=external_id,
        prompt=messages,
        completions=[{"content": text, "model": None} for text in texts],
        meta={"subject": subject},
        source="demo",
        prompt_hash=prompt_hash(messages),
        open_slots=task.overlap,
    )


def hire(project: Project) -> list[tuple[Person, User]]:
    """The simulated annotators as members who cannot sign in."""
    crowd = []
    for number, person in enumerate(CROWD, start=1):
        user = User.objects.create_user(f"simulated-{number}@demo.invalid", None, name=person.name, is_active=False)
        Membership.objects.create(project=project, user=user, role=Role.ANNOTATOR)
        crowd.append((person, user))
    return crowd


def label(task: Task, crowd: list[tuple[Person, User]], says: Says, rng: random.Random, *, share: float) -> None:
    """Let the simulated annotators label ``share`` of the instances through the real queue."""
    count = int(task.instances.count() * share)
    for person, user in crowd:
        for _ in range(count):
            try:
                assignment = queue.next_assignment(task, user)
            except NothingToLabel:
                break
            answers, active_ms = says(person, assignment, rng), rng.randint(8_000, 60_000)
            queue.submit(assignment, submission_id=uuid4(), answers=answers, active_ms=active_ms)


def opinion(person: Person, assignment: Assignment, rng: random.Random) -> dict[str, Any]:
    """A preference answer of a simulated annotator. The better completion of ``pair-n`` is n mod 2."""
    better = int(assignment.instance.external_id.removeprefix("pair-")) % 2
    right = rng.random() < person.accuracy
    side = better if right else 1 - better
    size = 2 if rng.random() < person.confident else 1
    value = value_of_strength(size if side else -size, 5)
    said = {"value": value, "confidence": rng.randint(3, 5), "reasons": rng.sample(PREFERENCE[0]["reasons"], 1)}
    return {"overall": said}


def everything(person: Person, assignment: Assignment, rng: random.Random) -> dict[str, Any]:
    """Answers of every other kind. The written order of ``list-n`` is the truth; a mistake exchanges two neighbours."""
    row = rows("lists.jsonl")[int(assignment.instance.external_id.removeprefix("list-"))]
    groups = [list(group) for group in row["order"]]
    if rng.random() > person.accuracy:
        at = rng.randrange(len(groups) - 1)
        groups[at], groups[at + 1] = groups[at + 1], groups[at]
    grade = {item: 5 - place for place, group in enumerate(groups) for item in group}
    grades = [grade[item] for item in sorted(grade)]
    worst = groups[-1][0]
    text = row["completions"][worst]
    critiques = ["" for _ in grades]
    critiques[worst] = "It does not answer what was asked."
    wrong = {"target": worst, "start": 0, "end": len(text.split(".")[0]), "type": "false", "severity": "major"}
    return {
        "rank": {"groups": groups},
        "rubric": {"ratings": {"correctness": grades, "clarity": [max(1, n - rng.randrange(2)) for n in grades]}},
        "errors": {"spans": [wrong]},
        "critique": {"critiques": critiques},
        "language": {"values": ["yes"]},
    }
