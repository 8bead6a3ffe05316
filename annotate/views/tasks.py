"""Tasks: what annotators are asked."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from feedback import presets
from feedback.exceptions import Conflict, InvalidInput, WrongState
from feedback.models import Project, Task
from feedback.services import budget, drafts, quality
from feedback.services import tasks as services

from .. import languages
from ..access import in_project, user_of
from ..forms.tasks import TaskForm, values_from, values_of
from ..money import money
from . import reading


def page_context(request: HttpRequest, project: Project, **more: Any) -> dict[str, Any]:
    permissions = request.permissions  # type: ignore[attr-defined]
    return {"project": project, "active": "tasks", "permissions": permissions, **more}


def task_of(project: Project, public_id: UUID) -> Task:
    return get_object_or_404(project.tasks.select_related("project", "guideline", "budget"), public_id=public_id)


@require_GET
@in_project("view")
def tasks(request: HttpRequest, project: Project) -> HttpResponse:
    found = list(project.tasks.select_related("budget").order_by("-created_at", "-pk"))
    progress = quality.progress_of(found)
    rows = [{"task": task, "progress": progress[task.pk], "money": money_row(task, project)} for task in found]
    return render(request, "tasks/tasks.html", page_context(request, project, rows=rows))


@require_http_methods(["GET", "POST"])
@in_project("manage")
def task_create(request: HttpRequest, project: Project) -> HttpResponse:
    """A new task, which asks what the preset at ``?preset=`` asks until its questions are changed."""
    chosen = request.GET.get("preset", "")
    chosen = chosen if chosen in presets.NAMES else presets.NAMES[0]
    form = TaskForm(request.POST or None, initial=values_from(presets.preset(chosen)))
    if form.is_valid():
        made = _create(form, project, presets.preset(chosen).stored_questions(), request)
        if made:
            messages.success(request, "Task created. Look at its questions, then import instances and open it.")
            return redirect("task-questions", project.public_id, made.public_id)
    context = page_context(request, project, form=form, presets=presets.presets(), chosen=chosen)
    context["chosen_source"] = presets.preset(chosen).source
    return render(request, "tasks/form.html", context, status=422 if form.is_bound else 200)


def _create(form: TaskForm, project: Project, questions: list[dict[str, Any]], request: HttpRequest) -> Task | None:
    data = form.cleaned_data
    try:
        return services.create_task(
            project,
            data["name"],
            questions,
            actor=user_of(request),
            guideline=data["guideline"],
            budget_micros=data["budget_micros"],
            **form.settings(),
        )
    except (InvalidInput, Conflict) as error:
        form.show(error)
        return None


@require_GET
@in_project("view")
def task(request: HttpRequest, project: Project, task: UUID) -> HttpResponse:
    row = task_of(project, task)
    context = page_context(
        request,
        project,
        task=row,
        progress=quality.progress_of([row])[row.pk],
        agreements=quality.agreement_of(row),
        money=money_row(row, project),
        guideline=reading.guideline_row(row.guideline),
        can_open=row.state != "open" and row.instances.exists(),
        versions=row.question_versions.select_related("created_by").order_by("-number")[:10],
        asked_of_all=", ".join([*sorted(map(languages.name_of, row.languages)), *row.skills]),
        draft_waits=drafts.draft_of(row).questions != row.questions,
    )
    return render(request, "tasks/task.html", context)


@require_http_methods(["GET", "POST"])
@in_project("manage")
def task_edit(request: HttpRequest, project: Project, task: UUID) -> HttpResponse:
    row = task_of(project, task)
    form = TaskForm(request.POST or None, initial=values_of(row))
    if form.is_valid() and _edit(form, row, request):
        messages.success(request, "Saved.")
        return redirect("task", project.public_id, row.public_id)
    context = page_context(request, project, form=form, task=row)
    return render(request, "tasks/form.html", context, status=422 if form.is_bound else 200)


def _edit(form: TaskForm, row: Task, request: HttpRequest) -> bool:
    """Store what the form changed, all or nothing."""
    data, actor = form.cleaned_data, user_of(request)
    changes = {"name": data["name"], **form.settings()}
    kept = {name for name in ("overlap", "plan_only") if changes[name] == getattr(row, name)}
    if kept == {"overlap", "plan_only"}:
        del changes["overlap"]  # an unchanged overlap must not reopen what a plan closed
    try:
        with transaction.atomic():
            if data["guideline"] != (row.guideline.text if row.guideline else ""):
                services.set_guideline(row, data["guideline"], actor=actor)
            if data["budget_micros"] != budget.budget_of(row).cap_micros:
                budget.set_cap(row, data["budget_micros"], actor=actor)
            services.edit_task(row, actor=actor, **changes)
    except (InvalidInput, Conflict) as error:
        form.show(error)
        return False
    return True


@require_POST
@in_project("manage")
def task_open(request: HttpRequest, project: Project, task: UUID) -> HttpResponse:
    row = task_of(project, task)
    try:
        services.open_task(row, actor=user_of(request))
        messages.success(request, "The task is open: people can label.")
    except WrongState as error:
        messages.error(request, error.message)
    return redirect("task", project.public_id, row.public_id)


@require_POST
@in_project("manage")
def task_close(request: HttpRequest, project: Project, task: UUID) -> HttpResponse:
    row = task_of(project, task)
    services.close_task(row, actor=user_of(request))
    messages.success(request, "The task is closed. What is lent can still be submitted.")
    return redirect("task", project.public_id, row.public_id)


def money_row(task: Task, project: Project) -> dict[str, Any]:
    """A task's money in words, and in whole cents for the bar."""
    purse = budget.budget_of(task) if not hasattr(task, "budget") else task.budget
    words = {
        name: money(getattr(purse, f"{name}_micros"), project.currency) for name in ("cap", "spent", "reserved", "left")
    }
    return {"budget": purse, "price": money(task.human_price_micros, project.currency), **words}
