"""Answers that come from elsewhere, for instances that are already here: a replayed person, a set bought outside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from ..models import Annotation, Annotator, Instance, Task
from . import budget
from .payments import open_request, pay
from .queue import take_slot
from .recorded import Said


@dataclass(frozen=True, slots=True)
class Recorded:
    """What ``annotator`` said of ``instance``; the answers are canonical (see :mod:`feedback.questions`)."""

    instance: Instance
    annotator: Annotator
    said: Said


@transaction.atomic
def record(task: Task, rows: Iterable[Recorded]) -> int:
    """Store recorded annotations, all or none; returns how many.

    A person's answer takes an open slot and is paid from an open request where there is one, as a submitted one is.
    """
    budget.lock(task)
    annotations = [_annotation(task, row) for row in rows]
    Annotation.objects.bulk_create(annotations, batch_size=500)
    return len(annotations)


def _annotation(task: Task, row: Recorded) -> Annotation:
    price = 0
    if row.said.source == "human" and take_slot(row.instance.pk):
        request = open_request(task, row.instance.pk, row.annotator.pk)
        price = pay(task, request) if request else 0
    return Annotation(
        task=task,
        instance=row.instance,
        annotator=row.annotator,
        source=row.said.source,
        answers=row.said.answers,
        details=row.said.details,
        order=row.said.order,
        price_micros=price,
        questions_version=task.questions_version,
        recorded=True,
        submitted_at=row.said.at or timezone.now(),
    )
