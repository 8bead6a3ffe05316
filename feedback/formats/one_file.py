"""What the readers of sets that lie in one file share: finding the file, and reading it row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from feedback.formats.mapping import preview
from feedback.formats.records import BadRow, ImportedInstance, ReadOptions, RowError
from feedback.formats.tables import Row, read_table, table_kind, tables_in


def file_with(path: Path, columns: set[str]) -> Path | None:
    """The file of JSON lines at ``path``, or the first table of the folder there, that has these columns."""
    files = tables_in(path) if path.is_dir() else [path] if path.is_file() and table_kind(path) == "jsonl" else []
    return next((file for file in files if columns <= set(preview(file, 1)[0])), None)


def instances_of(
    file: Path, options: ReadOptions, make: Callable[[Row, int], Iterable[ImportedInstance]]
) -> Iterator[ImportedInstance | RowError]:
    """Stream what ``make`` makes of each row and its line; where it raises BadRow, the row's error."""
    for entry in read_table(file, options):
        if isinstance(entry, RowError):
            yield entry
            continue
        line, row = entry
        try:
            yield from make(row, line)
        except BadRow as error:
            yield error.at(line)
