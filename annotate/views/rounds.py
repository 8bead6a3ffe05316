"""How far a plan is; of one in rounds the next round now, stop and resume."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from feedback.models import Project
from routing.models import Arm, Course, PlanState, RoutingPlan
from routing.services import progress, rounds
from routing.services.money import plan_money

from ..access import in_project, user_of
from .judge import amount_words

STEP_WORDS = {Arm.HUMAN: "Labelled by people", Arm.JUDGE: "Judged"}
TONES = {Course.RUNNING: "accent", Course.STOPPED: "warning", Course.FINISHED: "success"}


def _plan(project: Project, public_id: UUID) -> RoutingPlan:
    rows = RoutingPlan.objects.filter(task__project=project).select_related("task__project", "round_job")
    return get_object_or_404(rows, public_id=public_id)


def progress_context(row: RoutingPlan, project: Project) -> dict[str, Any]:
    """How far an applied plan is, which ``routing/_rounds.html`` shows of one in rounds and ``routing/_progress.html``
    of any other; nothing of one that is not applied."""
    if row.state != PlanState.APPLIED:
        return {}
    money = plan_money(row)
    amounts = {"spent": money.spent, "reserved": money.reserved, "left": money.left}
    purse = {"purse": {name: amount_words(micros, project.currency) for name, micros in amounts.items()}}
    return purse | (_steps(row) if row.course == Course.NONE else _rounds(row))


def _steps(row: RoutingPlan) -> dict[str, Any]:
    found = progress.progress_of(row)
    steps = [{"words": STEP_WORDS[arm], "asked": one.asked, "answered": one.answered} for arm, one in found.items()]
    return {"steps": steps, "going_on": any(one.waiting for one in found.values())}


def _rounds(row: RoutingPlan) -> dict[str, Any]:
    return {
        "course": row.get_course_display(),
        "course_tone": TONES[Course(row.course)],
        "learning": row.round_job is not None and row.round_job.is_active,
        "rounds": [_round(one) for one in rounds.progress_of(row)],
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
def plan_progress(request: HttpRequest, project: Project, plan: UUID) -> HttpResponse:
    """The part of an applied plan's page that asks for itself while something is awaited. At the end of that the whole
    page has something else to show."""
    row = _plan(project, plan)
    context = progress_context(row, project)
    if not context:
        raise Http404
    in_rounds = row.course != Course.NONE
    template = "routing/_rounds.html" if in_rounds else "routing/_progress.html"
    response = render(request, template, {"project": project, "plan": row, **context})
    if not (row.course == Course.RUNNING if in_rounds else context["going_on"]):
        response["HX-Refresh"] = "true"
    return response


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
