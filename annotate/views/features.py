"""What plans know of a task's instances: how texts are described, and the team's own columns."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from feedback.exceptions import FeedbackError
from feedback.models import Project, Task
from routing.features.columns import source_of
from routing.features.tagged import LEAST_TAUGHT, TAGGED, TagReport
from routing.features.wording import words_of
from routing.models import TaskFeatures
from routing.services import tagging, task_features

from ..access import in_project, no_task_yet, task_from, user_of
from ..forms.features import ColumnsForm
from .jobs import job_context
from .judge import add_errors

COLUMNS_SHOWN = 6
USES = {
    "tagged": "as tagged",
    "learned": "learned",
    "rare": "too rare",
    "few": "too few tagged",
    "poor": "no better than the base rate",
}


@require_GET
@in_project("view")
def features(request: HttpRequest, project: Project) -> HttpResponse:
    task = task_from(request, project)
    if task is None:
        return no_task_yet(request, project)
    return _page(request, project, task)


def _page(request: HttpRequest, project: Project, task: Task, *, form: ColumnsForm | None = None) -> HttpResponse:
    known = task_features.features_of(task)
    context: dict[str, Any] = {
        "active": "routing",
        "task": task,
        "tasks": project.tasks.order_by("name"),
        "features": known,
        "sources": [_source(one) for one in task_features.own_sources(known)],
        "dimensions": [_dimension(one, known) for one in tagging.states_of(task)],
        "pool": known.size,
        "form": form or ColumnsForm(),
        **_job(request, project, task, known),
    }
    return render(request, "features/features.html", context, status=422 if form else 200)


def _source(one: task_features.OwnSource) -> dict[str, Any]:
    values = [f"{words_of(name).rpartition(': ')[2]} ({count:,})" for name, count in one.columns]
    more = len(values) - COLUMNS_SHOWN
    shown = [*values[:COLUMNS_SHOWN], *([f"{more} more"] if more > 0 else [])]
    tag = one.name.startswith("tag:")
    return {"source": one, "words": words_of(one.name), "kind": "tag" if tag else "field", "values": ", ".join(shown)}


def _dimension(one: tagging.DimensionState, known: TaskFeatures) -> dict[str, Any]:
    """A row of the table of tags: how far it is tagged, how it counts, and each option with its figures."""
    prefix = f"{TAGGED}{one.dimension.name}"
    reports = [TagReport(**report) for report in known.tags if source_of(report["name"]) == prefix]
    named = [report for report in reports if report.count]
    return {
        "state": one,
        "unseen": len(reports) - len(named),
        "name": prefix,
        "counts": prefix not in known.left_out,
        "how": _how(reports),
        "options": [
            {
                "words": report.name.partition("=")[2],
                "count": report.count,
                "use": USES[report.use],
                "good": report.counts,
                "accuracy": "" if report.accuracy is None else f"{report.accuracy:.1%}",
                "base": "" if report.base is None else f"{report.base:.1%}",
            }
            for report in sorted(named, key=lambda report: (not report.counts, -report.count))
        ],
    }


def _how(reports: list[TagReport]) -> str:
    used = [report for report in reports if report.counts]
    if not reports:
        return ""
    if used:
        words = "learned from the tagged part" if used[0].use == "learned" else "as tagged"
        return f"{len(used)} of {len(reports)} options, {words}"
    if reports[0].use == "few":
        return f"not yet: at least {LEAST_TAUGHT} different prompts have to be tagged"
    return "none: no option tells anything of a mix here"


def _job(request: HttpRequest, project: Project, task: Task, known: TaskFeatures) -> dict[str, Any]:
    """The newest job of describing or tagging."""
    newest = max(filter(None, (known.job, tagging.newest_job(task))), key=lambda job: job.pk, default=None)
    if newest is None:
        return {"project": project}
    context = job_context(request, project, newest)
    newest.result_url = ""  # type: ignore[attr-defined]  # this is the page it would lead to
    return context


def _back(project: Project, task: Task) -> HttpResponse:
    return redirect(f"{reverse('features', args=[project.public_id])}?task={task.public_id}")


@require_POST
@in_project("manage")
def features_describe(request: HttpRequest, project: Project) -> HttpResponse:
    task = task_from(request, project)
    if task is None:
        return no_task_yet(request, project)
    task_features.start_describing(task, actor=user_of(request))
    return _back(project, task)


@require_POST
@in_project("manage")
def features_columns(request: HttpRequest, project: Project) -> HttpResponse:
    """Which columns count. The page names all that it showed, so that one found meanwhile is not taken off."""
    task = task_from(request, project)
    if task is None:
        return no_task_yet(request, project)
    form = ColumnsForm(request.POST)
    if form.is_valid():
        try:
            task_features.leave_out(task, form.left_out(), actor=user_of(request))
        except FeedbackError as error:
            add_errors(form, error)
        else:
            messages.success(request, "Kept for the plans that are made from now on.")
            return _back(project, task)
    return _page(request, project, task, form=form)
