"""What one person has labelled and has left: the reads behind the queue, the progress bar and the history."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Avg, Count, Exists, F, Max, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from ..exceptions import DraftConflict
from ..models import Annotation, Assignment, AssignmentState, Instance, Task, User
from . import queue


@dataclass(frozen=True)
class QueueRow:
    """A task open to a person. ``left`` counts the instances they may still begin or have begun."""

    task: Task
    done: int
    left: int
    minutes: int | None


@dataclass(frozen=True)
class Today:
    """What a person submitted since midnight: how many, and the active time over them."""

    count: int
    active_ms: int


def queue_of(user: User) -> list[QueueRow]:
    """The tasks open to ``user`` with what is done and left, in four queries however many tasks there are."""
    tasks = list(queue.open_to(user))
    fresh = _fresh(user, [task.pk for task in tasks])
    begun = _begun(user, [task.pk for task in tasks])
    pace = _pace(user)
    rows = []
    for task in tasks:
        left = fresh.get(task.pk, 0) + begun.get(task.pk, 0)
        minutes = round(left * pace[task.pk] / 60_000) or 1 if left and task.pk in pace else None
        rows.append(QueueRow(task=task, done=task.done, left=left, minutes=minutes))  # type: ignore[attr-defined]
    return rows


def left_for(task: Task, user: User) -> int:
    """How many instances of ``task`` this person may still label."""
    return _fresh(user, [task.pk]).get(task.pk, 0) + _begun(user, [task.pk]).get(task.pk, 0)


def _fresh(user: User, tasks: list[int]) -> dict[int, int]:
    """Open instances per task that were never lent to ``user``."""
    seen = Assignment.objects.filter(instance=OuterRef("pk"), annotator__user=user)
    return _per_task(Instance.objects.open().filter(~Exists(seen), task__in=tasks))


def _begun(user: User, tasks: list[int]) -> dict[int, int]:
    """Assignments per task that ``user`` holds, or held and may take up again."""
    lent = Q(state=AssignmentState.LENT) | Q(state=AssignmentState.EXPIRED, instance__open_slots__gt=0)
    return _per_task(Assignment.objects.filter(lent, annotator__user=user, task__in=tasks))


def _per_task(rows: QuerySet[Instance] | QuerySet[Assignment]) -> dict[int, int]:
    return dict(rows.order_by().values_list("task").annotate(count=Count("pk")))


def _pace(user: User) -> dict[int, float]:
    """Active milliseconds per annotation of ``user``, per task."""
    timed = Annotation.objects.live().filter(annotator__user=user, active_ms__gt=0).order_by()
    return dict(timed.values_list("task").annotate(pace=Avg("active_ms")))


def history_of(user: User) -> QuerySet[Annotation]:
    """The person's own annotations, newest first."""
    own = Annotation.objects.live().filter(annotator__user=user, recorded=False)
    return own.select_related("task", "task__project", "assignment").order_by("-created_at", "-pk")


def editable(user: User) -> set[int]:
    """Keys of the annotations ``user`` may still change: the last ten of each task that no version has frozen."""
    found: set[int] = set()
    tasks = Annotation.objects.live().filter(annotator__user=user, recorded=False).order_by().values("task")
    for task in Task.objects.filter(pk__in=tasks).annotate(
        frozen_at=Max(Coalesce("dataset_versions__frozen_at", "dataset_versions__created_at"))
    ):
        last = history_of(user).filter(task=task).values_list("pk", "created_at")[: queue.EDITABLE]
        frozen: datetime | None = task.frozen_at
        found.update(pk for pk, created_at in last if frozen is None or frozen < created_at)
    return found


def today(user: User, task: Task | None = None) -> Today:
    """What ``user`` submitted since midnight (UTC), of ``task`` or of all."""
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    own = Annotation.objects.live().filter(annotator__user=user, recorded=False, submitted_at__gte=midnight)
    if task:
        own = own.filter(task=task)
    sums = own.aggregate(count=Count("pk"), active=Sum("active_ms"))
    return Today(count=sums["count"], active_ms=sums["active"] or 0)


def save_edit_draft(annotation: Annotation, *, version: int, answers: dict[str, object]) -> int:
    """Keep the unfinished change of a submitted annotation; returns the new version. Raises as ``queue.save_draft``."""
    assignment = annotation.assignment
    assert assignment is not None
    queue.check_draft(assignment.task.parsed_questions, answers)  # a change is made under the present questions
    same = Assignment.objects.filter(pk=assignment.pk, draft_version=version, state=AssignmentState.SUBMITTED)
    if not same.update(draft=answers, draft_version=F("draft_version") + 1):
        assignment.refresh_from_db()
        raise DraftConflict(assignment.draft_version, assignment.draft)
    return version + 1


def check_version(assignment: Assignment, version: int | None, answers: dict[str, object]) -> None:
    """Refuse a submit from a tab that has not seen what another tab wrote. Raises DraftConflict.

    A lost answer to an autosave is no conflict: the stored draft then says what is submitted.
    """
    stale = version is not None and version != assignment.draft_version
    if stale and assignment.state == AssignmentState.LENT and assignment.draft != answers:
        raise DraftConflict(assignment.draft_version, assignment.draft)
