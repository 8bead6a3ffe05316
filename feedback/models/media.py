"""Files that prompts and completions show."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from .columns import choice_field, one_of, public_id
from .people import User
from .tasks import Task


class MediaKind(models.TextChoices):
    IMAGE = "image", "Image"
    AUDIO = "audio", "Audio"
    VIDEO = "video", "Video"


class MediaFile(models.Model):
    """A file that contents of a task's instances name. Its bytes lie under their SHA-256, once for all tasks."""

    public_id = public_id()
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="media")
    name = models.CharField(max_length=200)
    kind = choice_field(MediaKind)
    content_type = models.CharField(max_length=60)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = [
            one_of(MediaKind, "kind", "media_kind"),
            models.UniqueConstraint(fields=["task", "name"], name="media_name_once"),
            models.CheckConstraint(condition=Q(size__gt=0), name="media_not_empty"),
        ]

    def __str__(self) -> str:
        return self.name
