"""A task's definition as a file: out of one task, into another project or installation."""

from __future__ import annotations

import json
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_http_methods

from feedback.exceptions import Conflict, InvalidInput
from feedback.models import Project
from feedback.services import definitions

from ..access import in_project, user_of
from ..forms.tasks import DefinitionForm
from .tasks import page_context, task_of


@require_GET
@in_project("view")
def task_export(request: HttpRequest, project: Project, task: UUID) -> HttpResponse:
    row = task_of(project, task)
    text = json.dumps(definitions.definition_of(row), indent=2, ensure_ascii=False) + "\n"
    response = HttpResponse(text, content_type="application/json; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{slugify(row.name) or "task"}.task.json"'
    return response


@require_http_methods(["GET", "POST"])
@in_project("manage")
def task_import(request: HttpRequest, project: Project) -> HttpResponse:
    form = DefinitionForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        try:
            made = definitions.create_from(project, form.cleaned_data["definition"], actor=user_of(request))
        except (InvalidInput, Conflict) as error:
            form.show(error)
        else:
            messages.success(request, "Task created from the file. Look at its questions, then import instances.")
            return redirect("task-questions", project.public_id, made.public_id)
    status = 422 if request.method == "POST" else 200
    return render(request, "tasks/import.html", page_context(request, project, form=form), status=status)
