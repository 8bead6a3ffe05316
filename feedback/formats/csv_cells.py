"""CSV for spreadsheets: a cell must never become a formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

# what Excel, LibreOffice and Sheets take for the start of a formula, full-width forms included
_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def neutral_cell(value: Any) -> Any:
    """``value`` for a spreadsheet: text that could start a formula gets a leading apostrophe; numbers stay numbers.

    >>> neutral_cell("=1+1"), neutral_cell(" =1"), neutral_cell(-3), neutral_cell("fine")
    ("'=1+1", "' =1", -3, 'fine')
    """
    if isinstance(value, str) and (value.startswith(_STARTS) or value.lstrip().startswith(_STARTS)):
        return f"'{value}"
    return value


def csv_lines(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> Iterator[str]:
    """The header and one CSV line per row (CRLF, all text quoted), with neutral cells; ``None`` becomes empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow([neutral_cell(column) for column in columns])
    yield _taken(buffer)
    for row in rows:
        cells = [row.get(column) for column in columns]
        writer.writerow(["" if cell is None else neutral_cell(cell) for cell in cells])
        yield _taken(buffer)


def _taken(buffer: io.StringIO) -> str:
    text = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return text
