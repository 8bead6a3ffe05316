"""Deleting a media file or putting other bytes in its place, while nothing shows it and no version holds it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.db import transaction
from django.db.models import Q, TextField
from django.db.models.functions import Cast

from ..content import files_named
from ..exceptions import Conflict
from ..formats.media_column import File
from ..models import AuditEvent, DatasetState, Instance, MediaFile, Task, User
from . import datasets, media


def delete_media(file: MediaFile, *, actor: User) -> None:
    """Remove the file and its bytes. Raises Conflict when an instance shows it or a frozen version holds it."""
    with _let_go(file):
        file.delete()
        AuditEvent.write("media.delete", actor=actor, project=file.task.project, subject=file.name)


def replace_media(file: MediaFile, chunks: Iterable[bytes], *, actor: User) -> MediaFile:
    """Other bytes under the same name. Raises InvalidInput for bytes that are no media file, Conflict as deleting."""
    now = MediaFile(pk=file.pk, task=file.task, name=file.name)
    with media.staged_as(now, chunks) as put, _let_go(file):
        file.sha256, file.size, file.kind, file.content_type = now.sha256, now.size, now.kind, now.content_type
        file.save(update_fields=["sha256", "size", "kind", "content_type"])
        AuditEvent.write("media.replace", actor=actor, project=file.task.project, subject=file.name)
        put()
    return file


@contextmanager
def _let_go(file: MediaFile) -> Iterator[None]:
    """A transaction in which nothing needs the file and no import brings in what does; then its bytes go."""
    before = file.sha256
    with media.files_held():
        with transaction.atomic():
            Task.objects.select_for_update(no_key=True).get(pk=file.task_id)
            _refuse_needed(file)
            yield
        media.forget_bytes(before)


def _refuse_needed(file: MediaFile) -> None:
    shown = shown_in(file)
    if shown is not None:
        raise Conflict(
            f"{file.name} is shown by the instance {shown.external_id}; a file that is shown stays as it is."
        )
    for version in file.task.dataset_versions.exclude(state=DatasetState.FAILED).order_by("number"):
        if version.state == DatasetState.FREEZING:
            raise Conflict(f"Version {version.number} of this task is being frozen; try again when it is ready.")
        if (datasets.folder_of(version) / File(file.sha256, file.content_type).path).exists():
            raise Conflict(f"{file.name} is part of the frozen version {version.number}, which never changes.")


def shown_in(file: MediaFile) -> Instance | None:
    """An instance, maybe a removed one, whose contents name the file."""
    # the databases spell letters outside of ASCII in one of these two ways
    spelled = {json.dumps(file.name), json.dumps(file.name, ensure_ascii=False)}
    wanted = Q()
    for name in spelled:
        wanted |= Q(prompt_text__contains=name) | Q(completions_text__contains=name)
    texts = {f"{field}_text": Cast(field, TextField()) for field in ("prompt", "completions")}
    rows = file.task.instances.annotate(**texts).filter(wanted).only("external_id", "prompt", "completions")
    return next((row for row in rows.iterator() if file.name in files_named([*row.prompt, *row.completions])), None)
