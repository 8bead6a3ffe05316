"""Rows of a data file → groups: one prompt, its completions, and what was preferred over what."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.engine.errors import RunError
from training.engine.files import sha256_json

Message = dict[str, str]
Text = str | tuple[Message, ...]

_ROLES = {"system", "user", "assistant", "tool", "developer"}
_SHOWN_ERRORS = 20


@dataclass(frozen=True, slots=True)
class Preference:
    """An edge of a group: completion `left` against completion `right`.

    `probability` is P(left is better); `margin` is how far apart their rewards should be at least (same unit as the
    reward, >= 0); `weight` multiplies the loss.
    """

    left: int
    right: int
    weight: float = 1.0
    margin: float = 0.0
    probability: float = 1.0


@dataclass(frozen=True, slots=True)
class Group:
    """One prompt, its completions and the preferences between them."""

    id: str
    prompt_id: str
    source: str
    prompt: Text
    completions: tuple[Text, ...]
    preferences: tuple[Preference, ...]


def read_groups(paths: Sequence[str], *, margin_scale: float = 0.0) -> list[Group]:
    """Groups of all rows of the files, in order.

    A row's margin is its `margin`, or else `margin_scale` × |strength|. P(chosen better) is its `soft_label`, or
    else 1/2 where the strength is 0 (a tie), else 1.
    Raises RunError naming the rows that cannot be read.
    """
    groups: list[Group] = []
    faults: list[tuple[str, str]] = []
    for path in paths:
        for place, row in _rows(Path(path)):
            try:
                groups.append(_group(row, place, margin_scale))
            except ValueError as error:
                faults.append((place, str(error)))
    if faults:
        first = "; ".join(f"{place}: {reason}" for place, reason in faults[:3])
        raise RunError(f"{len(faults)} rows cannot be read: {first}.", [place for place, _ in faults[:_SHOWN_ERRORS]])
    return groups


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    if path.suffix == ".parquet":
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
        return None  # reported with its place by _group


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


def _group(row: Any, place: str, margin_scale: float) -> Group:
    if not isinstance(row, dict):
        raise ValueError("is not a JSON object")
    prompt = _text(row, "prompt")
    strength = _number(row, "strength")
    soft = _number(row, "soft_label", low=0, high=1)
    margin = _number(row, "margin", low=0)
    weight = _number(row, "weight", low=0)
    preference = Preference(
        left=0,
        right=1,
        weight=1.0 if weight is None else weight,
        margin=margin_scale * abs(strength or 0.0) if margin is None else margin,
        probability=soft if soft is not None else (0.5 if strength == 0 else 1.0),
    )
    return Group(
        id=str(row.get("id") or place),
        prompt_id=str(row.get("prompt_id") or sha256_json(prompt)),
        source=str(row.get("source") or "unknown"),
        prompt=prompt,
        completions=(_text(row, "chosen"), _text(row, "rejected")),
        preferences=(preference,),
    )


def _text(row: dict[str, Any], field: str) -> Text:
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


def _number(row: dict[str, Any], field: str, low: float = -math.inf, high: float = math.inf) -> float | None:
    value = row.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{field} is not a number")
    if not low <= value <= high:
        raise ValueError(f"{field} is outside its range")
    return float(value)
