"""Import: a file becomes instances of a task, all of it or nothing, and the same bytes only once.

Steps: :func:`new_batch` (a stored file and a guess what it is) → :func:`set_mapping` (a person corrects the guess) →
:func:`dry_run` (what would come in, and each bad row with its reason) → :func:`start_import` (a job).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import IO, Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from pydantic import ValidationError

from ..content import text_of
from ..exceptions import Conflict, InvalidInput, KeyReused, WrongState
from ..formats.mapping import ColumnMapping, preview, suggest_mapping
from ..formats.records import ImportedInstance, ReadOptions, RowError, preference_question
from ..formats.sources import SOURCES, SourceFormat, detect_source, mapped_source
from ..formats.tables import Row
from ..models import (
    AuditEvent,
    ImportBatch,
    ImportState,
    Instance,
    Job,
    JobKind,
    Project,
    Task,
    User,
)
from ..questions import PreferenceQuestion
from . import jobs, media, tasks, uploads
from .queue import line
from .recorded import Checked, Checker, Misfit, check_media
from .spooling import spool, unspool
from .storing import store_chunk
from .uploads import Stored

CHUNK = 1_000
SHOWN_ERRORS = 100
SAMPLE = 3
INLINE_ROWS = 20_000  # how far a dry run inside a web request looks; the job looks at all rows
TABLE = "table"
MAPPED = ("hh", "preference", "completions")  # formats of any table, whose columns a person may map


@dataclass
class Report:
    """What a look through the file found. ``complete``: it looked at every row."""

    rows: int = 0
    instances: int = 0
    errors: int = 0
    first_errors: list[dict[str, Any]] = field(default_factory=list)
    annotations: dict[str, int] = field(default_factory=lambda: {"human": 0, "judge": 0})
    abstained: int = 0
    sample: list[dict[str, Any]] = field(default_factory=list)
    complete: bool = False
    skipped_bad_rows: bool = False

    def add(self, entry: Checked | RowError) -> None:
        self.rows += 1
        if isinstance(entry, RowError):
            self.errors += 1
            if len(self.first_errors) < SHOWN_ERRORS:
                self.first_errors.append(asdict(entry))
            return
        self.instances += 1
        self.abstained += entry.abstained
        for said in entry.said:
            self.annotations[said.source] += 1
        if len(self.sample) < SAMPLE:
            self.sample.append(_shown(entry))

    def completed(self) -> Report:
        """Say that every row was looked at. A file without rows is an error."""
        self.complete = True
        if not self.rows:
            self.add(RowError(0, "file", "holds no rows"))
        return self


def _shown(entry: Checked) -> dict[str, Any]:
    record = entry.instance
    return {
        "external_id": record.external_id,
        "prompt": [{**message, "content": text_of(message["content"])[:600]} for message in record.prompt[:6]],
        "completions": [{**one, "content": text_of(one["content"])[:600]} for one in record.completions],
        "annotations": [{"annotator": said.annotator, "answers": said.answers} for said in entry.said[:6]],
    }


def new_task_for(project: Project, stored: Stored, *, name: str = "", actor: User, **fields: Any) -> Task:
    """A task that asks what the file's recorded annotations answer; one preference for a file of an unknown kind.

    Without ``name`` it is called what the set is called, or the file.
    """
    source = detect_source(uploads.located(stored.path))
    options = ReadOptions()
    questions = source.questions(options) if source else [preference_question(options, both_bad=True)]
    named = source.title if source and source.name not in MAPPED else stored.filename[:120]
    return tasks.create_task(project, name or named, questions, actor=actor, **fields)


def new_batch(task: Task, stored: Stored, *, actor: User) -> ImportBatch:
    """Register a stored file for import and guess its format. Raises Conflict when its bytes were imported before."""
    refuse_repeat(task, stored.sha256)
    source = detect_source(uploads.located(stored.path))
    return ImportBatch.objects.create(
        task=task,
        filename=stored.filename,
        path=stored.path,
        sha256=stored.sha256,
        format=source.name if source else TABLE,
        created_by=actor,
    )


def refuse_repeat(task: Task, sha256: str) -> None:
    """Raises Conflict when a file with these bytes is in the task."""
    before = ImportBatch.objects.filter(task=task, sha256=sha256, state=ImportState.IMPORTED).first()
    if before:
        raise Conflict(f"Already imported as {before.filename} on {before.imported_at:%Y-%m-%d %H:%M} UTC.")


def options_for(task: Task) -> ReadOptions:
    """How recorded preferences are read so that they answer the task's preference question."""
    question = task.preference_question
    if not isinstance(question, PreferenceQuestion):
        return ReadOptions()
    return ReadOptions(steps=question.steps, question=question.name)


def source_of(batch: ImportBatch) -> SourceFormat:
    """The reader that the batch's format and mapping choose. Raises InvalidInput when a table has no mapping yet."""
    columns = batch.mapping.get("columns")
    if columns is not None:
        return mapped_source(ColumnMapping.model_validate(columns))
    if batch.format not in SOURCES:
        raise InvalidInput("The columns are not mapped yet.", errors={"mapping": "Say which column is what."})
    return SOURCES[batch.format]


@dataclass(frozen=True)
class Look:
    """The first rows of a batch as its table has them, and the mapping in force or guessed."""

    columns: list[str]
    rows: list[Row]
    errors: list[RowError]
    mapping: ColumnMapping | None


def look(batch: ImportBatch, rows: int = 8) -> Look | None:
    """Columns, first rows and mapping; ``None`` for a known set, whose columns need no mapping."""
    if batch.format in SOURCES and batch.format not in MAPPED:
        return None
    columns, first, errors = preview(uploads.located(batch.path), rows)
    stored = batch.mapping.get("columns")
    mapping = ColumnMapping.model_validate(stored) if stored else suggest_mapping(columns, first)
    return Look(columns, first, errors, mapping)


def set_mapping(batch: ImportBatch, columns: dict[str, Any] | None, *, annotations: bool = True) -> None:
    """Say which column is what (``None``: as the format knows), and whether recorded annotations come along.

    Raises InvalidInput for an incomplete mapping, WrongState after the import.
    """
    mapping: dict[str, Any] = {"annotations": annotations}
    if columns is not None:
        try:
            mapping["columns"] = ColumnMapping.model_validate(columns).model_dump(mode="json", exclude_defaults=True)
        except ValidationError as error:
            raise InvalidInput("The mapping is not complete.", errors=_sentences(error)) from error
    fields = {"mapping": mapping, "state": ImportState.UPLOADED, "report": {}}
    if not ImportBatch.objects.filter(pk=batch.pk).exclude(state=ImportState.IMPORTED).update(**fields):
        raise WrongState("This file is already imported.")
    batch.mapping, batch.state, batch.report = mapping, ImportState.UPLOADED, {}


def _sentences(error: ValidationError) -> dict[str, str]:
    return {
        f"mapping.{'.'.join(str(part) for part in item['loc'])}".rstrip("."): item["msg"].removeprefix("Value error, ")
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    }


def dry_run(batch: ImportBatch, *, limit: int | None = INLINE_ROWS) -> Report:
    """Look through the file (at most ``limit`` rows) and store the report; nothing goes into the task."""
    report = Report()
    for chunk in checked_chunks(batch):
        for entry in chunk:
            report.add(entry)
        if limit is not None and report.rows >= limit:
            break
    else:
        report.completed()
    looked = ImportBatch.objects.filter(pk=batch.pk).exclude(state=ImportState.IMPORTED)
    looked.update(report=asdict(report), state=ImportState.CHECKED)
    batch.report = asdict(report)
    return report


def checked_chunks(batch: ImportBatch) -> Iterator[list[Checked | RowError]]:
    """The file's rows, checked against the task, in lists of at most 1,000: what fits, and row errors."""
    task = batch.task
    records = source_of(batch).read(uploads.located(batch.path), options_for(task))
    said = bool(batch.mapping.get("annotations", True))
    checker = Checker(task.parsed_questions, annotations=said, media=media.kinds_of(task))
    while chunk := list(islice(records, CHUNK)):
        known = _known_ids(task, chunk)
        yield [
            entry if isinstance(entry, RowError) else _known(entry) if entry.external_id in known else checker(entry)
            for entry in chunk
        ]


def _known_ids(task: Task, chunk: list[ImportedInstance | RowError]) -> set[str]:
    ids = [entry.external_id for entry in chunk if isinstance(entry, ImportedInstance)]
    return set(Instance.objects.filter(task=task, external_id__in=ids).values_list("external_id", flat=True))


def _known(record: ImportedInstance) -> RowError:
    reason = f"{record.external_id[:60]!r} is already an instance of this task"
    return RowError(record.line, "external_id", reason, "Remove the row, or give it another id.")


def start_import(
    batch: ImportBatch, *, actor: User | None, skip_bad_rows: bool = False, idempotency_key: str = ""
) -> Job:
    """Enqueue the import; a batch that waits is not queued again.

    Raises Conflict, WrongState, InvalidInput, KeyReused when another import was started with this key.
    """
    if batch.state == ImportState.IMPORTED:
        raise WrongState("This file is already imported.")
    refuse_repeat(batch.task, batch.sha256)
    source_of(batch)
    if batch.report.get("errors") and not skip_bad_rows:
        raise InvalidInput(
            f"Rows that cannot be imported: {batch.report['errors']:,}.",
            errors={"skip_bad_rows": "Correct the file, or choose to leave these rows out."},
        )
    project = batch.task.project
    params = {"batch": batch.pk, "import": str(batch.public_id), "skip_bad_rows": skip_bad_rows}
    with transaction.atomic():
        ImportBatch.objects.select_for_update(no_key=True).get(pk=batch.pk)  # a double click queues one job
        waiting = Job.objects.active().filter(project=project, kind=JobKind.IMPORT, params__batch=batch.pk).first()
        if waiting:
            return waiting
        job = jobs.enqueue(JobKind.IMPORT, project, params, actor=actor, idempotency_key=idempotency_key)
    if job.params != params:
        raise KeyReused
    return job


def run_import(context: jobs.JobContext) -> dict[str, Any]:
    """The job: read and check every row into a temporary file, then store all of them in one short transaction.

    Raises InvalidInput when a row is bad and leaving bad rows out was not chosen; then nothing is stored.
    """
    batch = ImportBatch.objects.select_related("task__project", "created_by").get(pk=context.params["batch"])
    skip = bool(context.params.get("skip_bad_rows"))
    if batch.state != ImportState.IMPORTED:
        _refuse_changed(batch)
        with tempfile.TemporaryFile() as staged:
            report = _stage(batch, staged, context)
            if report.errors and (not skip or not report.instances):
                _refuse(batch, report)
            _store(batch, report, staged, context)
    result = {key: batch.report[key] for key in ("instances", "errors", "annotations", "abstained")}
    return {"import": str(batch.public_id), **result}


def _refuse_changed(batch: ImportBatch) -> None:
    path = uploads.located(batch.path)
    if not path.exists() or uploads.hash_of(path)[0] != batch.sha256:
        raise Conflict("The file has changed since it was chosen; choose it again.")


def _stage(batch: ImportBatch, staged: IO[bytes], context: jobs.JobContext) -> Report:
    """Write the good rows to a file of our own, chunk by chunk, so that the transaction reads nothing else."""
    report = Report()
    for chunk in checked_chunks(batch):
        for entry in chunk:
            report.add(entry)
        if not report.errors or context.params.get("skip_bad_rows"):
            spool(staged, (entry for entry in chunk if isinstance(entry, Checked)))
        context.progress(report.rows, 0, f"Checking row {report.rows:,}")
    return report.completed()


def _refuse(batch: ImportBatch, report: Report) -> None:
    fields = {"state": ImportState.FAILED, "report": asdict(report)}
    # its rows are "already there" when a second job of this batch came in first: that one's success stands
    ImportBatch.objects.filter(pk=batch.pk).exclude(state=ImportState.IMPORTED).update(**fields)
    refuse_repeat(batch.task, batch.sha256)
    first = report.first_errors[0]
    place = f"line {first['line']}, {first['field']}" if first["line"] else first["field"]
    raise InvalidInput(
        f"{report.errors:,} of {report.rows:,} rows cannot be imported; nothing was stored. "
        f"First: {place}: {first['reason']}."
    )


def _store(batch: ImportBatch, report: Report, staged: IO[bytes], context: jobs.JobContext) -> None:
    context.progress(0, report.instances, f"Storing {report.instances:,} instances")
    report.skipped_bad_rows = report.errors > 0
    annotators: dict[tuple[str, str], int] = {}
    try:
        with transaction.atomic():
            batch.task = _unchanged(batch.task)
            kinds = media.kinds_of(batch.task)
            for chunk in unspool(staged, CHUNK):
                _refuse_lost_media(chunk, kinds)
                store_chunk(batch, chunk, annotators)
                context.check()
            line.reform(batch.task.pk)  # others may have passed these rows' keys by now
            batch.report, batch.state, batch.imported_at = asdict(report), ImportState.IMPORTED, timezone.now()
            batch.save(update_fields=["report", "state", "imported_at"])
            counts = {"instances": report.instances, **report.annotations}
            task = batch.task
            AuditEvent.write(
                "import", actor=batch.created_by, project=task.project, subject=batch.filename, task=task.name, **counts
            )
            context.hold()
    except IntegrityError as error:
        raise _readable(batch, error) from error


def _unchanged(task: Task) -> Task:
    """The task as it is now, its overlap held until the rows are in. Raises Conflict when it asks something else."""
    now = Task.objects.select_for_update(no_key=True, of=("self",)).select_related("project").get(pk=task.pk)
    if now.questions_version != task.questions_version:
        raise Conflict("The task's questions changed while the file was read; import again.")
    return now


def _refuse_lost_media(chunk: list[Checked], kinds: dict[str, str]) -> None:
    """Raises Conflict when a file that a row shows went away after the row was read."""
    try:
        for entry in chunk:
            check_media(entry.instance, kinds)
    except Misfit as misfit:
        raise Conflict(f"While the file was read a media file changed: {misfit}. Nothing was stored.") from misfit


def _readable(batch: ImportBatch, error: IntegrityError) -> Conflict:
    """Two imports raced: say which rule of the database held."""
    refuse_repeat(batch.task, batch.sha256)
    if "annotator" in str(error):
        return Conflict("Another import made the same annotators at the same moment; import again.")
    return Conflict("Another import brought in the same ids at the same moment; nothing was stored.")
