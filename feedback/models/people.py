"""People, projects, roles, tokens."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from datetime import timedelta
from typing import Any, ClassVar, Self

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from .columns import choice_field, one_of, public_id


def digest(secret: str) -> str:
    """SHA-256 of a random secret, as hex. (Secrets here have 256 random bits, so no slow hash is needed.)"""
    return hashlib.sha256(secret.encode()).hexdigest()


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **fields: Any) -> User:
        user = self.model(email=self.normalize_email(email).lower(), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, email: str | None) -> User:
        return self.get(email__iexact=email)


class User(AbstractBaseUser, PermissionsMixin):
    public_id = public_id()
    email = models.EmailField(max_length=254)
    name = models.CharField(max_length=120, blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    date_joined = models.DateTimeField(default=timezone.now)
    preferences = models.JSONField(default=dict, blank=True)

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects = UserManager()

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="user_email_unique")]

    def __str__(self) -> str:
        return self.name or self.email

    def get_short_name(self) -> str:
        return self.name or self.email.split("@")[0]


class Role(models.TextChoices):
    OWNER = "owner", "Owner"
    MANAGER = "manager", "Manager"
    REVIEWER = "reviewer", "Reviewer"
    ANNOTATOR = "annotator", "Annotator"
    VIEWER = "viewer", "Viewer"


class ProjectQuerySet(models.QuerySet["Project"]):
    def of(self, user: User) -> Self:
        """The projects that ``user`` is a member of."""
        return self.filter(memberships__user=user)


class Project(models.Model):
    public_id = public_id()
    name = models.CharField(max_length=120)
    description = models.TextField(max_length=4000, blank=True)
    currency = models.CharField(max_length=3, default="USD")
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")

    objects = ProjectQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """``languages`` a member reads (none said: whatever comes) and ``skills`` that a manager knows of."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = choice_field(Role)
    languages = models.JSONField(default=list, blank=True)
    skills = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "user"], name="membership_once"),
            one_of(Role, "role", "membership_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user} · {self.role}"


class Invitation(models.Model):
    """A single-use, expiring way into a project. Only the digest of its secret is stored."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField(max_length=254)
    role = choice_field(Role)
    digest = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [one_of(Role, "role", "invitation_role")]

    def __str__(self) -> str:
        return self.email


class LoginLink(models.Model):
    """A one-time link that logs one user in; printed by ``manage.py serve`` for the first administrator."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"login link of {self.user}"

    @classmethod
    def make(cls, user: User, lifetime: timedelta) -> str:
        """Create a link; returns its secret, which is stored nowhere."""
        secret = secrets.token_urlsafe(32)
        cls.objects.create(user=user, digest=digest(secret), expires_at=timezone.now() + lifetime)
        return secret

    @classmethod
    def use(cls, secret: str) -> User | None:
        """The link's user, once. ``None`` when the link is unknown, used or expired."""
        now = timezone.now()
        # no join in this UPDATE: its condition would become a subquery, which two uses at once both pass
        unused = cls.objects.filter(digest=digest(secret), used_at=None, expires_at__gt=now)
        if unused.update(used_at=now) != 1:
            return None
        user = cls.objects.select_related("user").get(digest=digest(secret)).user
        return user if user.is_active else None


class ApiToken(models.Model):
    """A named, scoped, expiring API token. Shown once; stored as prefix + SHA-256."""

    public_id = public_id()
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=12)
    digest = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    SCOPES: ClassVar[tuple[str, ...]] = ("read", "annotate", "write", "train")

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class AnnotatorKind(models.TextChoices):
    HUMAN = "human", "Person"
    JUDGE = "judge", "Judge"
    SIMULATED = "simulated", "Simulated annotator"


class Annotator(models.Model):
    """Whoever annotates in a project: a member, a recorded person of an imported set, or a judge."""

    public_id = public_id()
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="annotators")
    kind = choice_field(AnnotatorKind)
    user = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="annotators")
    name = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            one_of(AnnotatorKind, "kind", "annotator_kind"),
            models.UniqueConstraint(
                fields=["project", "user"], condition=models.Q(user__isnull=False), name="annotator_user_once"
            ),
            models.UniqueConstraint(
                fields=["project", "kind", "name"], condition=models.Q(user__isnull=True), name="annotator_name_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def pseudonym(self) -> str:
        """The name that exports carry: stable, and says nothing of the person."""
        return f"{self.kind}-{uuid.UUID(str(self.public_id)).hex[:12]}"
