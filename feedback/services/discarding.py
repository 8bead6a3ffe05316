"""Deleting a media file or putting other bytes in its place, while nothing shows it and no version holds it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from django.db import transaction
from django.db.models import Q, TextField
from django.db.models.functions import Cast

from ..content import files_named
from ..exceptions import Conflict, NotFound
from ..formats.media_column import File
from ..models import AuditEvent, DatasetState, Instance, MediaFile, User
from . import datasets, media


def delete_media(file: MediaFile, *, actor: User) -> None:
    """Remove the file and its bytes.

    Raises Conflict when an instance shows it or a frozen version holds it, NotFound when it is gone already.
    """
    with _let_go(file) as row:
        row.delete()
        AuditEvent.write("media.delete", actor=actor, project=row.task.project, subject=row.name)


def replace_media(file: MediaFile, chunks: Iterable[bytes], *, actor: User) -> MediaFile:
    """Other bytes under the same name.

    Raises InvalidInput for bytes that are no media file, Conflict and NotFound as deleting.
    """
    sent = MediaFile(task=file.task, name=file.name)
    with media.staged_as(sent, chunks) as put, _let_go(file) as row:
        row.sha256, row.size, row.kind, row.content_type = sent.sha256, sent.size, sent.kind, sent.content_type
        row.save(update_fields=["sha256", "size", "kind", "content_type"])
        AuditEvent.write("media.replace", actor=actor, project=row.task.project, subject=row.name)
        put()
    return row


@contextmanager
def _let_go(file: MediaFile) -> Iterator[MediaFile]:
    """The file as it is now, in a transaction in which nothing needs it and no import brings in what does; then its
    bytes go. An import is waited for before the files are held, so that uploads go on meanwhile."""
    with ExitStack() as held:
        with transaction.atomic():
            row = _locked(file)
            _refuse_needed(row)
            before = row.sha256
            held.enter_context(media.files_held())
            yield row
        media.forget_bytes(before)


def _locked(file: MediaFile) -> MediaFile:
    rows = MediaFile.objects.select_for_update(no_key=True, of=("self", "task")).select_related("task__project")
    found = rows.filter(pk=file.pk).first()
    if found is None:
        raise NotFound(f"{file.name} was deleted in the meantime.")
    return found


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
