"""Bytes that come in: uploads kept under FILES_DIR while they are hashed, and folders on the server."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from django.conf import settings

from ..exceptions import InvalidInput
from ..text import fault_of

MAX_FILES = 5_000
_CHUNK = 1024 * 1024
_KINDS = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")


@dataclass(frozen=True, slots=True)
class Stored:
    """A file or folder to import. ``path`` is relative to FILES_DIR for uploads, absolute on the server."""

    filename: str
    path: str
    sha256: str
    size: int


def located(path: str) -> Path:
    """Where a stored path lies."""
    return Path(settings.FILES_DIR) / path


def store_upload(chunks: Iterable[bytes], filename: str) -> Stored:
    """Keep an upload, hashed while it is written. Raises InvalidInput for an unknown kind, no bytes, or too many."""
    name = safe_name(filename)
    folder = Path("uploads") / str(uuid4())
    target = located(str(folder / name))
    target.parent.mkdir(parents=True)
    try:
        sha256, size = write_hashed(chunks, target, limit_mb=settings.MAX_UPLOAD_MB)
    except BaseException:
        shutil.rmtree(target.parent, ignore_errors=True)
        raise
    return Stored(name if fault_of(filename) else filename[-255:], str(folder / name), sha256, size)


def safe_name(filename: str) -> str:
    """A file name that is safe on any disk and keeps its ending. Raises InvalidInput for an ending no reader knows."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", os.path.basename(filename.replace("\\", "/"))).lstrip(".")
    if not name.lower().removesuffix(".gz").endswith(_KINDS):
        raise InvalidInput(errors={"file": "Choose a .jsonl, .json, .csv, .tsv (or .gz) or .parquet file."})
    return name[-100:].lstrip(".")


def write_hashed(chunks: Iterable[bytes], target: Path, *, limit_mb: int) -> tuple[str, int]:
    """Write a new file; returns its SHA-256 and size. Raises InvalidInput for no bytes, or too many."""
    digest, size, limit = hashlib.sha256(), 0, limit_mb * 1024 * 1024
    with target.open("xb") as file:
        for chunk in chunks:
            size += len(chunk)
            if size > limit:
                raise InvalidInput(errors={"file": f"The file is larger than {limit_mb} MB."})
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if not size:
        raise InvalidInput(errors={"file": "The file is empty."})
    return digest.hexdigest(), size


def discard(stored: Stored) -> None:
    """Remove an upload that no import batch names. Server folders are never touched."""
    if not Path(stored.path).is_absolute():
        shutil.rmtree(located(stored.path).parent, ignore_errors=True)


def server_source(text: str) -> Stored:
    """A file or folder below IMPORT_ROOTS, named as :func:`server_sources` lists it. Raises InvalidInput."""
    for root in settings.IMPORT_ROOTS if text and not fault_of(text) else ():
        path = Path(os.path.realpath(Path(root) / text))
        # os.path.exists, since Path.exists raises for a name that is too long for the disk
        if path != root and path.is_relative_to(root) and os.path.exists(path):
            return on_disk(path)
    raise InvalidInput(errors={"server_path": "There is no such file or folder among the import folders."})


def server_sources() -> list[str]:
    """The names directly below IMPORT_ROOTS that hold something, in order."""
    names = {entry.name for root in settings.IMPORT_ROOTS if Path(root).is_dir() for entry in Path(root).iterdir()}
    return sorted(name for name in names if not name.startswith("."))


def on_disk(path: Path) -> Stored:
    """A path of the server's operator, hashed where it lies. Raises InvalidInput for nothing readable there."""
    path = path.resolve()
    if not path.exists():
        raise InvalidInput(errors={"path": f"{path.name} does not exist."})
    sha256, size = hash_of(path)
    return Stored(path.name, str(path), sha256, size)


def hash_of(path: Path) -> tuple[str, int]:
    """SHA-256 and size in bytes. A folder's is the SHA-256 of the sorted lines ``<sha256>  <relative path>``.

    Raises InvalidInput for symbolic links and for more than 5,000 files.
    """
    if path.is_file():
        return _hash_file(path)
    lines, total = [], 0
    for file in _files(path):
        sha256, size = _hash_file(file)
        lines.append(f"{sha256}  {file.relative_to(path).as_posix()}\n")
        total += size
    return hashlib.sha256("".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest(), total


def _files(folder: Path) -> Iterator[Path]:
    count = 0
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            if (Path(parent) / name).is_symlink():
                raise InvalidInput(
                    errors={"path": f"The folder holds the symbolic link {name}; copy the file instead."}
                )
        for name in names:
            count += 1
            if count > MAX_FILES:
                raise InvalidInput(errors={"path": f"The folder holds more than {MAX_FILES:,} files."})
            yield Path(parent) / name


def _hash_file(path: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size
