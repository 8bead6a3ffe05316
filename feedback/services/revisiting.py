"""Going back to one's own answers: which of them can still be changed, and which is beside which."""

from __future__ import annotations

from uuid import UUID

from ..models import Annotation, Task, User
from . import labelling, queue


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
