"""Dataset versions: numbered, immutable, hashed. Freezing is a job over one snapshot of the database.

Files lie under ``FILES_DIR/datasets/<public id>/<shape>/<format>/``, each folder with its card and manifest. They are
written beside, flushed, and moved into place by one rename, in the transaction that makes the version ready.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.utils import timezone
from django.utils.module_loading import autodiscover_modules
from pydantic import ValidationError

from ..exceptions import FeedbackError, InvalidInput, KeyReused, WrongState
from ..formats.media_column import with_media
from ..formats.shape_table import ordering_question
from ..formats.shapes import Shape
from ..formats.writers import FileEntry, Manifest, file_sha256, verify_folder, write_dataset
from ..models import AuditEvent, DatasetState, DatasetVersion, Job, JobKind, PreferenceMix, Task, User
from ..refinements import asks_refinement
from . import jobs
from .cards import card_of
from .freezing import FreezeSpec, Pool, shape_of
from .snapshot import snapshot
from .version_media import copy_media, noting_media

PLAN = "plan:"
"""How the origin of a routing plan's mix begins."""


class NothingToFreeze(FeedbackError):
    """No annotation of this task becomes a row of this version."""

    code = "nothing-to-freeze"
    status = 422


Beliefs = Callable[[PreferenceMix], Mapping[str, float] | None]
_BELIEFS: list[Beliefs] = []


def beliefs_come_from(source: Beliefs) -> Beliefs:
    """Register what weighs judge and people for a mix: P(the first is better) by public id where both spoke; ``None``
    for a mix that it knows nothing of. The ground weighs nobody: it knows no plan."""
    _BELIEFS.append(source)
    return source


def _beliefs(version: DatasetVersion, spec: FreezeSpec) -> Mapping[str, float] | None:
    """Raises WrongState where nobody can weigh this mix any more."""
    if spec.aggregation != "posterior" or version.mix is None:
        return None
    autodiscover_modules("tasks")  # outside a worker nothing has loaded what registers them
    found = next((known for known in (source(version.mix) for source in _BELIEFS) if known is not None), None)
    if found is None:
        raise WrongState("The routing plan that this mix is of is gone, so nothing weighs its labels.")
    return found


def parse_spec(raw: Mapping[str, Any]) -> FreezeSpec:
    """Validate what a person or program asks for. Raises InvalidInput with a sentence per field."""
    try:
        return FreezeSpec.model_validate(raw)
    except ValidationError as error:
        raise InvalidInput("The version cannot be frozen like this.", errors=_sentences(error)) from error


def _sentences(error: ValidationError) -> dict[str, str]:
    return {
        ".".join(str(part) for part in item["loc"]) or "spec": item["msg"].removeprefix("Value error, ")
        for item in error.errors(include_url=False, include_context=False, include_input=False)
    }


def create_version(
    task: Task, spec: FreezeSpec | Mapping[str, Any], *, actor: User, idempotency_key: str = ""
) -> DatasetVersion:
    """Number a version and enqueue its freezing. The same ``idempotency_key`` gives the version it made before.

    Raises InvalidInput for a spec that does not fit the task, KeyReused.
    """
    spec = spec if isinstance(spec, FreezeSpec) else parse_spec(spec)
    mix = _check_fit(task, spec)
    with transaction.atomic():
        Task.objects.select_for_update(no_key=True).get(pk=task.pk)
        before = _made_with(task, spec, idempotency_key)
        if before:
            return before
        last = DatasetVersion.objects.filter(task=task).aggregate(last=Max("number"))["last"]
        version = DatasetVersion.objects.create(
            task=task, number=(last or 0) + 1, spec=spec.model_dump(mode="json"), mix=mix, created_by=actor
        )
        params = {"version": version.pk, "dataset": str(version.public_id)}
        jobs.enqueue(JobKind.FREEZE, task.project, params, actor=actor, idempotency_key=idempotency_key)
        AuditEvent.write("dataset.freeze", actor=actor, project=task.project, subject=str(version))
    return version


def _made_with(task: Task, spec: FreezeSpec, key: str) -> DatasetVersion | None:
    """The version that a request with this key made. Raises KeyReused when it asked for another one."""
    job = Job.objects.filter(project=task.project, kind=JobKind.FREEZE, idempotency_key=key).first() if key else None
    if job is None:
        return None
    version = DatasetVersion.objects.filter(task=task, pk=job.params["version"]).first()
    if version is None or version.spec != spec.model_dump(mode="json"):
        raise KeyReused
    return version


def _check_fit(task: Task, spec: FreezeSpec) -> PreferenceMix | None:
    """The spec's mix. Raises InvalidInput when the question or the mix is not the task's."""
    if spec.question and ordering_question(task.parsed_questions, spec.question) is None:
        raise InvalidInput(errors={"question": "This task has no preference or ranking question of that name."})
    if spec.refinements == "chosen" and not asks_refinement(task.parsed_questions):
        raise InvalidInput(errors={"refinements": "This task asks no critique with refinement."})
    for name in spec.shapes:
        shape_of(name, task.parsed_questions, spec)
    if spec.aggregation == "posterior" and spec.sources != "mix":
        raise InvalidInput(errors={"aggregation": "Only the mix of a routing plan says whom to weigh; choose one."})
    if spec.sources != "mix":
        return None
    try:
        mix = PreferenceMix.objects.filter(task=task, public_id=UUID(spec.mix or "")).first()
    except ValueError:
        mix = None
    if mix is None:
        raise InvalidInput(errors={"mix": "Choose a preference mix of this task."})
    if spec.aggregation == "posterior" and not mix.origin.startswith(PLAN):
        raise InvalidInput(errors={"aggregation": "This mix is of no routing plan, so nothing weighs its labels."})
    return mix


def job_of(version: DatasetVersion) -> Job | None:
    """The job that freezes, or froze, this version."""
    freezing = Job.objects.filter(project_id=version.task.project_id, kind=JobKind.FREEZE)
    return freezing.filter(params__version=version.pk).order_by("-pk").first()


def run_freeze(context: jobs.JobContext) -> dict[str, Any]:
    """The job. Raises NothingToFreeze; any failure leaves the version failed with a sentence, and no files."""
    version = DatasetVersion.objects.select_related("task__project", "mix", "created_by").get(
        pk=context.params["version"]
    )
    if version.state != DatasetState.READY:
        work = folder_of(version).with_name(f".{version.public_id}.{context.job.fence}")
        with _failure_noted(version, work, context):
            _freeze(version, work, context)
    return {"dataset": str(version.public_id), "rows": version.rows, "sha256": version.sha256}


def note_failure(job: Job, sentence: str) -> None:
    """A version whose job ended before it was ready has failed."""
    pending = DatasetVersion.objects.filter(pk=job.params.get("version"), state=DatasetState.FREEZING)
    pending.update(state=DatasetState.FAILED, error=sentence[:4000])


@contextmanager
def _failure_noted(version: DatasetVersion, work: Path, context: jobs.JobContext) -> Iterator[None]:
    """Remove the working folder; on an error that is still ours to tell, mark the version failed."""
    try:
        yield
    finally:
        shutil.rmtree(work, ignore_errors=True)
        error = sys.exception()
        if error is not None and not isinstance(error, jobs.FenceLost) and context.mine().exists():
            sentence = error.message if isinstance(error, FeedbackError) else f"{type(error).__name__}: {error}"
            pending = DatasetVersion.objects.filter(pk=version.pk).exclude(state=DatasetState.READY)
            if pending.update(state=DatasetState.FAILED, error=sentence[:4000]):
                shutil.rmtree(folder_of(version), ignore_errors=True)  # moved, but its transaction did not commit


def _freeze(version: DatasetVersion, work: Path, context: jobs.JobContext) -> None:
    spec = FreezeSpec.model_validate(version.spec)
    for left_over in work.parent.glob(f".{version.public_id}.*"):  # by attempts whose worker died
        shutil.rmtree(left_over, ignore_errors=True)
    work.mkdir(parents=True)
    context.progress(0, 1, "Weighing judge and people" if spec.aggregation == "posterior" else "")
    beliefs = _beliefs(version, spec)
    with snapshot() as source:
        pool = Pool(source, version.task_id, spec, version.mix.sources if version.mix else None, beliefs)
        total = pool.size()
        for seen in pool.gather():
            context.progress(seen, total, "Reading votes")
        card = _Card(version, pool)
        media: dict[str, str] = {}
        folders = [
            _folder(work, shape_of(name, pool.questions, spec), file_format, pool, card, media, total, context)
            for name in spec.shapes
            for file_format in spec.formats
        ]
    if not any(folder["rows"] for folder in folders):
        raise NothingToFreeze(_why_nothing(pool))
    context.progress(total, total, "Copying media files")
    manifest = manifest_of(folders, copy_media(work, media))
    _publish(version, work, folders, manifest, card.made, context)


class _Card(Mapping[str, Any]):
    """The card as a mapping that is made when it is first read: once the first files are written."""

    def __init__(self, version: DatasetVersion, pool: Pool) -> None:
        self._version, self._pool = version, pool

    @cached_property
    def made(self) -> dict[str, Any]:
        return card_of(self._version, self._pool)

    def __getitem__(self, key: str) -> Any:
        return self.made[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.made)

    def __len__(self) -> int:
        return len(self.made)


def _folder(
    work: Path,
    shape: Shape,
    file_format: Any,
    pool: Pool,
    card: _Card,
    media: dict[str, str],
    total: int,
    context: jobs.JobContext,
) -> dict[str, Any]:
    rows = noting_media(_ticking(pool.rows(shape), total, f"{shape.name} as {file_format}", context), media)
    path = f"{shape.name}/{file_format}"
    shape = with_media(shape) if pool.media else shape
    written: Manifest = write_dataset(work / path, rows, shape, card=card, file_format=file_format)
    return {"path": path, **written.to_json()}


def _ticking(
    rows: Iterable[dict[str, Any]], total: int, what: str, context: jobs.JobContext
) -> Iterator[dict[str, Any]]:
    context.progress(0, total, f"Writing {what}")
    for count, row in enumerate(rows, start=1):
        if count % 2_000 == 0:
            context.progress(min(count, total), total, f"Writing {what}")
        yield row


def _why_nothing(pool: Pool) -> str:
    tally = pool.tally
    if not tally.annotations:
        return "This task has no annotations yet; label some instances or run a judge first."
    reasons = dict(tally.dropped) | ({"tie": tally.pairs["tie"] + tally.pairs["split"]} if tally.pairs else {})
    told = ", ".join(f"{name}: {count:,}" for name, count in sorted(reasons.items()) if count)
    return f"None of the {tally.annotations:,} annotations becomes a row of this version ({told or 'other source'})."


def _publish(
    version: DatasetVersion,
    work: Path,
    folders: list[dict[str, Any]],
    manifest: dict[str, Any],
    card: dict[str, Any],
    context: jobs.JobContext,
) -> None:
    """Move the files into place and make the version ready: the fence first, so a stale worker moves nothing."""
    final = folder_of(version)
    with transaction.atomic():
        context.hold()
        shutil.rmtree(final, ignore_errors=True)  # left by an attempt that died between its rename and its commit
        os.replace(work, final)
        _flush_folder(final.parent)
        version.state, version.card, version.manifest = DatasetState.READY, card, manifest
        version.sha256 = _identity(folders)
        version.rows = next((one["rows"] for one in folders if one["shape"] != "raw"), folders[0]["rows"])
        version.frozen_at, version.error = timezone.now(), ""
        version.save(update_fields=["state", "card", "manifest", "sha256", "rows", "frozen_at", "error"])


def manifest_of(folders: list[dict[str, Any]], media: Sequence[FileEntry]) -> dict[str, Any]:
    """``files``: every file with its path in the version's folder, the media last; ``folders``: what each data set
    folder holds."""
    files = [
        {**file, "path": f"{folder['path']}/{file['path']}", "shape": folder["shape"], "format": folder["file_format"]}
        for folder in folders
        for file in folder["files"]
    ]
    files += [{**asdict(file), "shape": "media", "format": file.path.rpartition(".")[2]} for file in media]
    return {"version": 1, "files": files, "folders": [{k: v for k, v in f.items() if k != "files"} for f in folders]}


def _identity(folders: list[dict[str, Any]]) -> str:
    """SHA-256 over the folders' data hashes: the same annotations and spec give the same."""
    lines = sorted(f"{folder['sha256']}  {folder['path']}\n" for folder in folders)
    return sha256("".join(lines).encode()).hexdigest()


def _flush_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def folder_of(version: DatasetVersion) -> Path:
    """Where the files of a version lie."""
    return Path(settings.FILES_DIR) / "datasets" / str(version.public_id)


@dataclass(frozen=True, slots=True)
class VersionFile:
    """A downloadable file. ``path`` is relative to the version's folder."""

    path: str
    bytes: int
    sha256: str
    rows: int | None
    split: str
    shape: str
    format: str


def files_of(version: DatasetVersion) -> list[VersionFile]:
    """Every file of a ready version, as its manifest lists them."""
    return [
        VersionFile(
            file["path"],
            file["bytes"],
            file["sha256"],
            file["rows"],
            file["split"] or "",
            file["shape"],
            file["format"],
        )
        for file in version.manifest.get("files", [])
    ]


def file_of(version: DatasetVersion, path: str) -> tuple[VersionFile, Path] | None:
    """The file that the manifest lists under ``path``, and where it lies; nothing else can be named."""
    found = next((file for file in files_of(version) if file.path == path), None)
    return (found, folder_of(version) / found.path) if found else None


def verify_version(version: DatasetVersion) -> list[str]:
    """Hash every file again. Returns what differs from the manifest, as sentences; empty when all is as frozen.

    Raises WrongState for a version that is not ready.
    """
    if version.state != DatasetState.READY:
        raise WrongState("Only a ready version has files to verify.")
    problems: list[str] = []
    for folder in version.manifest["folders"]:
        path = folder_of(version) / folder["path"]
        if not (path / "manifest.json").is_file():
            problems.append(f"{folder['path']}/manifest.json is missing")
            continue
        problems += [f"{folder['path']}/{problem}" for problem in verify_folder(path)]
    for file in files_of(version):
        target = folder_of(version) / file.path
        if not target.is_file():
            problems.append(f"{file.path} is missing")
        elif file_sha256(target) != file.sha256:
            problems.append(f"{file.path} differs from what the database recorded")
    return sorted(set(problems))
