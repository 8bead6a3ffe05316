"""The money of a task. People's labels and the judge's calls are paid from the same purse."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from .tasks import Task


class Budget(models.Model):
    """Amounts in millionths of the project's currency. ``spent + reserved`` never passes ``cap``: a CHECK holds it."""

    task = models.OneToOneField(Task, on_delete=models.CASCADE, related_name="budget")
    cap_micros = models.BigIntegerField(default=0)
    spent_micros = models.BigIntegerField(default=0)
    reserved_micros = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(spent_micros__gte=0, reserved_micros__gte=0), name="budget_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(cap_micros__gte=F("spent_micros") + F("reserved_micros")), name="budget_cap"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.spent_micros} of {self.cap_micros}"

    @property
    def left_micros(self) -> int:
        return self.cap_micros - self.spent_micros - self.reserved_micros
