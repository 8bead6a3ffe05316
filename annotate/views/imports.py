"""Import by hand: choose a file, say which column is what, look at each bad row, import."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from feedback.exceptions import FeedbackError, InvalidInput
from feedback.formats.sources import SOURCES
from feedback.models import ImportBatch, ImportState, Job, JobKind, Project
from feedback.services import importing, uploads
from feedback.services.uploads import Stored

from ..access import in_project, user_of
from ..forms.imports import ImportForm, KnownSetForm, MappingForm
from .jobs import job_context


@require_http_methods(["GET", "POST"])
@in_project("manage")
def import_new(request: HttpRequest, project: Project) -> HttpResponse:
    wanted = request.GET.get("task")
    newest = project.tasks.order_by("-created_at").first() if wanted is None else None
    initial = {"task": str(newest.public_id) if newest else wanted}
    form = ImportForm(project, request.POST or None, request.FILES or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            return redirect("import", project.public_id, _begin(request, project, form).public_id)
        except FeedbackError as error:
            _tell(form, error)
    context = {"project": project, "active": "instances", "form": form}
    return render(request, "imports/new.html", context, status=422 if form.is_bound else 200)


def _begin(request: HttpRequest, project: Project, form: ImportForm) -> ImportBatch:
    """Store the file, make the task when a new one is wanted, and look through what is there."""
    stored = _stored(form)
    actor = user_of(request)
    try:
        task = form.tasks.get(form.cleaned_data["task"])
        if task is None:
            task = importing.new_task_for(project, stored, name=form.cleaned_data["task_name"], actor=actor)
        batch = importing.new_batch(task, stored, actor=actor)
    except FeedbackError:
        uploads.discard(stored)
        raise
    if batch.format in SOURCES:
        importing.dry_run(batch)
    return batch


def _stored(form: ImportForm) -> Stored:
    file = form.cleaned_data["file"]
    if file:
        return uploads.store_upload(file.chunks(), file.name)
    return uploads.server_source(form.cleaned_data["server_path"])


def _tell(form: Any, error: FeedbackError) -> None:
    """A service's refusal on the form: at its field where the form has it."""
    told = error.errors or {"": error.message}
    for path, sentence in told.items():
        name = path.removeprefix("mapping.").split(".")[0]
        form.add_error(name if name in form.fields else None, sentence)


@require_http_methods(["GET", "POST"])
@in_project("manage")
def import_page(request: HttpRequest, project: Project, batch: UUID) -> HttpResponse:
    """The state of one import; a POST sets the mapping and looks through the file again."""
    row = _batch(project, batch)
    look = importing.look(row) if row.state != ImportState.IMPORTED else None
    form = _mapping_form(request, row, look)
    if request.method == "POST" and form.is_valid():
        try:
            columns = form.columns() if isinstance(form, MappingForm) else None
            importing.set_mapping(row, columns, annotations=form.cleaned_data["annotations"])
            importing.dry_run(row)
            return redirect("import", project.public_id, row.public_id)
        except FeedbackError as error:
            _tell(form, error)
    context = _page(request, project, row) | {"form": form, "look": look, "table": _table(look)}
    return render(request, "imports/import.html", context, status=422 if form.is_bound else 200)


def _batch(project: Project, public_id: UUID) -> ImportBatch:
    rows = ImportBatch.objects.filter(task__project=project).select_related("task__project", "created_by")
    return get_object_or_404(rows, public_id=public_id)


def _mapping_form(request: HttpRequest, row: ImportBatch, look: importing.Look | None) -> MappingForm | KnownSetForm:
    annotations = row.mapping.get("annotations", True)
    data = request.POST if request.method == "POST" else None
    if look is None:
        return KnownSetForm(data, initial={"annotations": annotations})
    return MappingForm(look.columns, look.mapping, data, annotations=annotations)


def _page(request: HttpRequest, project: Project, row: ImportBatch) -> dict[str, Any]:
    job = Job.objects.filter(project=project, kind=JobKind.IMPORT, params__batch=row.pk).order_by("-pk").first()
    report = row.report or {}
    source = SOURCES.get(row.format)
    return {
        "active": "instances",
        "batch": row,
        "format": source.title if source else "Table with mapped columns",
        "report": report,
        "imported": row.state == ImportState.IMPORTED,
        "more_errors": report.get("errors", 0) - len(report.get("first_errors", [])),
        "limit": importing.INLINE_ROWS,
        **(job_context(request, project, job) if job else {"project": project}),
    }


def _table(look: importing.Look | None) -> list[list[str]]:
    """The first rows as short texts."""
    if look is None:
        return []
    return [[str(row.get(column, ""))[:160] for column in look.columns] for row in look.rows]


@require_POST
@in_project("manage")
def import_run(request: HttpRequest, project: Project, batch: UUID) -> HttpResponse:
    row = _batch(project, batch)
    try:
        importing.start_import(row, actor=user_of(request), skip_bad_rows=request.POST.get("skip_bad_rows") == "on")
    except InvalidInput as error:
        return render(request, "imports/import.html", _page(request, project, row) | {"refused": error}, status=422)
    return redirect("import", project.public_id, row.public_id)
