"""Preparing: the instance after the one in hand is lent for a short while, to be there when this one is done."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from ...models import Assignment, AssignmentState, Task, TaskState, User
from ..questions import bring_up_to_date
from . import places
from .lending import lease_end, lend, take_free_one
from .line import AT_ONCE, ahead, come_back, number_return

PREPARED_SECONDS = 180
"""How long an instance waits for the one in hand; showing it renews the lease like any other."""


def prepare(task: Task, user: User) -> Assignment | None:
    """The instance that this person gets after the one in hand.

    ``None`` when they hold none, or when so few are open that each is kept for whoever is ready to label it.
    """
    assignment, new = _held_or_lent(task, user) if task.state == TaskState.OPEN else (None, False)
    if assignment and not new:  # not under the lock of the place, which a submit takes after its assignment's
        waiting = Assignment.objects.lent().filter(pk=assignment.pk, lease_expires_at__lt=_until(task))
        waiting.update(lease_expires_at=_until(task))
        bring_up_to_date(assignment)
    return assignment


@transaction.atomic
def _held_or_lent(task: Task, user: User) -> tuple[Assignment | None, bool]:
    place, reader = places.locked(task, user)
    lent = Assignment.objects.lent().filter(task=task, annotator=place.annotator_id).order_by("created_at")
    held = list(lent.select_related("instance")[:2])
    for one in held:
        one.task, one.place = task, place
    if len(held) != 1:
        return (held[1] if held else None), False
    candidates = ahead(task, place, reader)
    places.keep(place)
    instance = take_free_one(candidates) if len(candidates) == AT_ONCE else None
    if instance is None:
        return None, False
    prepared = lend(task, place.annotator_id, instance, until=_until(task))
    prepared.place = place
    return prepared, True


def _until(task: Task) -> datetime:
    return min(timezone.now() + timedelta(seconds=PREPARED_SECONDS), lease_end(task))


@transaction.atomic
def hand_back(assignment: Assignment) -> bool:
    """Give back an instance that was prepared and never shown. False when somebody began with it."""
    number_return(assignment.task_id)
    untouched = Assignment.objects.lent().filter(pk=assignment.pk, draft_version=0)
    if not untouched.update(state=AssignmentState.EXPIRED, ended_at=timezone.now()):
        return False
    come_back(assignment.task_id, assignment.instance_id)
    return True
