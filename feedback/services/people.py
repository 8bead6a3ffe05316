"""Who may do what. One table of permissions; pages and API ask it, never a role by name."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from ..abilities import language_tags, skill_names
from ..exceptions import Conflict, InvalidInput, WrongState
from ..models import Annotator, ApiToken, AuditEvent, Invitation, Membership, Project, Role, User
from ..models.people import digest
from ..text import InvalidText

VIEW, LABEL, REVIEW, MANAGE, OWN, DISCUSS = "view", "label", "review", "manage", "own", "discuss"
MEMBER = "member"  # what everybody in a project may do: see the files that texts show
PERMISSIONS: dict[str, frozenset[str]] = {
    Role.OWNER: frozenset({MEMBER, VIEW, DISCUSS, LABEL, REVIEW, MANAGE, OWN}),
    Role.MANAGER: frozenset({MEMBER, VIEW, DISCUSS, LABEL, REVIEW, MANAGE}),
    Role.REVIEWER: frozenset({MEMBER, VIEW, DISCUSS, LABEL, REVIEW}),
    Role.ANNOTATOR: frozenset({MEMBER, DISCUSS, LABEL}),
    Role.VIEWER: frozenset({MEMBER, VIEW, DISCUSS}),
}
LABEL_ROLES = [role for role, permissions in PERMISSIONS.items() if LABEL in permissions]
INVITATION_LIFETIME = timedelta(days=7)


def may(user: User, project: Project, permission: str) -> bool:
    """Whether ``user`` has ``permission`` in ``project``; outsiders have none."""
    role = Membership.objects.filter(project=project, user=user).values_list("role", flat=True).first()
    return role is not None and permission in PERMISSIONS[role]


@transaction.atomic
def create_project(name: str, *, owner: User, description: str = "", currency: str = "USD") -> Project:
    project = Project.objects.create(name=name, description=description, currency=currency, created_by=owner)
    Membership.objects.create(project=project, user=owner, role=Role.OWNER)
    AuditEvent.write("project.create", actor=owner, project=project, subject=name)
    return project


@transaction.atomic
def set_role(membership: Membership, role: str, *, actor: User) -> None:
    """Change a member's role. Raises WrongState when the project would lose its last owner."""
    if role not in Role.values:
        raise InvalidInput(errors={"role": f"Choose one of: {', '.join(Role.values)}."})
    if membership.role == Role.OWNER and role != Role.OWNER:
        _keep_an_owner(membership)
    Membership.objects.filter(pk=membership.pk).update(role=role)
    AuditEvent.write("member.role", actor=actor, project=membership.project, subject=membership.user.email, role=role)


def annotators_with(project: Project, skill: str) -> list[int]:
    """The annotators of the members who have a skill now."""
    members = Membership.objects.filter(project=project).values_list("user_id", "skills")
    users = [user for user, skills in members if skill in skills]
    return list(Annotator.objects.filter(project=project, user__in=users).values_list("pk", flat=True))


def skills_of(project: Project) -> list[str]:
    """Every skill that a member has who may label."""
    members = Membership.objects.filter(project=project, role__in=LABEL_ROLES).values_list("skills", flat=True)
    return sorted({skill for skills in members for skill in skills})


def abilities(languages: Sequence[str] | None, skills: Sequence[str] | None) -> dict[str, list[str]]:
    """Languages and skills in their one spelling; without those that are None. Raises InvalidInput."""
    try:
        named = {} if languages is None else {"languages": language_tags(languages)}
        return named if skills is None else named | {"skills": skill_names(skills)}
    except InvalidText as error:
        raise InvalidInput(errors={error.path: f"{error.reason[:1].upper()}{error.reason[1:]}."}) from error


@transaction.atomic
def set_abilities(
    membership: Membership, *, languages: Sequence[str] | None = None, skills: Sequence[str] | None = None, actor: User
) -> None:
    """Say which languages a member reads or which skills they have; what is None stays. Raises InvalidInput.

    From the next instance on the queue lends by it.
    """
    named = abilities(languages, skills)
    change = {name: value for name, value in named.items() if value != getattr(membership, name)}
    if not change:
        return
    Membership.objects.filter(pk=membership.pk).update(**change)
    AuditEvent.write(
        "member.abilities", actor=actor, project=membership.project, subject=membership.user.email, **change
    )


@transaction.atomic
def remove_member(membership: Membership, *, actor: User) -> None:
    if membership.role == Role.OWNER:
        _keep_an_owner(membership)
    AuditEvent.write("member.remove", actor=actor, project=membership.project, subject=membership.user.email)
    membership.delete()


def _keep_an_owner(membership: Membership) -> None:
    owners = Membership.objects.select_for_update(no_key=True).filter(project=membership.project, role=Role.OWNER)
    if len(owners) < 2:
        raise WrongState("A project keeps at least one owner; make somebody else owner first.")


@transaction.atomic
def invite(project: Project, email: str, role: str, *, actor: User) -> str:
    """Create a single-use invitation; returns its secret, stored nowhere else. Raises InvalidInput, Conflict."""
    if role not in Role.values:
        raise InvalidInput(errors={"role": f"Choose one of: {', '.join(Role.values)}."})
    if Membership.objects.filter(project=project, user__email__iexact=email).exists():
        raise Conflict("This person is already a member.")
    secret = secrets.token_urlsafe(32)
    Invitation.objects.create(
        project=project,
        email=email.lower(),
        role=role,
        digest=digest(secret),
        created_by=actor,
        expires_at=timezone.now() + INVITATION_LIFETIME,
    )
    AuditEvent.write("member.invite", actor=actor, project=project, subject=email, role=role)
    return secret


def invitation(secret: str) -> Invitation | None:
    """The open invitation of this secret, if there is one."""
    open_ones = Invitation.objects.filter(accepted_at=None, expires_at__gt=timezone.now())
    return open_ones.filter(digest=digest(secret)).select_related("project").first()


@transaction.atomic
def accept(invitation: Invitation, user: User) -> Membership:
    """Use an invitation, once, by the person whose address it names. Raises WrongState."""
    if user.email.lower() != invitation.email.lower():
        raise WrongState("This invitation is for another address.")
    unused = Invitation.objects.filter(pk=invitation.pk, accepted_at=None, expires_at__gt=timezone.now())
    if not unused.update(accepted_at=timezone.now()):
        raise WrongState("This invitation was already used or has expired.")
    membership, made = Membership.objects.get_or_create(
        project=invitation.project, user=user, defaults={"role": invitation.role}
    )
    if made:
        AuditEvent.write("member.join", actor=user, project=invitation.project, subject=user.email)
    return membership


def make_token(user: User, name: str, scopes: list[str], *, days: int = 90) -> tuple[ApiToken, str]:
    """Create an API token; returns it and its secret, which is shown once. Raises InvalidInput."""
    unknown = sorted(set(scopes) - set(ApiToken.SCOPES))
    if unknown or not scopes:
        raise InvalidInput(errors={"scopes": f"Choose from: {', '.join(ApiToken.SCOPES)}."})
    if not 1 <= days <= 365:
        raise InvalidInput(errors={"days": "A token lasts 1 to 365 days."})
    if not name.strip() or len(name) > 80:
        raise InvalidInput(errors={"name": "Give the token a name of at most 80 characters."})
    secret = f"tbk_{secrets.token_urlsafe(32)}"
    token = ApiToken.objects.create(
        user=user,
        name=name.strip(),
        scopes=sorted(set(scopes)),
        prefix=secret[:10],
        digest=digest(secret),
        expires_at=timezone.now() + timedelta(days=days),
    )
    AuditEvent.write("token.create", actor=user, subject=token.name, scopes=token.scopes)
    return token, secret


def token_of(secret: str) -> ApiToken | None:
    """The live token with this secret; notes its use at most once a minute."""
    now = timezone.now()
    live = ApiToken.objects.select_related("user").filter(
        digest=digest(secret), revoked_at=None, expires_at__gt=now, user__is_active=True
    )
    token = live.first()
    if token and _stale(token.last_used_at, now):
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token


def _stale(last_used_at: datetime | None, now: datetime) -> bool:
    return last_used_at is None or now - last_used_at > timedelta(minutes=1)


def revoke_token(token: ApiToken, *, actor: User) -> None:
    ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=timezone.now())
    AuditEvent.write("token.revoke", actor=actor, subject=token.name)


@transaction.atomic
def prefer(user: User, name: str, value: Any) -> None:
    """Keep one preference of a person beside their others."""
    current = User.objects.select_for_update(no_key=True).get(pk=user.pk)
    user.preferences = current.preferences = {**current.preferences, name: value}
    current.save(update_fields=["preferences"])
