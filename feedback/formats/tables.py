"""Rows of JSON lines, JSON arrays, CSV and Parquet as dicts with line numbers, in constant memory."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from feedback.formats.lines import BoundedFile, read_lines
from feedback.formats.records import BadFile, BadRow, ReadOptions, RowError
from feedback.strict_json import DECODER, MAX_DEPTH, InvalidJSON, check_parsed, parse

Row = dict[str, Any]
TableKind = Literal["jsonl", "json", "csv", "parquet"]

_CLEAN = "Clean the text and import again."
_ROWS_PER_BATCH = 256
_BATCH_BYTES = 64 * 1024 * 1024
_GROUP_BYTES = 2 * 1024**3
_MAX_COLUMNS = 1000
_SPACE = b" \t\r\n"
_MARK = b"\xef\xbb\xbf"
csv.field_size_limit(8 * 1024 * 1024)  # process-wide; the default refuses completions over 128 kB


def table_kind(path: Path) -> TableKind | None:
    """The kind of table by file name (``.jsonl``, ``.json``, ``.csv``, ``.tsv``, each also ``.gz``, ``.parquet``)."""
    name = path.name.lower().removesuffix(".gz")
    for suffix, kind in _KINDS.items():
        if name.endswith(suffix):
            return kind
    return None


_KINDS: dict[str, TableKind] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}


def read_table(path: Path, options: ReadOptions | None = None) -> Iterator[tuple[int, Row] | RowError]:
    """Stream a file's rows as ``(line, row)``; a bad row becomes a :class:`RowError` and reading goes on where it can.

    Lines count from 1 (CSV: the header is line 1; Parquet and JSON arrays: row numbers). A folder is read as its
    tables in name order, as the Hub lays data sets out, with rows numbered through.
    """
    options = options or ReadOptions()
    rows = _read_folder(path, options) if path.is_dir() else _read_file(path, options)
    yield from rows if options.max_rows is None else islice(rows, options.max_rows)


def _read_file(path: Path, options: ReadOptions) -> Iterator[tuple[int, Row] | RowError]:
    kind = table_kind(path)
    if kind is None:
        return iter([_unknown_kind(path)])
    if kind == "json" and _starts_with_object(path, options):
        kind = "jsonl"  # JSON lines are often named .json
    return _READERS[kind](path, options)


def _starts_with_object(path: Path, options: ReadOptions) -> bool:
    try:
        with BoundedFile(path, options) as file:
            return file.read(64).removeprefix(_MARK).lstrip(_SPACE).startswith(b"{")
    except BadFile:
        return False  # the reader will say what is wrong


def tables_in(folder: Path) -> list[Path]:
    """The table files of a data set folder: those under ``data/`` when there is one, else in the folder, by name."""
    home = folder / "data" if (folder / "data").is_dir() else folder
    named = (path for path in home.iterdir() if path.is_file() and table_kind(path))
    skipped = {"manifest.json", "dataset_infos.json"}
    return sorted(path for path in named if path.name not in skipped)


def _read_folder(folder: Path, options: ReadOptions) -> Iterator[tuple[int, Row] | RowError]:
    tables = tables_in(folder)
    if not tables:
        yield RowError(0, "file", "the folder holds no JSONL, CSV or Parquet file")
    number = 0
    for table in tables:
        for row in _read_file(table, options):
            number += 1
            if isinstance(row, RowError):
                yield RowError(number, f"{table.name}:{row.field}", f"line {row.line}: {row.reason}", row.hint)
            else:
                yield number, row[1]


def _unknown_kind(path: Path) -> RowError:
    suffix = "".join(path.suffixes[-2:]) or "no ending"
    return RowError(0, "file", f"{suffix} is not a known kind", "Use .jsonl, .json, .csv, .tsv (or .gz) or .parquet.")


def _read_jsonl(path: Path, options: ReadOptions) -> Iterator[tuple[int, Row] | RowError]:
    for entry in read_lines(path, options):
        if isinstance(entry, RowError):
            yield entry
            continue
        number, line = entry
        if not line.strip():
            continue
        try:
            yield number, _object(parse(line, max_bytes=options.max_line_bytes))
        except InvalidJSON as error:
            hint = _CLEAN if error.path else "Write one JSON object per line, in UTF-8."
            yield RowError(number, error.path or "line", error.reason, hint)
        except BadRow as error:
            yield error.at(number)


def _object(value: Any) -> Row:
    if not isinstance(value, dict):
        raise BadRow("line", f"must be a JSON object, not {type(value).__name__}")
    return value


def _read_json(path: Path, options: ReadOptions) -> Iterator[tuple[int, Row] | RowError]:
    """Elements of one large JSON array, decoded one at a time from a buffer that holds little more than one."""
    number = 0
    try:
        with BoundedFile(path, options) as file:
            for raw in _array_elements(file, options.max_line_bytes):
                number += 1
                try:
                    yield number, _object(_readable(raw))
                except BadRow as error:
                    yield error.at(number)
    except BadRow as error:
        yield error.at(number + 1)


def _readable(element: Any) -> Any:
    if isinstance(element, BadRow):
        raise element
    return element


def _array_elements(file: BoundedFile, max_bytes: int) -> Iterator[Any]:
    """The elements; one that is JSON but must not be stored comes as a BadRow. Raises BadFile."""
    buffer = file.read(65536).removeprefix(_MARK).lstrip(_SPACE)
    if not buffer.startswith(b"["):
        raise BadFile("file", "must be a JSON array of objects", "Rename a file with one object per line to .jsonl.")
    buffer, first = buffer[1:], True
    while True:
        buffer = _at_least_one(file, buffer)
        if buffer.startswith(b"]"):
            _nothing_after(file, buffer[1:])
            return
        if not first:
            if not buffer.startswith(b","):
                raise BadFile("file", "is not JSON: a comma is missing between two elements")
            buffer = _at_least_one(file, buffer[1:])
        value, buffer = _one_element(file, buffer, max_bytes)
        first = False
        yield value


def _at_least_one(file: BoundedFile, buffer: bytes) -> bytes:
    buffer = buffer.lstrip(_SPACE)
    while not buffer:
        chunk = file.read(65536)
        if not chunk:
            raise BadFile("file", "the JSON array ends early")
        buffer = chunk.lstrip(_SPACE)
    return buffer


def _nothing_after(file: BoundedFile, buffer: bytes) -> None:
    while buffer or (buffer := file.read(65536)):
        if buffer.strip(_SPACE):
            raise BadFile("file", "is not JSON: something follows the array")
        buffer = b""


def _one_element(file: BoundedFile, buffer: bytes, max_bytes: int) -> tuple[Any, bytes]:
    """Decode one element at the start of ``buffer``, reading on (doubling) while it is incomplete."""
    while True:
        text, rest = _whole_characters(buffer)
        try:
            value, end = DECODER.raw_decode(text)
            if end < len(text) or not isinstance(value, (int, float)):  # a number could go on in the next chunk
                data = text[:end].encode()
                return _checked(value, data), text[end:].encode() + rest
        except json.JSONDecodeError as error:
            if len(buffer) > max_bytes:
                raise BadFile("element", f"is not JSON, or longer than {max_bytes:,} bytes: {error.msg}") from error
        except RecursionError as error:
            raise BadFile("element", f"nests deeper than {MAX_DEPTH} levels") from error
        except InvalidJSON as error:
            raise BadFile(error.path or "element", error.reason) from error
        chunk = file.read(max(65536, len(buffer)))
        if not chunk:
            raise BadFile("file", "the JSON array ends early, or holds an element that is not JSON")
        buffer += chunk


def _checked(value: Any, data: bytes) -> Any:
    try:
        check_parsed(value, data)
    except InvalidJSON as error:
        return BadRow(error.path or "element", error.reason, _CLEAN)
    return value


def _whole_characters(buffer: bytes) -> tuple[str, bytes]:
    """Decode UTF-8 up to the last whole character; the cut-off bytes (at most 3) come back."""
    try:
        return buffer.decode(), b""
    except UnicodeDecodeError as error:
        if len(buffer) - error.start > 3 or "unexpected end" not in error.reason:
            raise BadFile("file", "is not UTF-8") from error
        return buffer[: error.start].decode(), buffer[error.start :]


def _read_csv(path: Path, options: ReadOptions) -> Iterator[tuple[int, Row] | RowError]:
    errors: list[RowError] = []
    lines = _csv_lines(path, options, errors)
    header_line = next(lines, None)
    if header_line is None:
        yield from errors or [RowError(1, "file", "is empty")]
        return
    reader = csv.reader(_again(header_line, lines), delimiter=_delimiter(path, header_line), strict=True)
    start = 1
    try:
        header = _header(next(reader))
        start = reader.line_num + 1
        for cells in reader:
            line, start = start, reader.line_num + 1
            yield from errors
            errors.clear()
            if not cells:
                continue
            if len(cells) != len(header):
                reason = f"has {len(cells)} cells, the header has {len(header)}"
                yield RowError(line, "line", reason, "Quote cells that hold the delimiter or a line break.")
                continue
            yield line, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        yield RowError(start, "line", f"is not CSV: {error}", "Look for a quote that is never closed.")
    except BadRow as error:
        yield error.at(1)
    yield from errors


def _csv_lines(path: Path, options: ReadOptions, errors: list[RowError]) -> Iterator[str]:
    """Text lines for the csv module; what cannot be a line goes to ``errors`` and leaves an empty line behind."""
    for entry in read_lines(path, options):
        if isinstance(entry, RowError):
            errors.append(entry)
            yield "\n"
            continue
        try:
            yield entry[1].decode() + "\n"
        except UnicodeDecodeError as error:
            errors.append(RowError(entry[0], "line", f"is not UTF-8 (byte {error.start})", "Save the file as UTF-8."))
            yield "\n"


def _again(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _delimiter(path: Path, header: str) -> str:
    if path.name.lower().removesuffix(".gz").endswith(".tsv"):
        return "\t"
    return max(",;\t", key=header.count)


def _header(cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    if len(names) > _MAX_COLUMNS:
        raise BadFile("header", f"has {len(names)} columns; the limit is {_MAX_COLUMNS}")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated or "" in names:
        what = f"the column {repeated[0]!r} stands twice" if repeated and repeated[0] else "a column has no name"
        raise BadFile("header", what, "Give every column its own name.")
    return names


def _read_parquet(path: Path, options: ReadOptions) -> Iterator[tuple[int, Row] | RowError]:
    number = 0
    try:
        with pq.ParquetFile(path, thrift_string_size_limit=64 * 1024 * 1024) as file:
            _check_groups(file.metadata)
            for batch in file.iter_batches(batch_size=_ROWS_PER_BATCH):
                for row in _rows(batch):
                    number += 1
                    yield number, row
    except BadRow as error:
        yield error.at(0)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:  # the last two: dates Python cannot hold
        reason = str(error).split("\n", 1)[0][:200]
        yield RowError(number + 1, "file", f"cannot be read as Parquet: {reason}", "Write the file again.")


def _check_groups(metadata: pq.FileMetaData) -> None:
    largest = max((metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)), default=0)
    if largest > _GROUP_BYTES:
        raise BadFile("file", f"has a row group of {largest:,} bytes; the limit is {_GROUP_BYTES:,}")
    if metadata.num_columns > _MAX_COLUMNS:
        raise BadFile("file", f"has {metadata.num_columns} columns; the limit is {_MAX_COLUMNS}")


def _rows(batch: pa.RecordBatch) -> Iterator[Row]:
    if batch.nbytes <= _BATCH_BYTES:
        yield from batch.to_pylist()
        return
    for i in range(batch.num_rows):
        yield from batch.slice(i, 1).to_pylist()


_READERS = {"jsonl": _read_jsonl, "json": _read_json, "csv": _read_csv, "parquet": _read_parquet}
