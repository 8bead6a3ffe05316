"""Who did what, when. Rows are only ever added: triggers in the database refuse updates and deletes."""

from __future__ import annotations

from typing import Any

from django.db import models

from .people import Project, User


class AuditEvent(models.Model):
    # no foreign keys: the trail outlives what it speaks of
    project_id = models.BigIntegerField(null=True, db_index=True)
    actor_id = models.BigIntegerField(null=True)
    actor_name = models.CharField(max_length=254, blank=True)
    action = models.CharField(max_length=60)
    subject = models.CharField(max_length=120, blank=True)
    details = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["project_id", "-id"], name="audit_newest")]

    def __str__(self) -> str:
        return f"{self.action} {self.subject}"

    @classmethod
    def write(
        cls, action: str, *, actor: User | None, project: Project | None = None, subject: str = "", **details: Any
    ) -> None:
        """Add one event. Call it inside the transaction of what it tells of."""
        cls.objects.create(
            action=action,
            actor_id=actor.pk if actor else None,
            actor_name=str(actor.email) if actor else "",
            project_id=project.pk if project else None,
            subject=subject[:120],
            details=details,
        )
