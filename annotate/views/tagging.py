"""Descriptive tags by a judge's model: what it would cost, and starting it."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from feedback.exceptions import FeedbackError
from feedback.models import Project
from feedback.services import budget
from routing.services import tagging

from ..access import in_project, no_task_yet, task_from, user_of
from ..forms.features import TaggingForm
from .judge import add_errors, amount_words


@require_http_methods(["GET", "POST"])
@in_project("manage")
def features_tag(request: HttpRequest, project: Project) -> HttpResponse:
    """A GET with choices says what they cost at most; a POST of the same starts the job."""
    task = task_from(request, project)
    if task is None:
        return no_task_yet(request, project)
    asked = request.POST if request.method == "POST" else request.GET if "judge" in request.GET else None
    form = TaggingForm(project, asked)
    found: tagging.Estimate | None = None
    if form.is_valid():
        judge, names, count = form.wish()
        try:
            if request.method == "POST":
                tagging.start_tagging(task, judge, names, count, actor=user_of(request))
                return redirect(f"{reverse('features', args=[project.public_id])}?task={task.public_id}")
            found = tagging.estimate(task, judge, names, count)
        except FeedbackError as error:
            add_errors(form, error)
    context: dict[str, Any] = {"project": project, "active": "routing", "task": task, "form": form}
    if found:
        most = amount_words(found.most_micros, project.currency)
        context |= {"estimate": found, "most": most, "calls": found.instances * len(form.cleaned_data["dimensions"])}
        context["left"] = amount_words(budget.budget_of(task).left_micros, project.currency)
    status = 422 if form.is_bound and not form.is_valid() else 200
    return render(request, "features/tag.html", context, status=status)
