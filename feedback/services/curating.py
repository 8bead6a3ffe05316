"""What a reviewer does to instances, one or many at once: remove, restore, ask for first, send back to people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Least
from django.utils import timezone

from ..exceptions import InvalidInput
from ..models import AuditEvent, Instance, Project, User
from .queue import line

MOST = 200
PRIORITY_STEP, HIGHEST_PRIORITY = 10, 30_000
MOST_SLOTS = 100

Change = Callable[[QuerySet[Instance]], int]


def _remove(rows: QuerySet[Instance]) -> int:
    return rows.filter(removed_at=None).update(removed_at=timezone.now())


def _restore(rows: QuerySet[Instance]) -> int:
    return rows.filter(removed_at__isnull=False).update(removed_at=None)


def _raise(rows: QuerySet[Instance]) -> int:
    raised = Least(F("priority") + PRIORITY_STEP, HIGHEST_PRIORITY)
    return rows.filter(removed_at=None, priority__lt=HIGHEST_PRIORITY).update(priority=raised)


def _send(rows: QuerySet[Instance]) -> int:
    return rows.filter(removed_at=None, open_slots__lt=MOST_SLOTS).update(open_slots=F("open_slots") + 1)


ACTIONS: dict[str, Change] = {"remove": _remove, "restore": _restore, "raise-priority": _raise, "send-to-people": _send}
"""``remove`` keeps all that was said, out of the queue and of datasets; ``send-to-people`` opens one more slot."""


@transaction.atomic
def change(project: Project, ids: Sequence[UUID], action: str, *, actor: User) -> int:
    """Do ``action`` to the project's instances of these public ids; returns how many it changed.

    Raises InvalidInput for an unknown action, no ids, too many, or one that is not the project's.
    """
    if action not in ACTIONS:
        raise InvalidInput(errors={"action": f"Choose one of: {', '.join(ACTIONS)}."})
    wanted = set(ids)
    if not 1 <= len(wanted) <= MOST:
        raise InvalidInput(errors={"instances": f"Choose 1 to {MOST} instances."})
    rows = Instance.objects.filter(task__project=project, public_id__in=wanted)
    keys = list(rows.order_by("pk").values_list("pk", flat=True))
    if len(keys) < len(wanted):
        raise InvalidInput(errors={"instances": "Some of these instances are not in this project."})
    for task in rows.order_by("task").values_list("task", flat=True).distinct():
        line.reform(task)
    changed = ACTIONS[action](Instance.objects.filter(pk__in=keys))
    named = sorted(map(str, wanted))
    AuditEvent.write(f"instances.{action}", actor=actor, project=project, subject=f"{changed} instances", ids=named)
    return changed
