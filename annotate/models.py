"""What the web itself remembers: who is signed in, and replies that a repeated request gets again."""

from __future__ import annotations

from django.conf import settings
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models


class Session(AbstractBaseSession):
    """A browser's session, and who signed in with it: an account that is deleted takes its sessions along.

    The database does not hold the reference: Django takes any fault of a new session for a key that is taken already,
    and would try for ever.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, db_constraint=False, related_name="+"
    )


class IdempotentReply(models.Model):
    """The reply to a create action, kept for a day under its key. ``request_sha256`` covers path and body."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=200)
    request_sha256 = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(default=0)
    body = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="idempotent_reply_once")]

    def __str__(self) -> str:
        return self.key
