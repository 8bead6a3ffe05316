"""Trained models: where each comes from, and its files."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET, require_safe

from feedback.models import Project
from training.models import TrainedModel

from ..access import in_project
from ..downloads import send_file
from ..markdown import render as render_markdown
from .figures import accuracy_words

PAGE = 50


@require_GET
@in_project("view")
def models(request: HttpRequest, project: Project) -> HttpResponse:
    found = _models(project).order_by("-run__number")
    before = request.GET.get("before", "")
    if before.isdecimal() and len(before) < 10:
        found = found.filter(run__number__lt=int(before))
    rows = list(found[: PAGE + 1])
    context: dict[str, Any] = {
        "project": project,
        "active": "models",
        "rows": [{"model": model, "accuracy": accuracy_words(model.run.test_accuracy)} for model in rows[:PAGE]],
        "next_url": f"?before={rows[PAGE - 1].run.number}" if len(rows) > PAGE else "",
    }
    return render(request, "models/models.html", context)


def _models(project: Project) -> QuerySet[TrainedModel]:
    return TrainedModel.objects.filter(run__project=project).select_related(
        "run__version__task", "run__base_run__model", "run__created_by", "run__job"
    )


@require_GET
@in_project("view")
def model(request: HttpRequest, project: Project, model: UUID) -> HttpResponse:
    row = get_object_or_404(_models(project), public_id=model)
    context = {
        "project": project,
        "active": "models",
        "model": row,
        "run": row.run,
        "accuracy": accuracy_words(row.run.test_accuracy),
        "evaluations": _evaluations(row),
        "generations": row.generations.select_related("task", "job").order_by("-pk")[:PAGE],
        "scorings": row.scorings.select_related("task", "job").order_by("-pk")[:PAGE],
        "card": render_markdown(row.card.partition("\n---\n")[2]),
    }
    return render(request, "models/model.html", context)


def _evaluations(model: TrainedModel) -> list[dict[str, Any]]:
    rows = model.evaluations.select_related("version__task", "job", "created_by").order_by("-pk")
    return [{"evaluation": one, "accuracy": accuracy_words(one.accuracy)} for one in rows[:PAGE]]


@require_safe
@in_project("view")  # type: ignore[arg-type]
def model_file(request: HttpRequest, project: Project, model: UUID, path: str) -> HttpResponseBase:
    return send_model_file(request, get_object_or_404(_models(project), public_id=model), path)


def send_model_file(request: HttpRequest, model: TrainedModel, path: str) -> HttpResponseBase:
    """A file that the model's manifest lists under exactly this path. Raises Http404 for anything else."""
    file = model.file(path)
    if file is None or not (model.folder / path).is_file():
        raise Http404
    return send_file(request, model.folder / path, sha256=file["sha256"], name=path.rsplit("/", 1)[-1])
