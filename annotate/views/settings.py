"""A project's own facts, and its trail of who did what."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from feedback.models import AuditEvent, Project

from ..access import in_project, user_of
from ..forms.projects import SettingsForm
from ..trail import told

PAGE = 50


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
        **_trail(project, request.GET.get("before", "")),
    }
    return render(request, "settings/settings.html", context, status=422 if form.is_bound else 200)


def _trail(project: Project, before: str) -> dict[str, Any]:
    """The newest events, or those before the one of that number."""
    events = AuditEvent.objects.filter(project_id=project.pk).order_by("-pk")
    if before.isdecimal() and len(before) < 19:
        events = events.filter(pk__lt=int(before))
    rows = list(events[: PAGE + 1])
    more = len(rows) > PAGE
    return {
        "events": [told(event) for event in rows[:PAGE]],
        "next_url": f"?before={rows[PAGE - 1].pk}" if more else "",
    }
