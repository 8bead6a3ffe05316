"""The projects a person belongs to."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.db.models import Count, F, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_http_methods

from feedback.models import Project
from feedback.services import people
from feedback.services.people import PERMISSIONS, VIEW

from ..access import user_of
from ..forms.projects import ProjectForm


@require_GET
@login_required
def projects(request: HttpRequest) -> HttpResponse:
    user = user_of(request)
    rows = (
        Project.objects.filter(memberships__user=user)
        .annotate(
            role=F("memberships__role"),
            task_count=Count("tasks", distinct=True),
            open_count=Count("tasks", filter=Q(tasks__state="open"), distinct=True),
        )
        .order_by("name", "pk")
    )
    found = [{"row": row, "may_view": VIEW in PERMISSIONS[row.role]} for row in rows]
    return render(request, "projects/projects.html", {"projects": found, "active": "overview"})


@require_http_methods(["GET", "POST"])
@login_required
def project_create(request: HttpRequest) -> HttpResponse:
    form = ProjectForm(request.POST or None)
    if not form.is_valid():
        return render(request, "projects/create.html", {"form": form}, status=422 if form.is_bound else 200)
    project = people.create_project(form.cleaned_data.pop("name"), owner=user_of(request), **form.cleaned_data)
    return redirect("overview", project.public_id)
