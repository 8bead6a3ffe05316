"""Going back to one's own answers: a page of them, which can still be changed, and which is beside which."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Exists, OuterRef, QuerySet

from ..models import Annotation, Assignment, AssignmentState, Task, User
from . import labelling, leafing, queue

NEWEST_FIRST = leafing.Order("submitted_at", descending=True)
PAGE = 50


def history(
    user: User, *, task: UUID | None = None, before: UUID | None = None, after: UUID | None = None
) -> leafing.Leaf[Annotation]:
    """A page of the person's annotations with what they said before, newest first: after or before one.

    An id that is not one of theirs means the first page.
    """
    rows = labelling.history_of(user).prefetch_related("revisions")
    if task:
        rows = rows.filter(task__public_id=task)
    beyond = before or after
    anchor = rows.filter(public_id=beyond).first() if beyond else None
    return leafing.leaf(rows, NEWEST_FIRST, PAGE, anchor=anchor, backwards=before is not None)


def tasks_of(user: User) -> QuerySet[Task]:
    """The tasks that the person has answered in."""
    answered = Assignment.objects.filter(annotator__user=user, task=OuterRef("pk"), state=AssignmentState.SUBMITTED)
    return Task.objects.filter(Exists(answered)).select_related("project").order_by("name", "pk")


def changeable(user: User, task: Task) -> list[Annotation]:
    """The person's answers in ``task`` that can still be changed, newest first."""
    allowed = labelling.editable(user)
    return [row for row in labelling.history_of(user).filter(task=task)[: queue.EDITABLE] if row.pk in allowed]


def beside(user: User, task: Task, than: UUID | None, *, forward: bool) -> Annotation | None:
    """The changeable answer next to ``than`` (``None``: the instance being labelled); at the oldest end that one."""
    rows = changeable(user, task)
    at = next((i for i, row in enumerate(rows) if row.public_id == than), -1)
    if forward:
        return rows[at - 1] if at > 0 else None
    return rows[min(at + 1, len(rows) - 1)] if rows else None
