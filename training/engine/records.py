"""A group: one prompt, its completions, and what was said of them. And the rows of the files that they come from."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.engine.errors import RunError

Message = dict[str, str]
Text = str | tuple[Message, ...]

_ROLES = {"system", "user", "assistant", "tool", "developer"}


@dataclass(frozen=True, slots=True)
class Preference:
    """An edge of a group: completion `left` against completion `right`.

    `probability` is P(left is better); `margin` is how far apart their rewards should be at least (same unit as the
    reward, >= 0); `weight` multiplies the loss; `gap` is how far apart they were said to be (>= 0, the data's unit).
    """

    left: int
    right: int
    weight: float = 1.0
    margin: float = 0.0
    probability: float = 1.0
    gap: float = 0.0


@dataclass(frozen=True, slots=True)
class Mark:
    """A span of an error type: code points `start` to `end` of the completion's text."""

    start: int
    end: int
    type: str


@dataclass(frozen=True, slots=True)
class Label:
    """What was said of one completion.

    `rank` is its place from 1 (equal for a tie, 0 for none); `gain` in [0, 1] is how good it is (1 the best; of an
    unpaired completion 1 for good and 0 for bad); `weight` multiplies the loss; `attributes` are its ratings by scale,
    in [0, 1]; `values` the same by the run's list of attributes, NaN for one that was not rated; `marks` its marked
    spans, None where nobody looked for any.
    """

    rank: int = 0
    gain: float = 0.0
    weight: float = 1.0
    attributes: tuple[tuple[str, float], ...] = ()
    values: tuple[float, ...] = ()
    marks: tuple[Mark, ...] | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """One prompt, its completions, the preferences between them and what was said of each (nothing where empty).

    `unusable` says why the row has nothing to learn from, if so.
    """

    id: str
    prompt_id: str
    source: str
    prompt: Text
    completions: tuple[Text, ...]
    preferences: tuple[Preference, ...]
    labels: tuple[Label, ...] = ()
    unusable: str = ""


def file_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """`(place, decoded row)` of each row of a JSONL or Parquet file; a line that is no JSON gives None."""
    if path.suffix.lower() == ".parquet":
        yield from _parquet_rows(path)
        return
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield f"{path.name} line {number}", _parse(line)


def _parse(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
        return None  # reported with its place by its reader


def _parquet_rows(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(path)
        number = 0
        for batch in table.iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                number += 1
                yield f"{path.name} row {number}", row
    except pyarrow.ArrowException as error:
        raise RunError(f"{path.name} is not a readable Parquet file: {error}.") from error


def text_of(row: dict[str, Any], field: str) -> Text:
    """The text or chat messages of a field. Raises ValueError where it is neither."""
    value = row.get(field)
    if isinstance(value, str):
        _encodable(value, field)
        return value
    if isinstance(value, list) and value:
        return tuple(_message(message, field) for message in value)
    raise ValueError(f"{field} is neither text nor a list of messages")


def _message(message: Any, field: str) -> Message:
    if not isinstance(message, dict) or message.get("role") not in _ROLES:
        raise ValueError(f"{field} has a message without a known role")
    content = message.get("content")
    if not isinstance(content, str):
        raise ValueError(f"{field} has a message without text content")
    _encodable(content, field)
    return {"role": str(message["role"]), "content": content}


def _encodable(value: str, field: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{field} has a lone surrogate") from None


def continued(prompt: Text, line: str) -> Text:
    """A prompt with a line more, in its last message."""
    if isinstance(prompt, str):
        return f"{prompt}\n\n{line}"
    return (*prompt[:-1], prompt[-1] | {"content": f"{prompt[-1]['content']}\n\n{line}"})


def number_of(row: dict[str, Any], field: str, low: float = -math.inf, high: float = math.inf) -> float | None:
    """The number of a field, None where it has none. Raises ValueError for what is no number of the range."""
    value = row.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{field} is not a number")
    if not low <= value <= high:
        raise ValueError(f"{field} is outside its range")
    return float(value)
