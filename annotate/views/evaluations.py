"""Evaluations of trained models."""

from __future__ import annotations

import secrets
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_safe

from feedback.exceptions import FeedbackError
from feedback.models import Project, User
from feedback.services import uploads
from training import evaluations
from training.models import Evaluation, TrainedModel

from ..access import in_project, user_of
from ..downloads import send_file
from ..forms.evaluations import EvaluationForm
from ..forms.refusing import refuse
from .figures import accuracy_words, reliability_chart, section_bars, slice_rows
from .jobs import job_context


@require_http_methods(["GET", "HEAD", "POST"])
@in_project("manage")
def evaluation_create(request: HttpRequest, project: Project, model: UUID) -> HttpResponse:
    rows = TrainedModel.objects.select_related("run__project", "run__version__task")
    row = get_object_or_404(rows, run__project=project, public_id=model)
    initial = {"max_length": row.run.config.get("max_length", 512)}
    form = EvaluationForm(project, request.POST or None, request.FILES or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        key = request.POST.get("key", "")[:64]
        try:
            made = _start(row, form, user_of(request), f"form:{key}" if key else "")
            return redirect("evaluation", project.public_id, made.public_id)
        except FeedbackError as error:
            refuse(form, error)
    context = {
        "project": project,
        "active": "models",
        "model": row,
        "form": form,
        "key": request.POST.get("key") or secrets.token_urlsafe(16),
    }
    return render(request, "evaluations/create.html", context, status=422 if form.is_bound else 200)


def _start(model: TrainedModel, form: EvaluationForm, user: User, key: str) -> Evaluation:
    chosen = form.version
    if chosen:
        version, split = chosen
        return evaluations.start_evaluation(
            model, version, user, split=split, config=form.config(), idempotency_key=key
        )
    return evaluations.start_on_upload(
        model, form.cleaned_data["file"], user, config=form.config(), idempotency_key=key
    )


def found(project: Project) -> QuerySet[Evaluation]:
    """The evaluations of a project's models."""
    return Evaluation.objects.filter(model__run__project=project).select_related(
        "model__run__version__task", "model__run__base_run", "version__task", "job", "created_by"
    )


@require_GET
@in_project("view")
def evaluation(request: HttpRequest, project: Project, evaluation: UUID) -> HttpResponse:
    row = get_object_or_404(found(project), public_id=evaluation)
    report = row.report
    context: dict[str, Any] = {
        **job_context(request, project, row.job),
        "active": "models",
        "row": row,
        "model": row.model,
        "run": row.model.run,
        "report": report,
        "accuracy": accuracy_words(row.accuracy),
        "figures": [(row.data_name, report)] if row.accuracy else [],
        "slices": slice_rows(report),
        "reliability": reliability_chart(report),
        "sections": section_bars(report["benchmark"]) if report.get("benchmark") else [],
    }
    return render(request, "evaluations/evaluation.html", context)


@require_safe
@in_project("view")  # type: ignore[arg-type]
def evaluation_scores(request: HttpRequest, project: Project, evaluation: UUID) -> HttpResponseBase:
    return send_scores(request, get_object_or_404(found(project), public_id=evaluation))


def send_scores(request: HttpRequest, evaluation: Evaluation) -> HttpResponseBase:
    """Each pair's scores as JSON lines. Raises Http404 before there are any."""
    path = evaluation.folder / "scores.jsonl"
    if not evaluation.report or not path.is_file():
        raise Http404
    return send_file(request, path, sha256=uploads.hash_of(path)[0], name="scores.jsonl")
