"""A plan in rounds: how far it is, the next round now, stop and resume."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from feedback.models import Project
from routing.models import Course, RoutingPlan
from routing.services import rounds
from routing.services.money import plan_money

from ..access import in_project, user_of
from .judge import amount_words

TONES = {Course.RUNNING: "accent", Course.STOPPED: "warning", Course.FINISHED: "success"}


def _plan(project: Project, public_id: UUID) -> RoutingPlan:
    rows = RoutingPlan.objects.filter(task__project=project).select_related("task__project", "round_job")
    return get_object_or_404(rows, public_id=public_id)


def rounds_context(row: RoutingPlan, project: Project) -> dict[str, Any]:
    """What ``routing/_rounds.html`` shows of an applied plan in rounds; nothing for other plans."""
    if row.course == Course.NONE:
        return {}
    money = plan_money(row)
    left = max(row.budget_micros - money.spent - money.reserved, 0)
    return {
        "course": row.get_course_display(),
        "course_tone": TONES[Course(row.course)],
        "learning": row.round_job is not None and row.round_job.is_active,
        "rounds": [_round(one) for one in rounds.progress_of(row)],
        "purse": {
            "spent": amount_words(money.spent, project.currency),
            "reserved": amount_words(money.reserved, project.currency),
            "left": amount_words(left, project.currency),
        },
    }


def _round(one: rounds.RoundProgress) -> dict[str, Any]:
    stats = one.round.stats
    return {
        "round": one.round,
        "received": one.received,
        "waiting": one.waiting,
        "right": f"{stats['right']:.1%}",
        "accuracy": f"{stats['accuracy']:.0%}",
        "paying": stats["paying"],
        "labels": stats["labels"],
    }


@require_GET
@in_project("view")
def plan_rounds(request: HttpRequest, project: Project, plan: UUID) -> HttpResponse:
    """The part of the plan's page that asks for itself while rounds go on."""
    row = _plan(project, plan)
    if row.course == Course.NONE:
        raise Http404
    return render(request, "routing/_rounds.html", {"project": project, "plan": row, **rounds_context(row, project)})


@require_POST
@in_project("manage")
def plan_next(request: HttpRequest, project: Project, plan: UUID) -> HttpResponse:
    row = _plan(project, plan)
    rounds.next_round(row, actor=user_of(request))
    messages.success(request, "The next round is being chosen from the labels that are in.")
    return redirect("plan", project.public_id, row.public_id)


@require_POST
@in_project("manage")
def plan_stop(request: HttpRequest, project: Project, plan: UUID) -> HttpResponse:
    row = _plan(project, plan)
    released = rounds.stop(row, actor=user_of(request), take_back=request.POST.get("take_back") == "on")
    words = "No further round begins."
    if released:
        words += f" {amount_words(released, project.currency)} that nobody works for is released."
    messages.success(request, words)
    return redirect("plan", project.public_id, row.public_id)


@require_POST
@in_project("manage")
def plan_resume(request: HttpRequest, project: Project, plan: UUID) -> HttpResponse:
    row = _plan(project, plan)
    rounds.resume(row, actor=user_of(request))
    messages.success(request, "The rounds go on.")
    return redirect("plan", project.public_id, row.public_id)
