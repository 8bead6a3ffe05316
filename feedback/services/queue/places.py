"""Where each person stands in each task, and how far they are: kept, so that no page counts a year's work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection
from django.db.models import CharField, Count, Exists, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from ...composed import Asked, Rows, Slot, Update, slot, together
from ...models import (
    Annotation,
    Annotator,
    AnnotatorKind,
    Assignment,
    AssignmentState,
    Membership,
    Project,
    QueuePlace,
    Task,
    User,
)
from .line import STRIDE, Reader, restart

MOVED = ["basis", "returned", "priority", "instance_id"]


def annotator_of(project: Project, user: User) -> Annotator:
    """The member's annotator row in this project, made at first use."""
    return Annotator.objects.get_or_create(
        project=project, user=user, defaults={"kind": AnnotatorKind.HUMAN, "name": str(user)}
    )[0]


def _standing() -> QuerySet[Any]:
    """What every page begins with; ``holds``: whether anything is lent to them here, or was until it expired."""
    states = [AssignmentState.LENT, AssignmentState.EXPIRED]
    held = Assignment.objects.filter(annotator=OuterRef("annotator"), task=OuterRef("task"), state__in=states)
    standing: QuerySet[Any] = _places(slot("user")).filter(task=slot("task")).annotate(holds=Exists(held))
    return standing


_seen = Rows(_standing)
_lock = Rows(
    lambda: QueuePlace.objects.filter(annotator__user=slot("user"), task=slot("task")).select_for_update(
        of=("self",), no_key=connection.features.has_select_for_no_key_update
    )
)


def locked(task: Task, user: User) -> tuple[QueuePlace, Reader]:
    """The person's place, locked until the transaction ends: two tabs asking at once come one after the other.

    It has started anew if the line has. Two statements, since whoever waited for a lock sees only the locked row anew
    in the statement that waited: not what the first tab was lent meanwhile. SQLite locks all with the transaction.
    """
    if not connection.features.has_select_for_update:
        return look(task, user)
    who = {"user": user.pk, "task": task.pk}
    there, seen = together(_lock.asked_whether(**who), _seen.asked(**who))
    if not there:
        _come([task], user)
        _, seen = together(_lock.asked_whether(**who), _seen.asked(**who))
    return _standing_of(seen[0])


def look(task: Task, user: User) -> tuple[QueuePlace, Reader]:
    """The person's place as it is, not locked."""
    place = _seen.first(user=user.pk, task=task.pk)
    if place is None:
        _come([task], user)
        place = _seen.first(user=user.pk, task=task.pk)
    return _standing_of(place)


def _standing_of(place: Any) -> tuple[QueuePlace, Reader]:
    reader = _reader(place)
    if place.restarted:
        place.save(update_fields=[*MOVED, "counted_at"])
    return place, reader


def of_tasks(tasks: Sequence[Task], user: User) -> list[tuple[QueuePlace, Reader]]:
    """The person's places in these tasks; a fixed number of queries however many tasks there are."""
    rows = _places(user).filter(task__in=tasks)
    known = {place.task_id for place in rows}
    if len(known) < len(tasks):
        _come([task for task in tasks if task.pk not in known], user)
        rows = rows.all()
    found = [(place, _reader(place)) for place in rows]
    moved = [place for place, _ in found if place.restarted]
    QueuePlace.objects.bulk_update(moved, [*MOVED, "counted_at"])
    return found


def _come(tasks: Sequence[Task], user: User) -> None:
    """Make the places of somebody who was not there before, with what they did so far."""
    annotators = {project: annotator_of(project, user).pk for project in {task.project for task in tasks}}
    own = Annotation.objects.live().filter(annotator__in=annotators.values(), recorded=False, task__in=tasks)
    done = dict(own.order_by().values_list("task").annotate(count=Count("pk")))
    made = [QueuePlace(task=task, annotator_id=annotators[task.project], done=done.get(task.pk, 0)) for task in tasks]
    QueuePlace.objects.bulk_create(made, ignore_conflicts=True)


def _places(user: User | Slot) -> QuerySet[Any]:
    member = Membership.objects.filter(user=user, project=OuterRef("task__project"))
    return QueuePlace.objects.filter(annotator__user=user).annotate(
        epoch=Coalesce("task__line__epoch", 0),
        returns=Coalesce("task__line__returns", 0),
        languages=Subquery(member.values("languages")[:1]),
        skills=Subquery(member.values("skills")[:1]),
    )


def _reader(place: Any) -> Reader:
    """Who stands here. A place that was worked out from another line goes to the front, and is counted anew."""
    languages, skills = tuple(place.languages or ()), tuple(place.skills or ())
    reader = Reader(place.annotator_id, place.epoch, place.returns, languages, skills)
    place.restarted = restart(place, reader)
    place.stored = [getattr(place, name) for name in MOVED]
    return reader


_move = Update(
    lambda: QueuePlace.objects.filter(pk=slot("key")),
    basis=slot("basis", CharField),
    **{name: slot(name) for name in MOVED[1:]},
)


def keep(place: Any) -> None:
    """Write down how far the place moved, once that is worth it."""
    basis, returned, priority, instance_id = place.stored
    near = priority == place.priority and 0 <= place.instance_id - instance_id < STRIDE
    if not near or (basis, returned) != (place.basis, place.returned):
        _move(key=place.pk, **{name: getattr(place, name) for name in MOVED})


_count_done = Update(
    lambda: QueuePlace.objects.filter(task=slot("task"), annotator=slot("annotator")), done=F("done") + slot("change")
)


def count_done(assignment: Assignment, change: int) -> None:
    """One answer more (1) or fewer (-1). Whoever has no place yet is counted when they come."""
    _count_done(**_counted(assignment, change))


def counting_done(assignment: Assignment) -> Asked:
    """One answer more, for ``composed.together``."""
    return _count_done.asked(**_counted(assignment, 1))


def _counted(assignment: Assignment, change: int) -> dict[str, int]:
    return {"task": assignment.task_id, "annotator": assignment.annotator_id, "change": change}


def hold_place(assignment: Assignment) -> None:
    """Lock the person's place, as lending and submitting do first of all, so that nobody waits in a circle."""
    mine = QueuePlace.objects.filter(task=assignment.task_id, annotator=assignment.annotator_id)
    mine.select_for_update(no_key=True).order_by().first()


def begun(task: Any, annotator: Any) -> QuerySet[Assignment]:
    """What this person holds, or held and may take up again. References may stand for task and annotator."""
    states = [AssignmentState.LENT, AssignmentState.EXPIRED]
    held = Q(state=AssignmentState.LENT) | Q(
        instance__open_slots__gt=0, instance__removed_at=None, instance__held_at=None
    )
    return Assignment.objects.filter(held, task=task, annotator=annotator, state__in=states)
