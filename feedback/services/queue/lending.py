"""Lending: the instance a person is to label now."""

from __future__ import annotations

import random
import time
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from ...composed import Insert, Rows, slot
from ...exceptions import NothingToLabel, WrongState
from ...models import Assignment, AssignmentState, Instance, QueuePlace, Task, TaskState, User
from ..questions import bring_up_to_date
from . import places
from .line import AT_ONCE, ahead, give_back, take_on_level, take_slot
from .returning import return_expired

ATTEMPTS = 20


def next_assignment(task: Task, user: User) -> Assignment:
    """The instance this person is to label now: the one already lent, else an expired one of theirs, else a new one.

    Raises WrongState when the task is not open, NothingToLabel when nothing is left for this person, and its kind
    Unsuited when the task asks for a language or a skill that they do not have.
    """
    if task.state != TaskState.OPEN:
        raise WrongState("This task is not open.")
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(0.01 * attempt)
        assignment, more = _try_to_lend(task, user)
        if assignment:
            return assignment
        if not more and not return_expired(task=task):
            break  # what ran out is handed on at once, whether the sweep came by or not
    raise NothingToLabel


@transaction.atomic
def _try_to_lend(task: Task, user: User) -> tuple[Assignment | None, bool]:
    """One attempt, and whether another is worth it: somebody else was faster with all that was found."""
    place, reader = places.locked(task, user)
    reader.check(task)
    held = _held(task, place) if place.holds else None  # type: ignore[attr-defined]
    if held:
        held.place = place
        return held, False
    instance, more = take_on_level(task, place, reader), False
    if instance is None:
        candidates = ahead(task, place, reader)
        instance, more = take_free_one(candidates) if candidates else None, bool(candidates)
    places.keep(place)
    if instance is None:
        return None, more
    assignment = lend(task, place.annotator_id, instance)
    assignment.place = place
    return assignment, False


def _held(task: Task, place: QueuePlace) -> Assignment | None:
    """What the person holds already, its lease renewed, or held until it expired and can take again."""
    for held in places.begun(task, place.annotator_id).select_related("instance").order_by("-state", "created_at")[:5]:
        held.task = task
        if renew(held) if held.state == AssignmentState.LENT else _take_again(held):
            bring_up_to_date(held)
            return held
    return None


def renew(assignment: Assignment) -> bool:
    """Extend a lease that is still held. False when it has expired meanwhile."""
    expires = lease_end(assignment.task)
    renewed = Assignment.objects.lent().filter(pk=assignment.pk).update(lease_expires_at=expires)
    assignment.lease_expires_at = expires
    return bool(renewed)


def lease_end(task: Task) -> datetime:
    return timezone.now() + timedelta(minutes=task.lease_minutes)


def _take_again(assignment: Assignment) -> bool:
    if not take_slot(assignment.instance_id):
        return False
    lent = {"state": AssignmentState.LENT, "lease_expires_at": lease_end(assignment.task), "ended_at": None}
    if not Assignment.objects.filter(pk=assignment.pk, state=AssignmentState.EXPIRED).update(**lent):
        give_back(assignment.instance_id)
        return False
    for name, value in lent.items():
        setattr(assignment, name, value)
    return True


def _free() -> QuerySet[Instance]:
    candidates: Any = [slot(f"candidate{n}") for n in range(AT_ONCE)]
    pool = Instance.objects.open().filter(pk__in=candidates).order_by("-priority", "pk")
    if connection.features.has_select_for_update_skip_locked:
        pool = pool.select_for_update(skip_locked=True, no_key=True)
    return pool[:1]


_first_free = Rows(_free)


def take_free_one(candidates: list[int]) -> Instance | None:
    """The first of the candidates that nobody else is taking, with one of its slots taken."""
    keys = {f"candidate{n}": candidates[min(n, len(candidates) - 1)] for n in range(AT_ONCE)}
    instance: Instance | None = _first_free.first(**keys)
    return instance if instance and take_slot(instance.pk) else None


_insert = Insert(Assignment)


def lend(task: Task, annotator_id: int, instance: Instance, *, until: datetime | None = None) -> Assignment:
    """An assignment of an instance whose slot was taken; ``until`` another end of its lease than the task's."""
    assignment = Assignment(
        task=task,
        instance=instance,
        annotator_id=annotator_id,
        guideline=task.guideline,
        questions_version=task.questions_version,
        order=random.sample(range(len(instance.completions)), len(instance.completions)),
        lease_expires_at=until or lease_end(task),
    )
    return _insert(assignment)
