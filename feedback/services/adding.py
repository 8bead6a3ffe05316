"""Instances that did not come from a file: what a policy wrote."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import transaction

from ..formats.records import BadRow, ImportedInstance, ReadOptions, RowError, checked_text
from ..models import Instance, Task
from .queue import line
from .recorded import Checker
from .storing import store_instances


def misfit(task: Task, record: ImportedInstance) -> str:
    """Why a record cannot be an instance of the task; empty when it can."""
    try:
        for place, completion in enumerate(record.completions):
            checked_text(completion["content"], f"completions.{place}.content", ReadOptions())
    except BadRow as error:
        return error.reason
    entry = Checker(task.parsed_questions)(record)
    return entry.reason if isinstance(entry, RowError) else ""


@transaction.atomic
def add_instances(task: Task, records: Sequence[ImportedInstance]) -> int:
    """Add the records that fit and that the task does not have yet, by external id; returns how many."""
    task = Task.objects.select_for_update(no_key=True, of=("self",)).get(pk=task.pk)
    known = set(
        Instance.objects.filter(task=task, external_id__in=[one.external_id for one in records]).values_list(
            "external_id", flat=True
        )
    )
    new = [one for one in records if one.external_id not in known and not misfit(task, one)]
    store_instances(task, new)
    line.reform(task.pk)
    return len(new)
