"""The line of a task: its open instances, by priority and then by age, read from where a person stands in it.

A person's place (``QueuePlace``) says: whatever is open in front of it was lent to me before, or does not suit me. So
the next one is found in a few index entries, however much this person has done. Two things could make that a lie:

* *one instance comes back* (a lease ran out, a skip, a requeue): it gets the next number of the line's ``returns``,
  and returns above the number that a place has seen are looked through first;
* *the line is formed anew* (an import, another overlap, a plan's priorities): ``reform`` raises the line's epoch, and a
  place of an earlier epoch starts at the front again. So does one whose person reads other languages now.

Both counters stand in one row, which is locked until the change commits. Whoever sees the new number therefore sees
the instances too, and a reader with an old number only looks again. Lock order: purse, task, line, instances.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from django.db import connection
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery

from ...composed import Update, Whole, slot
from ...exceptions import Unsuited
from ...models import Assignment, Instance, Line, QueuePlace, Task

AT_ONCE = 16
"""How many candidates are read: others may be taking the first ones at this moment."""
STRIDE = 64
"""A place is written down again once it has moved on by this many keys; so many probes are repeated at most."""
FRONT = (2**15 - 1, 0)
END = (-(2**15), 2**63 - 1)


@dataclass(frozen=True)
class Reader:
    """Who stands in the line: an annotator, the languages they read (none said: any) and the skills they have.

    With the line's two counters as they were before anything else was read.
    """

    annotator_id: int
    epoch: int
    returns: int
    languages: tuple[str, ...] = ()
    skills: tuple[str, ...] = ()

    def suits(self) -> Q:
        """The instances that ask for nothing this person lacks. ``de`` covers ``de-at``, not the other way round."""
        fits = Q(skill__in=["", *self.skills])
        if not self.languages:
            return fits
        read = Q(lang__in=["", *self.languages])
        for language in self.languages:
            read |= Q(lang__startswith=f"{language}-")
        return fits & read

    def suits_sql(self) -> tuple[str, list[str]]:
        """The same as a condition on ``i``, with its values."""
        skills = ", ".join(["''", *("%s" for _ in self.skills)])
        if not self.languages:
            return f"i.skill IN ({skills})", [*self.skills]
        languages = ", ".join(["''", *("%s" for _ in self.languages)])
        regions = "".join(" OR i.lang LIKE %s" for _ in self.languages)
        condition = f"i.skill IN ({skills}) AND (i.lang IN ({languages}){regions})"
        return condition, [*self.skills, *self.languages, *(f"{language}-%" for language in self.languages)]

    def check(self, task: Task) -> None:
        """Raises Unsuited when the task asks for a language or a skill that this person does not have."""
        languages, skills = self.lacks(task.languages, task.skills)
        if languages or skills:
            raise Unsuited(f"This task asks for: {', '.join(languages + skills)}. Ask a manager if you have it.")

    def lacks(self, languages: Iterable[str], skills: Iterable[str]) -> tuple[list[str], list[str]]:
        """Those of the languages and of the skills that this person did not name."""
        unread = sorted({one for one in languages if one and not self._reads(one)})
        return unread, sorted(set(skills) - {"", *self.skills})

    def _reads(self, language: str) -> bool:
        return not self.languages or any(language == one or language.startswith(f"{one}-") for one in self.languages)

    def basis(self) -> str:
        """What a place of this person was worked out from."""
        return f"{self.epoch}:{sha256(repr((self.languages, self.skills)).encode()).hexdigest()[:32]}"


def unseen(task: Any, reader: Reader, annotator: Any = None) -> QuerySet[Instance]:
    """What is open to this person: suits them and was never lent to them. Or to another ``annotator``, by reference."""
    return _new_to(annotator or reader.annotator_id, task).filter(reader.suits())


def unsuited(task: Any, reader: Reader, annotator: Any = None) -> QuerySet[Instance]:
    """What is open and was never lent to this person, but asks for a language or skill that they did not name."""
    return _new_to(annotator or reader.annotator_id, task).exclude(reader.suits())


def _new_to(annotator: Any, task: Any) -> QuerySet[Instance]:
    seen = Assignment.objects.filter(annotator=annotator, instance=OuterRef("pk"))
    return Instance.objects.open().filter(~Exists(seen), task=task)


def restart(place: QueuePlace, reader: Reader) -> bool:
    """To the front, if the place was worked out from anything else than what the reader sees now."""
    if place.basis == reader.basis():
        return False
    place.basis, place.returned = reader.basis(), reader.returns
    place.priority, place.instance_id = FRONT
    place.counted_at = None
    return True


def ahead(task: Task, place: QueuePlace, reader: Reader) -> list[int]:
    """Keys of the next instances for this person, first one first; moves the place up to the first of them."""
    if reader.returns > place.returned:
        returned = unseen(task, reader).filter(returned__gt=place.returned).order_by("returned")
        if back := list(returned.values_list("pk", "returned")[:AT_ONCE]):
            place.returned = (back[0][1] or 1) - 1
            return [pk for pk, _ in back]
        place.returned = reader.returns
    found = on_level(task, place, reader)
    if len(found) < AT_ONCE:
        below = unseen(task, reader).filter(priority__lt=place.priority).order_by("-priority", "pk")
        found += below.values_list("priority", "pk")[: AT_ONCE - len(found)]
    place.priority, place.instance_id = found[0] if found else END
    return [pk for _, pk in found]


LEVEL = """
FROM feedback_instance i
WHERE i.task_id = %s AND i.priority = %s AND i.id >= %s
    AND i.open_slots > 0 AND i.removed_at IS NULL AND i.held_at IS NULL AND {suits}
    AND NOT EXISTS (
        SELECT 1 FROM feedback_assignment a WHERE a.instance_id = i.id AND a.annotator_id = %s LIMIT 1 OFFSET 0
    )
ORDER BY i.id
"""
"""``unseen`` within one priority, as text: composing it anew for every page costs more than running it.

The offset keeps PostgreSQL from joining, which may read everything that a person ever did; it looks row by row.
"""

TAKE = """
UPDATE feedback_instance SET open_slots = open_slots - 1
WHERE open_slots > 0 AND id = (
    SELECT taken.id FROM (SELECT i.id {level} LIMIT {at_once}) found JOIN feedback_instance taken ON taken.id = found.id
    WHERE taken.open_slots > 0 AND taken.removed_at IS NULL AND taken.held_at IS NULL
    ORDER BY found.id LIMIT 1 {free}
)
RETURNING {columns}, {first}
"""
"""One slot of the first instance on a level that nobody else is taking, and which is the first of all.

What is found comes from the line's own index; only then is it locked, and looked at again as it is by then.
"""

_whole = Whole(Instance)


def _level(task: Task, place: QueuePlace, reader: Reader) -> tuple[str, list[Any]]:
    suits, read = reader.suits_sql()
    values = [task.pk, place.priority, place.instance_id, *read, reader.annotator_id]
    return LEVEL.format(suits=suits), values


def on_level(task: Task, place: QueuePlace, reader: Reader) -> list[tuple[int, int]]:
    """(priority, key) of the first instances for this person at the place's own priority."""
    level, values = _level(task, place, reader)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT i.priority, i.id {level} LIMIT {AT_ONCE}", values)
        return [(priority, pk) for priority, pk in cursor.fetchall()]


def take_on_level(task: Task, place: QueuePlace, reader: Reader) -> Instance | None:
    """Take a slot of the first instance for this person that nobody else is taking at this moment, while nothing has
    come back and there is one at the place's own priority. Moves the place up to the first that is open."""
    if reader.returns > place.returned:
        return None
    level, values = _level(task, place, reader)
    free, first, again = "", "id", []
    if connection.features.has_select_for_update_skip_locked:  # else nobody is taking one at the same moment
        free, first, again = "FOR NO KEY UPDATE OF taken SKIP LOCKED", f"(SELECT i.id {level} LIMIT 1)", values
    with connection.cursor() as cursor:
        parts = {"level": level, "at_once": AT_ONCE, "free": free, "columns": _whole.columns, "first": first}
        cursor.execute(TAKE.format(**parts), [*values, *again])
        row = cursor.fetchone()
    if row is None:
        return None
    place.instance_id = row[-1]
    taken: Instance = _whole.read(row)
    return taken


def reform(task_id: int) -> None:
    """Many instances were opened or moved: everybody starts at the front. Call it before they are locked."""
    _count(task_id, epoch=F("epoch") + 1)


def announce(task_id: int, count: int) -> bool:
    """Say that ``count`` instances will be opened: few as returns, many as a new line. True: give them the number."""
    few = count <= AT_ONCE
    (number_return if few else reform)(task_id)
    return few


def number_return(task_id: int) -> None:
    """Draw the next return number, held until the transaction ends. Call it before an instance is touched."""
    _count(task_id, returns=F("returns") + 1)


def _count(task_id: int, **change: Any) -> None:
    line = Line.objects.filter(pk=task_id)
    if not line.update(**change):
        Line.objects.get_or_create(task_id=task_id)
        line.update(**change)


def give_back(instance_id: int) -> None:
    """Undo ``take_slot`` in the transaction that took it: nobody has seen the instance leave."""
    Instance.objects.filter(pk=instance_id).update(open_slots=F("open_slots") + 1)


def come_back(task_id: int, instance_id: int) -> None:
    """Give a slot back, as the return drawn by ``number_return`` in this transaction; one that is owed stays closed."""
    row = Instance.objects.filter(pk=instance_id)
    if not row.filter(owed__gt=0).update(owed=F("owed") - 1):
        row.update(open_slots=F("open_slots") + 1, returned=number_of(task_id))


def number_of(task_id: int) -> Subquery:
    """The return number drawn last, for an UPDATE of ``returned``."""
    return Subquery(Line.objects.filter(pk=task_id).values("returns"))


def prioritise(task: Task, priorities: Mapping[int, int]) -> None:
    """Set the priority of many instances. Call it in a transaction, with the purse locked if money moves in it too."""
    reform(task.pk)
    levels: dict[int, list[int]] = defaultdict(list)
    for pk, priority in priorities.items():
        levels[priority].append(pk)
    for priority, pks in levels.items():
        for start in range(0, len(pks), 500):
            Instance.objects.filter(task=task, pk__in=pks[start : start + 500]).update(priority=priority)


_take_slot = Update(lambda: Instance.objects.open().filter(pk=slot("instance")), open_slots=F("open_slots") - 1)


def take_slot(instance_id: int) -> bool:
    """Take one open slot by a conditional UPDATE. The row count is the answer."""
    return _take_slot(instance=instance_id) == 1
