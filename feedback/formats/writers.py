"""Data set folders: sharded files per split, a card and an exact manifest, written in constant memory.

A folder is complete when ``manifest.json`` is there: it is written last and lists every other file with size and
SHA-256. The same rows give the same bytes (with the same pyarrow).
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, cast

import pyarrow as pa
import pyarrow.parquet as pq

from feedback.formats.card import render_card
from feedback.formats.shapes import Shape
from feedback.formats.splits import SPLITS

FileFormat = Literal["parquet", "jsonl", "jsonl.gz"]
Row = Mapping[str, Any]

MANIFEST = "manifest.json"
_GROUP_ROWS = 2_000
_GROUP_CHARACTERS = 16 * 1024 * 1024


class BadExportRow(ValueError):
    """A row does not fit the shape; the message names the row and the column."""


@dataclass(frozen=True)
class FileEntry:
    """One file of a folder: relative ``path``, ``bytes``, ``sha256`` and, for data, ``rows`` and ``split``."""

    path: str
    bytes: int
    sha256: str
    rows: int | None = None
    split: str | None = None


@dataclass(frozen=True)
class Manifest:
    """Everything in a folder. ``sha256`` identifies the data: the hash over the data files' paths and hashes."""

    shape: str
    file_format: str
    rows: int
    splits: dict[str, int]
    files: tuple[FileEntry, ...]
    sha256: str

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "files": [asdict(entry) for entry in self.files], "version": 1}


class _Shard(Protocol):
    def write(self, rows: list[Row]) -> None: ...
    def close(self) -> None: ...


class _ParquetShard:
    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")

    def write(self, rows: list[Row]) -> None:
        self._writer.write_table(_table(rows, self._schema))

    def close(self) -> None:
        self._writer.close()


class _JsonShard:
    """JSON lines with the schema's columns in order, missing ones as null. Gzip without a time stamp."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._raw = path.open("wb")
        zipped = path.name.endswith(".gz")
        self._file = cast(BinaryIO, gzip.GzipFile("", "wb", 4, self._raw, mtime=0)) if zipped else self._raw

    def write(self, rows: list[Row]) -> None:
        for row in _table(rows, self._schema).to_pylist():
            self._file.write(json.dumps(row, ensure_ascii=False, allow_nan=False, default=_iso).encode() + b"\n")

    def close(self) -> None:
        if self._file is not self._raw:
            self._file.close()
        self._raw.close()


def _iso(value: Any) -> str:
    return str(value.isoformat())


def _table(rows: list[Row], schema: pa.Schema) -> pa.Table:
    known = set(schema.names)
    for row in rows:
        if not known.issuperset(row):
            raise BadExportRow(f"row {row.get('id')!r} has columns that the shape lacks: {sorted(set(row) - known)}")
    columns = []
    for column in schema:
        try:
            columns.append(pa.array([row.get(column.name) for row in rows], type=column.type))
        except (pa.ArrowException, TypeError, UnicodeEncodeError, OverflowError) as error:
            raise BadExportRow(f"column {column.name!r} near row {rows[0].get('id')!r}: {error}") from error
    return pa.Table.from_arrays(columns, schema=schema)


class _SplitWriter:
    """The shards of one split; named ``.part`` until their number is known."""

    def __init__(self, folder: Path, split: str, shape: Shape, file_format: FileFormat, max_rows: int) -> None:
        self._folder, self._split, self._shape = folder, split, shape
        self._format, self._max_rows = file_format, max_rows
        self._shard: _Shard | None = None
        self._buffer: list[Row] = []
        self._characters = 0
        self._counts: list[int] = []

    def add(self, row: Row) -> None:
        self._buffer.append(row)
        self._characters += _characters(row)
        if len(self._buffer) >= _GROUP_ROWS or self._characters >= _GROUP_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        while self._buffer:
            if self._shard is None or self._counts[-1] >= self._max_rows:
                self._next_shard()
            room = self._max_rows - self._counts[-1]
            taken, self._buffer = self._buffer[:room], self._buffer[room:]
            cast(_Shard, self._shard).write(taken)
            self._counts[-1] += len(taken)
        self._characters = 0

    def _next_shard(self) -> None:
        self.abort()
        path = self._part(len(self._counts))
        schema = self._shape.schema
        self._shard = _ParquetShard(path, schema) if self._format == "parquet" else _JsonShard(path, schema)
        self._counts.append(0)

    def _part(self, number: int) -> Path:
        return self._folder / f"{self._split}-{number:05d}.part.{self._format}"

    def abort(self) -> None:
        """Close the open file as it is."""
        if self._shard is not None:
            self._shard.close()
            self._shard = None

    def finish(self, *, even_if_empty: bool) -> list[tuple[Path, int]]:
        """Write what is left, name the shards, and return them with their numbers of rows."""
        self._flush()
        if even_if_empty and not self._counts:
            self._next_shard()
            cast(_Shard, self._shard).write([])
        self.abort()
        files = []
        for number, rows in enumerate(self._counts):
            name = f"{self._split}-{number:05d}-of-{len(self._counts):05d}.{self._format}"
            files.append((self._part(number).rename(self._folder / name), rows))
        return files


def _characters(value: Any) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_characters(child) for child in value.values())
    return sum(_characters(child) for child in value) if isinstance(value, (list, tuple)) else 0


def write_dataset(
    folder: Path,
    rows: Iterable[Row],
    shape: Shape,
    *,
    card: Mapping[str, Any],
    file_format: FileFormat = "parquet",
    max_rows_per_shard: int = 100_000,
) -> Manifest:
    """Write ``data/<split>-00000-of-000NN.<format>``, ``README.md`` and ``manifest.json`` into an empty ``folder``.

    Each row is a dict of the shape's columns with ``split`` in train, validation, test; missing columns are null. Row
    groups hold at most 2,000 rows or 16 M characters. ``card`` as in :func:`feedback.formats.card.render_card`.
    Every file is flushed to disk. Raises BadExportRow for a row that does not fit, FileExistsError for a used folder.
    """
    (folder / "data").mkdir(parents=True)
    writers: dict[str, _SplitWriter] = {}
    for split in SPLITS:
        writers[split] = _SplitWriter(folder / "data", split, shape, file_format, max_rows_per_shard)
    try:
        for row in rows:
            writer = writers.get(row.get("split", ""))
            if writer is None:
                raise BadExportRow(f"row {row.get('id')!r} has the split {row.get('split')!r}")
            writer.add(row)
        entries = _finish(folder, writers)
    finally:
        for writer in writers.values():
            writer.abort()
    splits: dict[str, int] = {}
    for entry in entries:
        splits[str(entry.split)] = splits.get(str(entry.split), 0) + (entry.rows or 0)
    identity = sha256("".join(f"{entry.sha256}  {entry.path}\n" for entry in entries).encode()).hexdigest()
    text = render_card(card, shape=shape, file_format=file_format, splits=splits, identity=identity)
    (folder / "README.md").write_text(text, encoding="utf-8")
    entries.append(_entry(folder, folder / "README.md"))
    manifest = Manifest(shape.name, file_format, sum(splits.values()), splits, tuple(entries), identity)
    (folder / MANIFEST).write_text(json.dumps(manifest.to_json(), indent=2) + "\n", encoding="utf-8")
    _flush_to_disk(folder / MANIFEST)
    return manifest


def _finish(folder: Path, writers: Mapping[str, _SplitWriter]) -> list[FileEntry]:
    """Entries of all data files, by split; ``train`` gets an empty file when no split has one."""
    files = {split: writers[split].finish(even_if_empty=False) for split in SPLITS}
    if not any(files.values()):
        files["train"] = writers["train"].finish(even_if_empty=True)
    return [_entry(folder, path, rows=rows, split=split) for split in SPLITS for path, rows in files[split]]


def _entry(folder: Path, path: Path, *, rows: int | None = None, split: str | None = None) -> FileEntry:
    _flush_to_disk(path)
    name = path.relative_to(folder).as_posix()
    return FileEntry(name, path.stat().st_size, file_sha256(path), rows, split)


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes as 64 hex digits."""
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(1024 * 1024):
            digest.update(chunk)
    return digest.hexdigest()


def verify_folder(folder: Path) -> list[str]:
    """What differs between a folder and its manifest, as sentences; empty when every file is there and unchanged.

    Raises FileNotFoundError without a manifest.
    """
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    listed = {entry["path"]: entry for entry in manifest["files"]}
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    problems = [f"{name} is missing" for name in sorted(listed.keys() - present)]
    problems += [f"{name} is not in the manifest" for name in sorted(present - listed.keys())]
    for name in sorted(listed.keys() & present):
        if file_sha256(folder / name) != listed[name]["sha256"]:
            problems.append(f"{name} has changed")
    return problems
