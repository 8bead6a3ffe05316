"""What the web itself remembers: replies that a repeated request gets again."""

from __future__ import annotations

from django.conf import settings
from django.db import models


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
