"""Who may open a page. A project or task that is not the visitor's is a 404, as if it did not exist."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect

from feedback.exceptions import Forbidden
from feedback.models import Membership, Project, Task, User
from feedback.services.people import PERMISSIONS

View = Callable[..., HttpResponse]


def user_of(request: HttpRequest) -> User:
    """The logged-in user of a view behind :func:`login_required`."""
    assert isinstance(request.user, User)
    return request.user


def project_for(user: User, public_id: UUID | str, permission: str) -> Project:
    """The project, when ``user`` has ``permission`` in it. Http404 for outsiders, Forbidden for members without it."""
    membership = get_object_or_404(
        Membership.objects.select_related("project"), user=user, project__public_id=public_id
    )
    if permission not in PERMISSIONS[membership.role]:
        raise Forbidden
    return membership.project


def in_project(
    permission: str,
) -> Callable[[Callable[Concatenate[HttpRequest, Project, ...], HttpResponse]], View]:
    """Decorate a view of ``/p/<uuid:project>/…``: it gets the Project, and only members with ``permission`` get in."""

    def decorate(view: Callable[Concatenate[HttpRequest, Project, ...], HttpResponse]) -> View:
        @login_required
        @wraps(view)
        def guarded(request: HttpRequest, project: UUID, *args: Any, **kwargs: Any) -> HttpResponse:
            user = user_of(request)
            found = project_for(user, project, permission)
            request.permissions = permissions_of(user, found)  # type: ignore[attr-defined]
            return view(request, found, *args, **kwargs)

        guarded.permission = permission  # type: ignore[attr-defined]
        return guarded

    return decorate


def permissions_of(user: User, project: Project) -> frozenset[str]:
    """What ``user`` may do in ``project``; templates ask it to show or hide actions."""
    role = Membership.objects.filter(project=project, user=user).values_list("role", flat=True).first()
    if role is None:
        raise Http404
    return PERMISSIONS[role]


def task_from(request: HttpRequest, project: Project) -> Task | None:
    """The task a page of the project is about: ``?task=<public id>``, else the newest; ``None`` when there is none."""
    tasks = project.tasks.order_by("-created_at", "-pk")
    wanted = request.GET.get("task") or request.POST.get("task")
    if not wanted:
        return tasks.first()
    try:
        return get_object_or_404(tasks, public_id=UUID(wanted))
    except ValueError as error:
        raise Http404 from error


def no_task_yet(request: HttpRequest, project: Project) -> HttpResponse:
    """Where a page about a task leads while the project has none: to making one."""
    messages.info(request, "This needs a task. Create the first one here.")
    return redirect("task-create", project.public_id)
