"""Checked rows of an import as rows of the database."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import uuid4

from django.utils import timezone

from ..abilities import asked_by
from ..formats.records import ImportedInstance
from ..formats.splits import prompt_hash
from ..models import Annotation, Annotator, ImportBatch, Instance, Task
from . import bulk
from .recorded import Checked, Said

INSTANCE_COLUMNS = (
    "public_id",
    "task_id",
    "batch_id",
    "external_id",
    "prompt",
    "completions",
    "meta",
    "source",
    "prompt_hash",
    "open_slots",
    "lang",
    "skill",
)
ANNOTATION_COLUMNS = (
    "public_id",
    "task_id",
    "instance_id",
    "annotator_id",
    "source",
    "answers",
    "details",
    "order",
    "questions_version",
    "recorded",
    "submitted_at",
)


def store_chunk(batch: ImportBatch, chunk: list[Checked], annotators: dict[tuple[str, str], int]) -> None:
    """Insert instances and what was said of them; ``annotators`` remembers keys by (source, name) between chunks."""
    store_instances(batch.task, (entry.instance for entry in chunk), batch)
    told = [entry for entry in chunk if entry.said]
    if not told:
        return
    ids = [entry.instance.external_id for entry in told]
    keys = dict(Instance.objects.filter(task=batch.task, external_id__in=ids).values_list("external_id", "pk"))
    now = timezone.now()
    rows = [  # a list: while rows go out by COPY the connection cannot look an annotator up
        _annotation(batch.task, keys[entry.instance.external_id], _annotator(batch, said, annotators), said, now)
        for entry in told
        for said in entry.said
    ]
    bulk.insert(Annotation, ANNOTATION_COLUMNS, rows)


def store_instances(task: Task, records: Iterable[ImportedInstance], batch: ImportBatch | None = None) -> None:
    """Insert instances that were checked against the task. Raises IntegrityError for an id that the task has."""
    bulk.insert(Instance, INSTANCE_COLUMNS, (_instance(task, batch, record) for record in records))


def _instance(task: Task, batch: ImportBatch | None, record: ImportedInstance) -> tuple[Any, ...]:
    return (
        uuid4(),
        task.pk,
        batch.pk if batch else None,
        record.external_id,
        record.prompt,
        record.completions,
        record.meta,
        record.source[:80],
        prompt_hash(record.prompt),
        0 if task.plan_only else task.overlap,
        *asked_by(record.meta, [*record.completions[:1], *record.prompt[-1:]]),
    )


def _annotator(batch: ImportBatch, said: Said, known: dict[tuple[str, str], int]) -> int:
    key = (said.source, said.annotator)
    if key not in known:
        project, name = batch.task.project, said.annotator[:200]
        row, _ = Annotator.objects.get_or_create(project=project, kind=said.source, name=name, user=None)
        known[key] = row.pk
    return known[key]


def _annotation(task: Task, instance: int, annotator: int, said: Said, now: datetime) -> tuple[Any, ...]:
    known = (uuid4(), task.pk, instance, annotator, said.source, said.answers, said.details, said.order)
    return (*known, task.questions_version, True, said.at or now)
