"""A project's own facts, and its trail of who did what."""

from __future__ import annotations

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from feedback.models import AuditEvent, Project

from ..access import in_project, user_of
from ..forms.projects import SettingsForm

RECENT = 50


@require_http_methods(["GET", "POST"])
@in_project("own")
def settings(request: HttpRequest, project: Project) -> HttpResponse:
    shown = {"name": project.name, "description": project.description}
    form = SettingsForm(request.POST or None, initial=shown)
    if form.is_valid():
        with transaction.atomic():
            Project.objects.filter(pk=project.pk).update(**form.cleaned_data)
            AuditEvent.write("project.edit", actor=user_of(request), project=project, fields=form.changed_data)
        messages.success(request, "Saved.")
        return redirect("settings", project.public_id)
    context = {
        "project": project,
        "active": "settings",
        "permissions": request.permissions,  # type: ignore[attr-defined]
        "form": form,
        "events": AuditEvent.objects.filter(project_id=project.pk).order_by("-created_at", "-pk")[:RECENT],
    }
    return render(request, "settings/settings.html", context, status=422 if form.is_bound else 200)
