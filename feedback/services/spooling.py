"""Checked rows kept aside as JSON lines between reading a file and storing it, so that memory stays constant."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import IO, Any, Literal

from ..formats.records import ImportedInstance
from .recorded import Checked, Said

_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode


def spool(file: IO[bytes], entries: Iterable[Checked]) -> None:
    """Append rows, one line each."""
    file.writelines(_ENCODE(_plain(entry)).encode() + b"\n" for entry in entries)


def unspool(file: IO[bytes], chunk: int) -> Iterator[list[Checked]]:
    """The rows from the start of the file, in lists of ``chunk``."""
    file.seek(0)
    while lines := list(islice(file, chunk)):
        yield [_checked(json.loads(line)) for line in lines]


def _plain(entry: Checked) -> list[Any]:
    one = entry.instance
    said = [
        (each.annotator, each.source, each.answers, each.details, each.order, each.at and each.at.isoformat())
        for each in entry.said
    ]
    return [one.external_id, one.prompt, one.completions, one.meta, one.source, one.line, said, entry.abstained]


def _checked(row: list[Any]) -> Checked:
    external_id, prompt, completions, meta, source, line, said, abstained = row
    instance = ImportedInstance(external_id, prompt, completions, meta, source, line=line)
    return Checked(instance, [_said(*each) for each in said], abstained)


def _said(
    annotator: str,
    source: Literal["human", "judge"],
    answers: dict[str, Any],
    details: dict[str, Any],
    order: list[int],
    at: str | None,
) -> Said:
    return Said(annotator, source, answers, details, order, datetime.fromisoformat(at) if at else None)
