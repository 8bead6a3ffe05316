"""Who is in a project, and in which role."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from feedback.exceptions import Conflict
from feedback.models import Membership, Project, Role
from feedback.services import people as services

from ..access import in_project, user_of
from ..forms.abilities import AbilitiesForm
from ..forms.people import InvitationForm, RoleForm
from ..invitations import invite as make_invitation
from ..languages import names_of


def _page(
    request: HttpRequest,
    project: Project,
    form: InvitationForm,
    *,
    link: str = "",
    status: int = 200,
    abilities: tuple[Membership, AbilitiesForm] | None = None,
) -> HttpResponse:
    members = project.memberships.select_related("user").order_by("user__name", "user__email")
    context = {
        "project": project,
        "active": "people",
        "permissions": request.permissions,  # type: ignore[attr-defined]
        "members": [_row(member, abilities) for member in members],
        "invitations": project.invitations.filter(accepted_at=None, expires_at__gt=timezone.now()).order_by("email"),
        "roles": Role.choices,
        "form": form,
        "link": link,
    }
    return render(request, "people/people.html", context, status=status)


def _row(member: Membership, refused: tuple[Membership, AbilitiesForm] | None) -> dict[str, Any]:
    """A member with the form of their languages and skills, as it was refused if it was theirs."""
    form = refused[1] if refused and refused[0] == member else AbilitiesForm(of=member)
    return {"member": member, "languages": names_of(member.languages), "form": form}


@require_GET
@in_project("view")
def people(request: HttpRequest, project: Project) -> HttpResponse:
    return _page(request, project, InvitationForm())


@require_POST
@in_project("manage")
def invite(request: HttpRequest, project: Project) -> HttpResponse:
    """Make an invitation and show its link, this one time."""
    form = InvitationForm(request.POST)
    if not form.is_valid():
        return _page(request, project, form, status=422)
    try:
        link = make_invitation(request, project, **form.cleaned_data, actor=user_of(request))
    except Conflict as error:
        form.add_error("email", error.message)
        return _page(request, project, form, status=422)
    return _page(request, project, InvitationForm(), link=link, status=201)


@require_POST
@in_project("own")
def member_role(request: HttpRequest, project: Project, member: UUID) -> HttpResponse:
    row = get_object_or_404(project.memberships.select_related("user", "project"), user__public_id=member)
    form = RoleForm(request.POST)
    if form.is_valid():
        services.set_role(row, form.cleaned_data["role"], actor=user_of(request))
        messages.success(request, f"{row.user} is now {form.cleaned_data['role']}.")
        return redirect("people", project.public_id)
    return _page(request, project, InvitationForm(), status=422)


@require_POST
@in_project("manage")
def member_abilities(request: HttpRequest, project: Project, member: UUID) -> HttpResponse:
    row = get_object_or_404(project.memberships.select_related("user", "project"), user__public_id=member)
    form = AbilitiesForm(request.POST, of=row)
    if not form.is_valid():
        return _page(request, project, InvitationForm(), status=422, abilities=(row, form))
    services.set_abilities(row, **form.cleaned_data, actor=user_of(request))
    messages.success(request, f"The queue lends to {row.user} by these languages and skills from now on.")
    return redirect("people", project.public_id)


@require_POST
@in_project("own")
def member_remove(request: HttpRequest, project: Project, member: UUID) -> HttpResponse:
    row = get_object_or_404(project.memberships.select_related("user", "project"), user__public_id=member)
    services.remove_member(row, actor=user_of(request))
    messages.success(request, f"{row.user} is no longer a member. What they labelled stays.")
    return redirect("people", project.public_id)
