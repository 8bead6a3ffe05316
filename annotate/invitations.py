"""Inviting somebody into a project: one rule and one link for the page and the API."""

from __future__ import annotations

from django.http import HttpRequest
from django.urls import reverse

from feedback.exceptions import Forbidden
from feedback.models import Project, Role, User
from feedback.services import people
from feedback.services.people import OWN


def invite(request: HttpRequest, project: Project, email: str, role: str, *, actor: User) -> str:
    """Make an invitation; returns its absolute link, shown once. Raises Forbidden, InvalidInput, Conflict."""
    if role == Role.OWNER and not people.may(actor, project, OWN):
        raise Forbidden("Only an owner invites owners.")
    secret = people.invite(project, email, role, actor=actor)
    return request.build_absolute_uri(reverse("invitation", args=[secret]))
