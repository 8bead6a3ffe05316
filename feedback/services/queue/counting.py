"""How much is left for a person, counted up to a thousand: beyond that a page says "more"."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.db.models import IntegerField, OuterRef, Q, Subquery
from django.utils import timezone

from ...models import Assignment, QueuePlace, Task, User
from .line import Reader, unseen
from .places import begun, look, of_tasks

COUNTED = 1000
COUNT_AGAIN = timedelta(seconds=30)


class CountUpTo(Subquery):
    """The number of rows of a sliced queryset."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) AS counted)"
    output_field = IntegerField()


def progress_in(assignment: Assignment, user: User) -> QueuePlace:
    """How far the person is whom this was just lent to; what is left is counted anew every half minute."""
    task, place, now = assignment.task, assignment.place, timezone.now()
    assert place is not None
    if place.counted_at is None or not now - COUNT_AGAIN < place.counted_at <= now or place.goal < place.done:
        place, reader = look(task, user)
        left, more = left_of(reader, [place])[task.pk]
        place.goal, place.more, place.counted_at = place.done + left, more, now
        place.save(update_fields=["goal", "more", "counted_at"])
    return place


def left_of(reader: Reader, places: Sequence[QueuePlace]) -> dict[int, tuple[int, bool]]:
    """Task key → how many instances this person may still label, and whether there are more. One query."""
    pool = unseen(OuterRef("task"), reader, OuterRef(OuterRef("annotator")))
    level = Q(priority=OuterRef("priority"))
    passed = Q(priority__gt=OuterRef("priority")) | level & Q(pk__lt=OuterRef("instance_id"))
    parts = {
        "level": pool.filter(level, pk__gte=OuterRef("instance_id")),
        "below": pool.filter(priority__lt=OuterRef("priority")),
        "back": pool.filter(passed, returned__gt=OuterRef("returned")),
        "begun": begun(OuterRef("task"), OuterRef("annotator")),
    }
    counts = {name: CountUpTo(rows.order_by().values("pk")[: COUNTED + 1]) for name, rows in parts.items()}
    rows = QueuePlace.objects.filter(pk__in=[place.pk for place in places]).annotate(**counts)
    sums = {row["task"]: sum(row[name] for name in parts) for row in rows.values("task", *parts)}
    return {task: (min(count, COUNTED), count > COUNTED) for task, count in sums.items()}


def progress_of(tasks: Sequence[Task], user: User) -> dict[int, tuple[int, int, bool]]:
    """Task key → done, left, and whether more is left than was counted."""
    readers: dict[str, tuple[Reader, list[QueuePlace]]] = {}
    for place, reader in of_tasks(tasks, user):
        readers.setdefault(repr((reader.languages, reader.skills)), (reader, []))[1].append(place)
    found: dict[int, tuple[int, int, bool]] = {}
    for reader, places in readers.values():
        left = left_of(reader, places)
        found |= {place.task_id: (place.done, *left[place.task_id]) for place in places}
    return found
