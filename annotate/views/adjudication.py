"""The reviewers' room: what annotators disagree on or flagged, and the decision on it."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from rest_framework import serializers

from feedback.exceptions import InvalidInput
from feedback.models import Annotation, Assignment, Instance, Project, Task
from feedback.services import adjudicating, finding, leafing

from ..access import in_project, task_from, user_of
from . import comparing, reading
from .instance import decision_row, texts_of
from .instances import row_of
from .label import body_of, json_endpoint
from .room import room

PAGE = 50


@require_GET
@in_project("review")
def adjudication(request: HttpRequest, project: Project) -> HttpResponse:
    """The queue: instances that ask for a decision and have none."""
    task = task_from(request, project)
    why = request.GET.get("why") or "any"
    context: dict[str, Any] = {
        "project": project,
        "active": "instances",
        "task": task,
        "tasks": project.tasks.order_by("name"),
        "why": why,
        "reasons": adjudicating.WHY,
    }
    if task is None:
        return render(request, "adjudication/adjudication.html", context)
    try:
        context |= _page(request, task, why)
    except InvalidInput as error:
        return render(request, "adjudication/adjudication.html", context | {"errors": error.errors}, status=400)
    return render(request, "adjudication/adjudication.html", context)


def _page(request: HttpRequest, task: Task, why: str) -> dict[str, Any]:
    waiting = adjudicating.waiting(task, why)
    after = request.GET.get("after", "")
    anchor = task.instances.filter(public_id=after).first() if finding.is_id(after) else None
    leaf = leafing.leaf(finding.with_counts(waiting), leafing.Order(), PAGE, anchor=anchor)
    next_url = f"?task={task.public_id}&why={why}&after={leaf.rows[-1].public_id}" if leaf.rows and leaf.after else ""
    return {"rows": [row_of(instance) for instance in leaf.rows], "next_url": next_url}


def _instance(project: Project, public_id: UUID) -> Instance:
    rows = Instance.objects.filter(task__project=project).select_related("task__project", "task__guideline")
    return get_object_or_404(rows, public_id=public_id)


@require_GET
@in_project("review")
def adjudicate(request: HttpRequest, project: Project, instance: UUID) -> HttpResponse:
    """Everything said of one instance, without names unless asked for, and the decision."""
    row = _instance(project, instance)
    blind = request.GET.get("names") != "1"
    return render(request, "adjudication/adjudicate.html", _context(request, project, row, blind=blind))


def _context(request: HttpRequest, project: Project, row: Instance, *, blind: bool) -> dict[str, Any]:
    who = comparing.nameless() if blind else comparing.named(True)
    votes = list(adjudicating.votes_on(row))
    if blind:
        random.Random(row.pk).shuffle(votes)  # the order of arrival would tell who is who
    said = comparing.voices(row.task, votes, who)
    own = {vote.pk for vote in votes if vote.annotator.user_id == user_of(request).pk}
    return {
        "project": project,
        "active": "instances",
        "instance": row,
        "task": row.task,
        "blind": blind,
        **texts_of(row, row.task.questions),
        "sections": comparing.sections(row, said),
        "votes": [
            {"row": voice.row, "who": voice.who, "own": voice.row.pk in own, "lines": comparing.lines_of(voice)}
            for voice in said
        ],
        "others": len(votes) > len(own),
        "flags": list(finding.open_flags().filter(instance=row)),
        "decision": decision_row(row, who),
        "why": request.GET.get("why", ""),
    }


@require_POST
@in_project("review")
def take(request: HttpRequest, project: Project, instance: UUID) -> HttpResponse:
    """Decide as one of the annotations says, then on to the next instance that waits."""
    row = _instance(project, instance)
    chosen = request.POST.get("took", "")
    blind = request.POST.get("names") != "1"
    try:
        if not finding.is_id(chosen):
            raise InvalidInput(errors={"took": gettext("Choose the annotation that is right.")})
        vote = get_object_or_404(Annotation.objects.select_related("annotator"), public_id=chosen, instance=row)
        adjudicating.take(row, vote, actor=user_of(request), reason=request.POST.get("reason", ""), blind=blind)
    except InvalidInput as error:
        told = {"errors": error.errors, "reason": request.POST.get("reason", ""), "chosen": chosen}
        context = _context(request, project, row, blind=blind) | told
        return render(request, "adjudication/adjudicate.html", context, status=422)
    messages.success(request, gettext("Decided. The votes are kept as they are."))
    return HttpResponseRedirect(_next(row))


def _next(row: Instance) -> str:
    """The next instance that waits for a decision, else the queue."""
    project = row.task.project.public_id
    following = leafing.Order().beyond(adjudicating.waiting(row.task), row).first()
    if following:
        return reverse("adjudicate", args=[project, following.public_id])
    return f"{reverse('adjudication', args=[project])}?task={row.task.public_id}"


class AnswerBody(serializers.Serializer[Any]):
    """What the room sends. ``submission_id`` and ``active_ms`` are the room's own; a decision is made once anyway."""

    answers = serializers.DictField(child=serializers.JSONField(), allow_empty=True)
    reason = serializers.CharField(max_length=4000, allow_blank=True, default="")


@require_http_methods(["GET", "POST"])
@in_project("review")
def answer(request: HttpRequest, project: Project, instance: UUID) -> HttpResponse:
    """Decide by an answer of one's own: the screen that annotators have, and where its script sends the answer."""
    row = _instance(project, instance)
    if request.method == "POST":
        return _decide(request, row)
    return room(request, _shown(row))


@json_endpoint
def _decide(request: HttpRequest, row: Instance) -> JsonResponse:
    made = adjudicating.answer(row, actor=user_of(request), **body_of(request, AnswerBody))
    return JsonResponse({"annotation": made.annotation.public_id, "next": _next(row), "undo_seconds": 0}, status=201)


def _shown(row: Instance) -> dict[str, Any]:
    task = row.task
    order = list(range(len(row.completions)))  # a reviewer reads in stored order, as the votes beside it are told
    shown = Assignment(task=task, instance=row, order=order, guideline=task.guideline, public_id=row.public_id)
    address = reverse("adjudication-answer", args=[task.project.public_id, row.public_id])
    draft = {"answers": {}, "version": 0, "active_ms": 0}
    urls = {"submit": address, "draft": "", "next": _next(row)}
    page = reading.page_of(shown, task.questions, draft, urls) | {"assignment": f"decision-{row.public_id}"}
    back = reverse("adjudicate", args=[task.project.public_id, row.public_id])
    return reading.texts_of(shown, task.questions) | {
        "progress": {"done": 0, "goal": 1, "more": False},
        "page": page,
        "editing": True,
        "deciding": True,
        "back_url": back,
    }


@require_POST
@in_project("review")
def undo(request: HttpRequest, project: Project, instance: UUID) -> HttpResponse:
    """Take the decision on an instance back."""
    row = _instance(project, instance)
    made = adjudicating.standing(row)
    if made is None:
        raise InvalidInput(gettext("There is no decision on this instance."))
    adjudicating.undo(made, actor=user_of(request))
    messages.success(request, gettext("The decision was taken back; the votes speak again."))
    return HttpResponseRedirect(reverse("adjudicate", args=[project.public_id, row.public_id]))
