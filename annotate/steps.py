"""The loop of a project, step by step: what is done, and the one thing to do next."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse

from feedback.models import Annotation, DatasetState, DatasetVersion, Instance, Project, Source, TaskState
from routing.models import PlanState, RoutingPlan
from training.models import Run, RunState


@dataclass(frozen=True)
class Step:
    """One step of the loop. ``words`` is its button, ``why`` one sentence, ``count`` what there is of it so far."""

    key: str
    title: str
    why: str
    words: str
    url: str
    done: bool
    count: str = ""


@dataclass(frozen=True)
class State:
    """What the steps are decided from; counts over the whole project."""

    tasks: int
    open_tasks: int
    instances: int
    by_people: int
    by_judges: int
    plans: int
    versions: int
    trained: int


def state_of(project: Project) -> State:
    """Eight counts; each stops at what a page shows."""
    live = Annotation.objects.live().filter(task__project=project)
    return State(
        tasks=project.tasks.count(),
        open_tasks=project.tasks.filter(state=TaskState.OPEN).count(),
        instances=Instance.objects.filter(task__project=project, removed_at=None).count(),
        by_people=live.exclude(source=Source.JUDGE).count(),
        by_judges=live.filter(source=Source.JUDGE).count(),
        plans=RoutingPlan.objects.filter(task__project=project, state__in=[PlanState.READY, PlanState.APPLIED]).count(),
        versions=DatasetVersion.objects.filter(task__project=project, state=DatasetState.READY).count(),
        trained=Run.objects.filter(project=project, state=RunState.FINISHED).count(),
    )


_STEPS = [
    ("tasks", "Create a task", "It holds the questions that people and judges answer.", "New task", "task-create"),
    (
        "instances",
        "Import instances",
        "Prompts with two or more completions, from a file with your columns or a known data set.",
        "Import instances",
        "import-new",
    ),
    (
        "by_people",
        "Label",
        "Open the task and invite people; the first answers show how hard the choices are.",
        "Invite people",
        "people",
    ),
    (
        "by_judges",
        "Ask a judge",
        "A language model answers the same question in both orders, for a fraction of the price.",
        "Set up a judge",
        "judge",
    ),
    (
        "plans",
        "Plan who labels what",
        "Tiebreak predicts where a person's answer is worth its price, and where the judge's is enough.",
        "Plan routing",
        "routing",
    ),
    (
        "versions",
        "Freeze a dataset version",
        "An immutable, hashed set of preferences with a card; it is what you export and train on.",
        "Freeze version",
        "dataset-create",
    ),
    (
        "trained",
        "Train",
        "A reward model or a policy, scored on held-out prompts. Its score makes the next plan better.",
        "Start training",
        "run-create",
    ),
]


def steps_of(project: Project, state: State) -> list[Step]:
    """The seven steps with what is done of each."""
    return [
        Step(key, title, why, words, _url(name, project), bool(getattr(state, key)), f"{getattr(state, key):,}")
        for key, title, why, words, name in _STEPS
    ]


def next_step(project: Project, state: State, steps: list[Step]) -> Step:
    """The first thing missing; with everything there, another round."""
    if state.tasks and state.instances and not state.open_tasks:
        why = "Instances are there, but people cannot label until a task is open."
        return Step("open", "Open the task", why, "See tasks", _url("tasks", project), False)
    if state.open_tasks and state.instances and not state.by_people:
        why = "The task is open. Label a few instances yourself, or invite people."
        return Step("label", "Label the first instances", why, "Label", reverse("queue"), False)
    missing = next((step for step in steps if not step.done), None)
    if missing:
        return missing
    why = "A model is trained and scored. Plan again: its score tells the plan where people are worth their price."
    return Step("again", "Plan the next round", why, "Plan routing", _url("routing", project), False)


def _url(name: str, project: Project) -> str:
    return reverse(name, args=[project.public_id])
