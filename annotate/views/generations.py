"""Trained models at work: policies write completions, reward models score them."""

from __future__ import annotations

import secrets
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from feedback.exceptions import FeedbackError
from feedback.models import Project, Task
from training import generations, scorings, winrates
from training.models import Generation, Scoring, TrainedModel

from ..access import in_project, user_of
from ..forms.generations import GenerationForm, ScoringForm
from ..forms.refusing import refuse
from .jobs import job_context


def _model(project: Project, public_id: UUID) -> TrainedModel:
    return get_object_or_404(
        TrainedModel.objects.select_related("run__project"), run__project=project, public_id=public_id
    )


@require_http_methods(["GET", "HEAD", "POST"])
@in_project("manage")
def generation_create(request: HttpRequest, project: Project, model: UUID) -> HttpResponse:
    row = _model(project, model)
    form = GenerationForm(project, row, request.POST or None)
    if request.method == "POST" and form.is_valid():
        data, key = form.cleaned_data, request.POST.get("key", "")[:64]
        try:
            made = generations.start_generation(
                row,
                form.tasks[data["prompts_of"]],
                user_of(request),
                task=form.tasks.get(data["task"]),
                task_name=data["task_name"],
                opponent=data["opponent"],
                reward_model=form.rewards.get(data["reward_model"]),
                wishes=form.wishes(),
                idempotency_key=f"form:{key}" if key else "",
            )
            return redirect("generation", project.public_id, made.public_id)
        except FeedbackError as error:
            refuse(form, error)
    context = {"project": project, "active": "models", "model": row, "form": form}
    context["key"] = request.POST.get("key") or secrets.token_urlsafe(16)
    return render(request, "generations/create.html", context, status=422 if form.is_bound else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@in_project("manage")
def scoring_create(request: HttpRequest, project: Project, model: UUID) -> HttpResponse:
    row = _model(project, model)
    form = ScoringForm(project, request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            made = scorings.start_scoring(row, form.tasks[form.cleaned_data["task"]], user_of(request))
            return redirect("scoring", project.public_id, made.public_id)
        except FeedbackError as error:
            refuse(form, error)
    context = {"project": project, "active": "models", "model": row, "form": form}
    return render(request, "generations/score.html", context, status=422 if form.is_bound else 200)


@require_GET
@in_project("view")
def generation(request: HttpRequest, project: Project, generation: UUID) -> HttpResponse:
    rows = Generation.objects.select_related("model__run", "reward_model", "prompts", "task", "job", "created_by")
    row = get_object_or_404(rows, model__run__project=project, public_id=generation)
    context = {
        **job_context(request, project, row.job),
        "active": "models",
        "row": row,
        "model": row.model,
        "sides": row.report.get("sides", {}).items(),
        **_compared(row.task),
    }
    return render(request, "generations/generation.html", context)


@require_GET
@in_project("view")
def scoring(request: HttpRequest, project: Project, scoring: UUID) -> HttpResponse:
    rows = Scoring.objects.select_related("model__run", "task", "annotator", "job", "created_by")
    row = get_object_or_404(rows, model__run__project=project, public_id=scoring)
    context = {
        **job_context(request, project, row.job),
        "active": "models",
        "row": row,
        "model": row.model,
        **_compared(row.task),
    }
    return render(request, "generations/scoring.html", context)


def _compared(task: Task) -> dict[str, Any]:
    found = winrates.compared(task)
    return {"task": task, "rates": found.rates, "mismatches": found.mismatches}
