"""A real set, in and out again: imported from its folder into a task of its own, frozen, and read back."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import feedback.tasks  # noqa: F401 - registers the jobs
from feedback.models import DatasetVersion, ImportBatch, Task
from feedback.services import datasets, importing, jobs, uploads
from tests.conftest import Cast
from tests.feedback.frozen import rows_of


@dataclass
class Trip:
    """``errors``: the bad rows of the import. ``of(shape)``: rows of the frozen version."""

    task: Task
    batch: ImportBatch
    version: DatasetVersion
    errors: list[dict[str, Any]]

    def of(self, shape: str) -> list[dict[str, Any]]:
        return rows_of(self.version, shape)

    def raw(self) -> list[dict[str, Any]]:
        """The raw rows with their JSON columns parsed."""
        parsed = ("answers", "details", "meta")
        return [row | {name: json.loads(row[name] or "{}") for name in parsed} for row in self.of("raw")]


def round_trip(cast: Cast, folder: Path, *shapes: str, skip_bad_rows: bool = False) -> Trip:
    """Import everything that a folder holds and freeze it as ``raw`` and ``shapes``."""
    stored = uploads.on_disk(folder)
    task = importing.new_task_for(cast.project, stored, name=folder.name, actor=cast.owner)
    batch = importing.new_batch(task, stored, actor=cast.owner)
    job = importing.start_import(batch, actor=cast.owner, skip_bad_rows=skip_bad_rows)
    jobs.run(job.pk)
    job.refresh_from_db()
    assert job.state == "succeeded", job.error
    batch.refresh_from_db()
    spec = {"shapes": ["raw", *shapes], "formats": ["jsonl"], "splits": [1.0, 0.0, 0.0]}
    version = datasets.create_version(task, spec, actor=cast.owner)
    freezing = datasets.job_of(version)
    assert freezing is not None
    jobs.run(freezing.pk)
    version.refresh_from_db()
    assert version.state == "ready", version.error
    return Trip(task, batch, version, batch.report["first_errors"])


def json_rows(path: Path) -> list[Any]:
    """A JSON array or JSON lines, maybe gzipped, read with nothing of ours."""
    data = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
    text = data.decode()
    return list(json.loads(text)) if text.lstrip().startswith("[") else [json.loads(line) for line in text.splitlines()]


def tsv_rows(path: Path) -> Iterator[dict[str, str]]:
    """A gzipped TSV whose quotes mean themselves."""
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        header, *rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        for row in rows:
            yield dict(zip(header, row, strict=False))
