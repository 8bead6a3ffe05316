"""The dashboard of a project: how far, can we trust it, what does it cost, what next."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from feedback.models import Annotation, Budget, DatasetVersion, Project, Source, Task
from feedback.services import quality
from routing.models import RoutingPlan
from training.models import Run

from ..access import in_project, task_from
from ..forms.routing import strategy_words
from ..money import money
from ..steps import next_step, state_of, steps_of

RECENT = 5


@require_GET
@in_project("view")
def overview(request: HttpRequest, project: Project) -> HttpResponse:
    state = state_of(project)
    steps = steps_of(project, state)
    context: dict[str, Any] = {
        "project": project,
        "active": "overview",
        "permissions": request.permissions,  # type: ignore[attr-defined]
        "steps": steps,
        "next": next_step(project, state, steps),
        "beginning": not (state.by_people or state.by_judges),
    }
    if state.tasks:
        context |= _figures(request, project)
    return render(request, "overview/overview.html", context)


def _figures(request: HttpRequest, project: Project) -> dict[str, Any]:
    tasks = list(project.tasks.select_related("budget").order_by("-created_at", "-pk"))
    progress = quality.progress_of(tasks)
    focus = task_from(request, project)
    return {
        "rows": [{"task": task, "progress": progress[task.pk]} for task in tasks],
        "tasks": tasks,
        "task": focus,
        "total": reduce(add, progress.values()),
        "agreements": quality.agreement_of(focus) if focus else [],
        "shares": share_bars(quality.shares_of(project)),
        "money": money_of(project),
        **_latest(project, focus),
    }


def _latest(project: Project, focus: Task | None) -> dict[str, Any]:
    versions = DatasetVersion.objects.filter(task__project=project).select_related("task")
    plan = RoutingPlan.objects.filter(task=focus).exclude(strategy="pilot").order_by("-created_at").first()
    return {
        "plan": plan,
        "plan_name": strategy_words(plan.strategy) if plan else "",
        "plan_tone": {"ready": "accent", "applied": "success", "failed": "danger"}.get(plan.state, "") if plan else "",
        "versions": versions.order_by("-created_at")[:RECENT],
        "runs": Run.objects.filter(project=project).select_related("version__task").order_by("-created_at")[:RECENT],
        "jobs": project.jobs.active().order_by("-created_at")[:RECENT],
    }


def money_of(project: Project) -> dict[str, str | int]:
    """The purses of all tasks together, in words and, for the bar, in micros."""
    sums = Budget.objects.filter(task__project=project).aggregate(
        cap=Sum("cap_micros", default=0),
        spent=Sum("spent_micros", default=0),
        reserved=Sum("reserved_micros", default=0),
    )
    people = Annotation.objects.live().filter(task__project=project, source=Source.HUMAN)
    paid = people.aggregate(sum=Sum("price_micros", default=0))["sum"]
    amounts = sums | {
        "left": sums["cap"] - sums["spent"] - sums["reserved"],
        "people": paid,
        "judge": max(0, sums["spent"] - paid),
    }
    words = {name: money(amount, project.currency) for name, amount in amounts.items()}
    used = sums["spent"] + sums["reserved"]
    return words | {"used_micros": used, "cap_micros": sums["cap"]}


def share_bars(shares: list[quality.Share]) -> list[dict[str, Any]]:
    """Rows of ``components/_bars.html``: who labelled how much."""
    tones = {"human": "human", "judge": "judge"}
    return [
        {
            "label": share.name,
            "value": share.count,
            "words": f"{share.count:,}",
            "note": f"{share.share:.0%}",
            "tone": tones.get(share.kind, "muted"),
        }
        for share in shares
    ]
