"""One instance, and all that was said of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_POST

from feedback.exceptions import InvalidInput
from feedback.models import Assignment, AssignmentState, FlagAction, Instance, Project
from feedback.services import adjudicating, finding, flagging, leafing, queue
from routing.models import RoutingDecision

from ..access import in_project, user_of
from . import comments, comparing, reading
from .comparing import LETTERS
from .instances import found_by, query_of, slim

MOST_SAID = 200
_ENDED = (AssignmentState.SKIPPED, AssignmentState.FLAGGED, AssignmentState.EXPIRED, AssignmentState.LENT)


@require_GET
@in_project("view")
def instance(request: HttpRequest, project: Project, instance: UUID) -> HttpResponse:
    rows = Instance.objects.filter(task__project=project).select_related("task", "batch")
    row = get_object_or_404(rows, public_id=instance)
    permissions: frozenset[str] = request.permissions  # type: ignore[attr-defined]
    names = "review" in permissions
    who = comparing.named(names)
    votes = adjudicating.votes_on(row).prefetch_related("revisions__created_by")
    said = comparing.voices(row.task, votes[:MOST_SAID], who)
    context = {
        "project": project,
        "active": "instances",
        "instance": row,
        "task": row.task,
        **texts_of(row, row.task.questions),
        "sections": comparing.sections(row, said),
        "annotations": [_said(voice, names=names) for voice in said],
        "decision": decision_row(row, who),
        "handed_back": _handed_back(row, names=names),
        "flag_actions": FlagAction.choices,
        "requests": row.requests.order_by("-pk")[:10],  # type: ignore[attr-defined]
        "routed": RoutingDecision.objects.filter(instance=row).select_related("plan").order_by("-plan__pk", "-pk")[:5],
        "meta": [(key, _written(value)[:300]) for key, value in row.meta.items() if key != "passages"],
        "may_review": names,
        **comments.thread_context(row, user_of(request), project),
        **_neighbours(request, row),
    }
    return render(request, "instances/instance.html", context)


def _written(value: Any) -> str:
    """A value of the metadata as it came: text, or JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def texts_of(row: Instance, questions: list[dict[str, Any]]) -> dict[str, Any]:
    """The prompt and the completions in stored order as the reading room shows them, and the models' names."""
    order = list(range(len(row.completions)))
    shown = reading.texts_of(Assignment(task=row.task, instance=row, order=order), questions)
    models = [{**one, "model": row.completions[one["index"]].get("model")} for one in shown["completions"]]
    return {
        "turns": shown["turns"],
        "passages": shown["passages"],
        "completions": models,
        "painted": any(one["kind"] == "span" for one in questions),
    }


def _neighbours(request: HttpRequest, row: Instance) -> dict[str, Any]:
    """The instances before and after this one in the list that led here."""
    query = query_of(request.GET)
    try:
        found, order = found_by(request.GET, row.task)
    except InvalidInput:
        return {"query": "", "previous": None, "next": None}
    anchor = finding.with_counts(Instance.objects.filter(pk=row.pk)).get() if order.counts else row
    before, after = leafing.neighbours(slim(found, order), order, anchor)
    return {"query": query, "previous": before, "next": after}


def _said(voice: comparing.Voice, *, names: bool) -> dict[str, Any]:
    one = voice.row
    return {
        "row": one,
        "who": voice.who,
        "order": " then ".join(LETTERS[index] for index in one.order),
        "seconds": round(one.active_ms / 1000) if one.active_ms else None,
        "judge": _judged(one.details) if one.source == "judge" else None,
        "rationale": one.details.get("rationale", ""),
        "assignment": one.assignment,
        "earlier": [_earlier(voice, revision, names=names) for revision in one.revisions.all()],
    }


def _earlier(voice: comparing.Voice, revision: Any, *, names: bool) -> dict[str, Any]:
    lines = comparing.lines_of(replace(voice, answers=revision.answers))
    by = str(revision.created_by) if names and revision.created_by else ""
    return {"at": revision.created_at, "action": revision.action, "by": by, "lines": lines}


def _judged(details: dict[str, Any]) -> dict[str, Any]:
    p_a = details.get("p_a")
    orders = details.get("orders") or {}
    shown = {"ab": "A first", "ba": "B first"}
    return {
        "p_a": f"{p_a:.2f}" if isinstance(p_a, (int, float)) else "",
        "orders": [
            (shown.get(order, order), comparing.words_of(str(value))) for order, value in sorted(orders.items())
        ],
        "consistent": details.get("order_consistent"),
    }


def decision_row(row: Instance, who: comparing.Who) -> dict[str, Any] | None:
    """The reviewer's decision in force: what it says, who made it, and what it was made from."""
    made = adjudicating.standing(row)
    if made is None:
        return None
    voice = comparing.voices(row.task, [made.annotation], who)[0]
    took = who(made.took) if made.took else ""
    return {"row": made, "lines": comparing.lines_of(voice), "took": took, "saw": made.saw.count()}


def _handed_back(row: Instance, *, names: bool) -> list[dict[str, Any]]:
    """Who holds it or gave it back without an answer, and why; flags with what was decided on them."""
    words = {**queue.SKIP_REASONS, **queue.FLAG_REASONS}
    rows = Assignment.objects.filter(instance=row, state__in=_ENDED)
    return [
        {
            "row": one,
            "who": one.annotator.name if names else one.annotator.pseudonym,
            "reason": gettext(words.get(one.reason, one.reason)) if one.reason else "",
            "decision": getattr(one, "flag_decision", None),
            "open": one.state == AssignmentState.FLAGGED and not hasattr(one, "flag_decision"),
        }
        for one in rows.select_related("annotator", "flag_decision__decided_by").order_by("-pk")[:MOST_SAID]
    ]


@require_POST
@in_project("review")
def flag_decide(request: HttpRequest, project: Project, flag: UUID) -> HttpResponse:
    """Settle a flag; back to its instance."""
    flags = Assignment.objects.filter(task__project=project).select_related("task__project", "instance")
    row = get_object_or_404(flags, public_id=flag)
    note, action = request.POST.get("note", ""), request.POST.get("action", "")
    decision = flagging.decide(row, action, actor=user_of(request), note=note)
    messages.success(request, f"{gettext('Flag settled')}: {decision.get_action_display().lower()}.")
    return HttpResponseRedirect(reverse("instance", args=[project.public_id, row.instance.public_id]))


@require_POST
@in_project("review")
def assignment_requeue(request: HttpRequest, project: Project, assignment: UUID) -> HttpResponse:
    """Give an instance to somebody else: what one person was lent or answered no longer counts."""
    rows = Assignment.objects.filter(task__project=project).select_related("task__project", "instance", "annotator")
    row = get_object_or_404(rows, public_id=assignment)
    queue.requeue(row, reason=request.POST.get("reason", ""), actor=user_of(request))
    messages.success(request, gettext("Somebody else gets this instance. What was said is kept, and no longer counts."))
    return HttpResponseRedirect(reverse("instance", args=[project.public_id, row.instance.public_id]))
