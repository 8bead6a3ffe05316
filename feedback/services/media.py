"""Media files of a task: kept under their SHA-256, known by the name that imports use."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q

from ..content import files_named
from ..exceptions import Conflict, InvalidInput
from ..media_types import HEAD, MediaType, media_type
from ..models import AuditEvent, Instance, MediaFile, Task, User
from ..text import fault_of
from . import uploads

MAX_FILES = 20_000
KNOWN = "PNG, JPEG, GIF, WebP, AVIF, WAV, MP3, M4A, FLAC, Ogg, MP4 or WebM"


def folder() -> Path:
    """Where media files lie."""
    return Path(settings.FILES_DIR) / "media"


def path_of(file: MediaFile) -> Path:
    """Where the bytes of a media file lie."""
    return folder() / file.sha256[:2] / file.sha256


@contextmanager
def files_held() -> Iterator[None]:
    """One at a time over all processes: a file comes and goes together with the rows that name its bytes.

    Enter it inside a transaction and leave it after the commit: taken in another order, two could wait for each other.
    """
    folder().mkdir(parents=True, exist_ok=True)
    lock = os.open(folder(), os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def store_media(task: Task, chunks: Iterable[bytes], filename: str, *, actor: User) -> MediaFile:
    """Keep an upload as a media file of ``task``. The same bytes under the same name again change nothing.

    Raises InvalidInput for a bad name, an unknown type, no bytes or too many; Conflict when the name has other bytes.
    """
    file = MediaFile(task=task, name=_checked_name(filename), created_by=actor)
    if task.media.count() >= MAX_FILES:
        raise InvalidInput(errors={"file": f"A task has at most {MAX_FILES:,} media files."})
    with staged_as(file, chunks) as put, ExitStack() as held, transaction.atomic():
        held.enter_context(files_held())
        put()
        return _recorded(file)


@contextmanager
def staged_as(file: MediaFile, chunks: Iterable[bytes]) -> Iterator[Callable[[], None]]:
    """Write an upload aside and say in ``file`` what it is; the function given moves it to its place.

    Raises InvalidInput for an unknown type, no bytes or too many.
    """
    staged = folder() / f".{uuid4()}"
    staged.parent.mkdir(parents=True, exist_ok=True)

    def put() -> None:
        path_of(file).parent.mkdir(exist_ok=True)
        os.replace(staged, path_of(file))

    try:
        file.sha256, file.size = uploads.write_hashed(chunks, staged, limit_mb=settings.MAX_MEDIA_MB)
        file.kind, file.content_type = _type_of(staged)
        yield put
    finally:
        staged.unlink(missing_ok=True)


def _checked_name(filename: str) -> str:
    name = os.path.basename(filename.replace("\\", "/")).strip()
    if not 1 <= len(name) <= 200 or fault_of(name):
        raise InvalidInput(errors={"file": "A file name has 1 to 200 characters, no control characters among them."})
    return name


def _type_of(path: Path) -> MediaType:
    with path.open("rb") as file:
        found = media_type(file.read(HEAD))
    if found is None:
        raise InvalidInput(errors={"file": f"The file is none of {KNOWN}, whatever its name says."})
    return found


def _recorded(file: MediaFile) -> MediaFile:
    """The row of these bytes under this name: a new one, or the one that is there, maybe since this moment."""
    try:
        with transaction.atomic():
            file.save(force_insert=True)
            AuditEvent.write("media.add", actor=file.created_by, project=file.task.project, subject=file.name)
        return file
    except IntegrityError:
        before = MediaFile.objects.get(task=file.task, name=file.name)
    if before.sha256 != file.sha256:
        forget_bytes(file.sha256)
        raise Conflict(f"{file.name} is another file already. Choose another name, or replace that file.")
    return before


def forget_bytes(sha256: str) -> None:
    """Remove bytes that no row names any more. Call it while the files are held."""
    if not MediaFile.objects.filter(sha256=sha256).exists():
        path_of(MediaFile(sha256=sha256)).unlink(missing_ok=True)


def kinds_of(task: Task) -> dict[str, str]:
    """The kind of each media file of a task, by name."""
    return dict(task.media.values_list("name", "kind"))


def named_in(task: Task, *messages: Sequence[Mapping[str, Any]]) -> dict[str, MediaFile]:
    """The media files that messages and completions name, by name; no query when they name none."""
    names = set(_named(messages))
    return {file.name: file for file in task.media.filter(name__in=names)} if names else {}


def named_by(instances: Iterable[Instance]) -> dict[int, dict[str, MediaFile]]:
    """The media files that instances name, by their task's key and by name; one query at most."""
    wanted: dict[int, set[str]] = {}
    for instance in instances:
        wanted.setdefault(instance.task_id, set()).update(_named([instance.prompt, instance.completions]))
    of_any = reduce(or_, (Q(task=task, name__in=names) for task, names in wanted.items()), Q(pk__in=[]))
    found: dict[int, dict[str, MediaFile]] = {task: {} for task in wanted}
    for file in MediaFile.objects.filter(of_any):
        found[file.task_id][file.name] = file
    return found


def _named(lists: Iterable[Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    for messages in lists:
        yield from files_named(messages)
