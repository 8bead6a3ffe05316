"""A table to replay: JSON lines with an instance's texts, recorded verdicts, and what a bought label would say.

One row: ``{"id", "group", "prompt", "a", "b", "judges": {name: {"ab" | "ba" | "one": 1 | 0 | -1, "reason"}}, "main",
"human_label": 1 | 0 | -1}``. Where several people can be asked of an instance, ``human_labels`` lists what each would
say instead, in the order in which they are bought. ``group`` is the prompt's key, ``main`` the judge to route. Verdicts
and labels are always from a's side: 1 a is better, 0 a tie, −1 b is better; ``ab`` and ``ba`` say in which order the
judge saw them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from feedback.formats.records import BadFile, BadRow, RowError
from feedback.formats.tables import read_table

ORDERS = ("ab", "ba", "one")
MOST_TOLD = 10


@dataclass(frozen=True)
class ReplayRow:
    """One instance; `judges` holds each judge's verdicts in the orders that it gave one in. `id` is as written."""

    id: str | int
    group: str
    prompt: str
    a: str
    b: str
    judges: Mapping[str, tuple[int, ...]]
    main: str
    human_label: int
    more_labels: tuple[int, ...] = ()

    @property
    def human_labels(self) -> tuple[int, ...]:
        """What each person would say who can be asked, in order."""
        return (self.human_label, *self.more_labels)


class BadTableError(ValueError):
    """The table cannot be replayed; the message names lines, fields and reasons."""


def read_rows(path: Path) -> list[ReplayRow]:
    """Every row of the table. Raises BadTableError naming the first ten bad rows, or when there is none at all."""
    rows: list[ReplayRow] = []
    errors: list[RowError] = []
    lines: dict[str | int, int] = {}
    try:
        for entry in read_table(path):
            if isinstance(entry, RowError):
                errors.append(entry)
                continue
            line, cells = entry
            try:
                row = _row(cells)
                if row.id in lines:
                    raise BadRow("id", f"{str(row.id)[:60]!r} is on line {lines[row.id]} already")
                lines[row.id] = line
                rows.append(row)
            except BadRow as error:
                errors.append(error.at(line))
    except BadFile as error:
        raise BadTableError(f"{path.name}: {error.field} {error.reason}. {error.hint}".strip()) from error
    except OSError as error:
        raise BadTableError(f"{path} cannot be read: {error.strerror}.") from error
    if errors:
        raise BadTableError(_told(path, errors))
    if not rows:
        raise BadTableError(f"{path.name} holds no rows.")
    return rows


def _told(path: Path, errors: list[RowError]) -> str:
    told = [f"{path.name}, line {one.line}, {one.field or 'row'}: {one.reason}." for one in errors[:MOST_TOLD]]
    more = len(errors) - len(told)
    return "\n".join([*told, *([f"… and {more:,} more bad rows."] if more else [])])


def _row(cells: Mapping[str, Any]) -> ReplayRow:
    judges = cells.get("judges")
    if not isinstance(judges, Mapping) or not judges:
        raise BadRow("judges", "must be an object with at least one judge's verdicts")
    said = {str(name): _verdicts(str(name), verdicts) for name, verdicts in judges.items()}
    main = _text(cells, "main")
    if main not in said:
        raise BadRow("main", f"{main[:60]!r} is none of this row's judges ({', '.join(sorted(said))[:120]})")
    name, group = _key(cells, "id"), str(_key(cells, "group"))
    shown = [_text(cells, name, empty=True) for name in ("prompt", "a", "b")]
    return ReplayRow(name, group, shown[0], shown[1], shown[2], said, main, *_people(cells))


def _people(cells: Mapping[str, Any]) -> tuple[int, tuple[int, ...]]:
    """The first label and the others."""
    if "human_labels" not in cells:
        return _side(cells, "human_label"), ()
    several = cells["human_labels"]
    if "human_label" in cells:
        raise BadRow("human_labels", "stands beside human_label; give one of the two")
    if not isinstance(several, list) or not several:
        raise BadRow("human_labels", "must be a list of at least one label")
    sides = [_side({"human_labels": one}, "human_labels") for one in several]
    return sides[0], tuple(sides[1:])


def _key(cells: Mapping[str, Any], name: str) -> str | int:
    value = cells.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else _text(cells, name)


def _text(cells: Mapping[str, Any], name: str, empty: bool = False) -> str:
    value = cells.get(name)
    if not isinstance(value, str):
        raise BadRow(name, "must be text" if name in cells else "is missing")
    if not value.strip() and not empty:
        raise BadRow(name, "is empty")
    return value


def _verdicts(judge: str, verdicts: object) -> tuple[int, ...]:
    """In the order of ORDERS; a verdict that is null is an abstention and left out."""
    if not isinstance(verdicts, Mapping):
        raise BadRow(f"judges.{judge}", 'must be an object such as {"ab": 1, "ba": 0}')
    unknown = sorted(set(verdicts) - {*ORDERS, "reason"})
    if unknown:
        raise BadRow(f"judges.{judge}.{unknown[0]}", "is not known; use ab, ba, one and reason")
    return tuple(_side(verdicts, order, f"judges.{judge}.") for order in ORDERS if verdicts.get(order) is not None)


def _side(cells: Mapping[str, Any], name: str, where: str = "") -> int:
    value = cells.get(name)
    if value is None:
        raise BadRow(where + name, "is missing")
    if isinstance(value, bool) or value not in (-1, 0, 1):
        raise BadRow(where + name, f"{str(value)[:40]!r} is not 1 (a better), 0 (a tie) or -1 (b better)")
    return int(value)
