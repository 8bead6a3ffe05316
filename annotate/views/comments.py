"""The thread of an instance: on its page, and on a page of its own for those who only label."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.translation import get_language, get_language_from_request, override
from django.views.decorators.http import require_GET, require_POST

from feedback.content import text_of
from feedback.exceptions import InvalidInput
from feedback.models import Comment, Instance, Project, User
from feedback.services import commenting
from feedback.services.people import MANAGE, may

from ..access import in_project, user_of
from ..languages import said
from ..speaking import naming


def thread_context(instance: Instance, user: User, project: Project) -> dict[str, Any]:
    """The comments with what ``user`` may do to each."""
    manages = may(user, project, MANAGE)
    name = naming(instance, user, project)
    said = list(commenting.thread_of(instance)[:500])
    rows = [
        {
            "row": one,
            "who": name(one.author),
            "resolved_by": name(one.resolved_by) if one.resolved_by else "",
            "own": one.author_id == user.pk,
            "may_delete": manages or one.author_id == user.pk,
        }
        for one in said
    ]
    return {"space": project, "thread": rows, "open_comments": sum(one.resolved_at is None for one in said)}


def _instance(request: HttpRequest, project: Project, public_id: UUID) -> Instance:
    return get_object_or_404(commenting.readable(project, user_of(request)), public_id=public_id)


def _comment(request: HttpRequest, project: Project, public_id: UUID) -> Comment:
    """A standing comment of a thread that the visitor may read; else 404."""
    rows = Comment.objects.standing().filter(instance__in=commenting.readable(project, user_of(request)))
    return get_object_or_404(rows.select_related("instance__task__project", "author"), public_id=public_id)


@require_GET
@in_project("discuss")
def thread(request: HttpRequest, project: Project, instance: UUID) -> HttpResponse:
    """The thread alone, below the prompt it is about."""
    return _thread(request, project, _instance(request, project, instance))


def _thread(
    request: HttpRequest, project: Project, row: Instance, *, error: str = "", text: str = "", status: int = 200
) -> HttpResponse:
    asked = next((m for m in reversed(row.prompt) if m.get("role") == "user"), row.prompt[-1])
    context: dict[str, Any] = {
        # who only labels has no pages of the project to go to
        "project": project if "view" in request.permissions else None,  # type: ignore[attr-defined]
        "active": "label",
        "instance": row,
        "prompt": text_of(asked["content"])[:2000],
        "comment_text": text,
    }
    # the control room is English; who only labels never comes there
    language = get_language() if context["project"] else user_of(request).preferences.get("language")
    with override(language or get_language_from_request(request)):
        context["comment_error"] = said(error)
        return render(
            request, "instances/thread.html", context | thread_context(row, user_of(request), project), status=status
        )


@require_POST
@in_project("discuss")
def comment_add(request: HttpRequest, project: Project, instance: UUID) -> HttpResponse:
    row = _instance(request, project, instance)
    text = request.POST.get("text", "")
    try:
        commenting.add(row, text, author=user_of(request))
    except InvalidInput as error:
        return _thread(request, project, row, error=error.errors["text"], text=text, status=422)
    return _back(request, project, row)


@require_POST
@in_project("discuss")
def comment_edit(request: HttpRequest, project: Project, comment: UUID) -> HttpResponse:
    row = _comment(request, project, comment)
    text = request.POST.get("text", "")
    try:
        commenting.edit(row, text, actor=user_of(request))
    except InvalidInput as error:
        return _thread(request, project, row.instance, error=error.errors["text"], text=text, status=422)
    return _back(request, project, row.instance)


@require_POST
@in_project("discuss")
def comment_delete(request: HttpRequest, project: Project, comment: UUID) -> HttpResponse:
    return _done(request, project, comment, partial(commenting.delete, actor=user_of(request)))


@require_POST
@in_project("discuss")
def comment_resolve(request: HttpRequest, project: Project, comment: UUID) -> HttpResponse:
    return _done(request, project, comment, partial(commenting.resolve, actor=user_of(request)))


@require_POST
@in_project("discuss")
def comment_reopen(request: HttpRequest, project: Project, comment: UUID) -> HttpResponse:
    return _done(request, project, comment, commenting.reopen)


def _done(request: HttpRequest, project: Project, comment: UUID, act: Callable[[Comment], None]) -> HttpResponse:
    row = _comment(request, project, comment)
    act(row)
    return _back(request, project, row.instance)


def _back(request: HttpRequest, project: Project, row: Instance) -> HttpResponse:
    """Where the thread was read: the instance's page for those who may open it."""
    page = "instance" if "view" in request.permissions else "thread"  # type: ignore[attr-defined]
    return HttpResponseRedirect(reverse(page, args=[project.public_id, row.public_id]) + "#comments")
