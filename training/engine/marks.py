"""What is known of a row beside its texts, for figures by slice."""

from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from training.engine.records import file_rows

Marks = Mapping[str, tuple[str, ...]]
NAMES: Mapping[str, tuple[str, ...]] = {
    "language": ("language", "lang"),
    "tag": ("tags", "tag", "category"),
    "subset": ("subset",),
}
"""Each mark with the columns that it is read from, the first that has a value."""
_LONGEST, _MOST = 80, 20


def marks_of(values: Mapping[str, Any]) -> Marks:
    """The marks among named values: texts, or lists of texts of which the first 20 count."""
    found = {}
    for name, columns in NAMES.items():
        texts = next((texts for column in columns if (texts := _texts(values.get(column)))), ())
        if texts:
            found[name] = texts
    return found


def _texts(value: Any) -> tuple[str, ...]:
    several = value if isinstance(value, list | tuple) else [value]
    return tuple(one.strip()[:_LONGEST] for one in several[:_MOST] if isinstance(one, str) and one.strip())


def read_marks(path: Path, wanted: Container[str]) -> dict[str, Marks]:
    """The marks of each wanted row of a JSONL or Parquet file that has any, by the row's id."""
    return {
        name: marks
        for place, row in file_rows(path)
        if isinstance(row, dict) and (name := str(row.get("id") or place)) in wanted and (marks := marks_of(row))
    }
