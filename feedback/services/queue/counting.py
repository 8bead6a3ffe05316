"""How much is left for a person, counted up to a thousand: beyond that a page says "more"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import IntegerField, OuterRef, Q, Subquery
from django.utils import timezone

from ...models import Assignment, QueuePlace, Task, User
from .line import Reader, unseen, unsuited
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
    parts = {  # "back" in its index's order: else a thousand are looked for among a million that never came back
        "level": pool.filter(level, pk__gte=OuterRef("instance_id")).order_by(),
        "below": pool.filter(priority__lt=OuterRef("priority")).order_by(),
        "back": pool.filter(passed, returned__gt=OuterRef("returned")).order_by("returned"),
        "begun": begun(OuterRef("task"), OuterRef("annotator")).order_by(),
    }
    counts = {name: CountUpTo(rows.values("pk")[: COUNTED + 1]) for name, rows in parts.items()}
    rows = QueuePlace.objects.filter(pk__in=[place.pk for place in places]).annotate(**counts)
    sums = {row["task"]: sum(row[name] for name in parts) for row in rows.values("task", *parts)}
    return {task: (min(count, COUNTED), count > COUNTED) for task, count in sums.items()}


def progress_of(tasks: Sequence[Task], user: User) -> dict[int, tuple[int, int, bool]]:
    """Task key → done, left, and whether more is left than was counted."""
    found: dict[int, tuple[int, int, bool]] = {}
    for reader, places in _by_reader(tasks, user):
        left = left_of(reader, places)
        found |= {place.task_id: (place.done, *left[place.task_id]) for place in places}
    return found


def _by_reader(tasks: Sequence[Task], user: User) -> Iterable[tuple[Reader, list[QueuePlace]]]:
    """The person's places, together where they named the same languages and skills."""
    readers: dict[str, tuple[Reader, list[QueuePlace]]] = {}
    for place, reader in of_tasks(tasks, user):
        readers.setdefault(repr((reader.languages, reader.skills)), (reader, []))[1].append(place)
    return readers.values()


@dataclass(frozen=True)
class Unnamed:
    """Instances that ask for ``languages`` or ``skills`` that a person did not name: ``count``, or ``more`` of them."""

    count: int
    more: bool
    languages: list[str]
    skills: list[str]


def unnamed(task: Task, user: User) -> Unnamed | None:
    """Why nothing of ``task`` suits this person, if that is why."""
    _, reader = look(task, user)
    lacking = any(reader.lacks(task.languages, task.skills))
    rows = unsuited(task, reader) | unseen(task, reader) if lacking else unsuited(task, reader)
    asked = list(rows.order_by().values_list("lang", "skill")[: COUNTED + 1])
    if not asked:
        return None
    languages, skills = ({one[n] for one in asked} for n in (0, 1))
    needs = reader.lacks({*languages, *task.languages}, {*skills, *task.skills})
    return Unnamed(min(len(asked), COUNTED), len(asked) > COUNTED, *needs)


def unsuited_in(tasks: Sequence[Task], user: User) -> dict[int, int]:
    """Task key → how many instances ask for what the person did not name, up to a thousand."""
    found: dict[int, int] = {}
    for reader, places in _by_reader(tasks, user) if tasks else ():
        pool = unsuited(OuterRef("task"), reader, OuterRef(OuterRef("annotator"))).order_by().values("pk")[:COUNTED]
        rows = QueuePlace.objects.filter(pk__in=[place.pk for place in places]).annotate(count=CountUpTo(pool))
        found |= dict(rows.values_list("task", "count"))
    return found
