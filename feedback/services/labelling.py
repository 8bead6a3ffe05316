"""What one person has labelled and has left: the reads behind the queue, the progress bar and the history."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Avg, Count, F, Max, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from ..exceptions import DraftConflict
from ..models import (
    Annotation,
    Annotator,
    Assignment,
    AssignmentState,
    Membership,
    QueuePlace,
    Task,
    TaskState,
    User,
)
from . import queue
from .people import LABEL_ROLES


@dataclass(frozen=True)
class QueueRow:
    """A task open to a person. ``left`` counts the instances they may still begin or have begun; ``more``: at least.

    ``unnamed``: when nothing is left, how many ask for a language or skill that they did not name.
    """

    task: Task
    done: int
    left: int
    more: bool
    minutes: int | None
    unnamed: int = 0


@dataclass(frozen=True)
class Today:
    """What a person submitted since midnight: how many, and the active time over them."""

    count: int
    active_ms: int


def queue_of(user: User) -> list[QueueRow]:
    """The tasks open to ``user`` with what is done and left of each; counting stops at a thousand."""
    pace = _pace(user)
    rows = []
    tasks = list(_open_to(user))
    progress = queue.progress_of(tasks, user)
    unnamed = queue.unsuited_in([task for task in tasks if not progress[task.pk][1]], user)
    for task in tasks:
        done, left, more = progress[task.pk]
        minutes = round(left * pace[task.pk] / 60_000) or 1 if left and not more and task.pk in pace else None
        rows.append(QueueRow(task, done, left, more, minutes, unnamed.get(task.pk, 0)))
    return rows


def _open_to(user: User) -> QuerySet[Task]:
    projects = Membership.objects.filter(user=user, role__in=LABEL_ROLES).values("project")
    return Task.objects.filter(state=TaskState.OPEN, project__in=projects).select_related("project").order_by("name")


def _pace(user: User) -> dict[int, float]:
    """Active milliseconds per annotation of ``user`` today, per task."""
    timed = _since_midnight(user).filter(active_ms__gt=0).order_by()
    return dict(timed.values_list("task").annotate(pace=Avg("active_ms")))


def history_of(user: User) -> QuerySet[Annotation]:
    """The person's own annotations, newest first, each with ``about``: the public id of its instance."""
    rows = _own(user).select_related("task", "task__project", "assignment").annotate(about=F("instance__public_id"))
    return rows.order_by("-submitted_at", "-pk")


def _own(user: User) -> QuerySet[Annotation]:
    # keys rather than a join: with one project the newest are then read from the index in order
    annotators = list(Annotator.objects.filter(user=user).values_list("pk", flat=True))
    return Annotation.objects.live().filter(annotator__in=annotators, recorded=False)


def _since_midnight(user: User) -> QuerySet[Annotation]:
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    return _own(user).filter(submitted_at__gte=midnight)


def editable(user: User) -> set[int]:
    """Keys of the annotations ``user`` may still change: the last ten of each task that no version has frozen."""
    found: set[int] = set()
    tasks = QueuePlace.objects.filter(annotator__user=user, done__gt=0).values("task")
    for task in Task.objects.filter(pk__in=tasks).annotate(
        frozen_at=Max(Coalesce("dataset_versions__frozen_at", "dataset_versions__created_at"))
    ):
        last = history_of(user).filter(task=task).values_list("pk", "created_at")[: queue.EDITABLE]
        frozen: datetime | None = task.frozen_at
        found.update(pk for pk, created_at in last if frozen is None or frozen < created_at)
    return found


def today(user: User, task: Task | None = None) -> Today:
    """What ``user`` submitted since midnight (UTC), of ``task`` or of all."""
    own = _since_midnight(user)
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
