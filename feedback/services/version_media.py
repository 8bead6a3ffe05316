"""The media files of a dataset version: which ones its rows show, and their bytes beside the data."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..exceptions import FeedbackError
from ..formats.writers import FileEntry
from ..models import MediaFile
from . import media

_CHUNK = 1024 * 1024


class MediaLost(FeedbackError):
    """The bytes of a media file are not what was uploaded; upload the file again."""

    code = "media-lost"
    status = 409


def noting_media(rows: Iterable[dict[str, Any]], seen: dict[str, str]) -> Iterator[dict[str, Any]]:
    """The rows as they are; ``seen`` learns the path of each media file that they show, by its SHA-256."""
    for row in rows:
        for one in row.get("media", ()):
            if one["path"]:
                seen[one["sha256"]] = one["path"]
        yield row


def copy_media(folder: Path, seen: dict[str, str]) -> list[FileEntry]:
    """Copy the files into a version's folder. Raises MediaLost where the bytes are gone or others."""
    if seen:
        (folder / "media").mkdir()
    return [_copied(folder, path, sha256) for sha256, path in sorted(seen.items())]


def _copied(folder: Path, path: str, sha256: str) -> FileEntry:
    digest, size = hashlib.sha256(), 0
    try:
        with media.path_of(MediaFile(sha256=sha256)).open("rb") as stored, (folder / path).open("xb") as copy:
            while chunk := stored.read(_CHUNK):
                digest.update(chunk)
                size += copy.write(chunk)
            copy.flush()
            os.fsync(copy.fileno())
    except FileNotFoundError as error:
        raise MediaLost(f"The bytes of a media file, {path}, are missing; upload the file again.") from error
    if digest.hexdigest() != sha256:
        raise MediaLost(f"The bytes of a media file, {path}, have changed on the disk; upload the file again.")
    return FileEntry(path, size, sha256)
