"""Completions in segments, each with the error types that were marked in it."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from training.engine.records import Mark

Style = Literal["sentence", "clause"]

_BREAKS: dict[Style, re.Pattern[str]] = {
    "sentence": re.compile(r"(?<=[.!?。！？])\s+|\s*\n\s*|(?<=[。！？])"),
    "clause": re.compile(r"(?<=[.!?,;:。！？，；：])\s+|\s*\n\s*|(?<=[。！？，；：])"),
}


class Segment(NamedTuple):
    """The last token of a segment, counted in its completion, and for each error type 1 where one was marked in it, 0
    where none was, NaN where nobody looked."""

    token: int
    labels: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Segmenting:
    """How completions are cut, and the error types by their places in `Segment.labels`."""

    style: Style
    types: tuple[str, ...]


def segmenting_of(config: Any) -> Segmenting | None:
    """How a model's `config.json` says that it reads completions; None for one that reads them whole."""
    said = getattr(config, "segment_rewards", None)
    return Segmenting(said["segment"], tuple(said["types"])) if said else None


def pieces(text: str, style: Style) -> list[tuple[int, int]]:
    """`(start, end)` in code points of each segment that is not blank."""
    found, start = [], 0
    for gap in (*_BREAKS[style].finditer(text), None):
        end, following = (len(text), len(text)) if gap is None else gap.span()
        if text[start:end].strip():
            found.append((start, end))
        start = following
    return found


def segments_of(
    text: str,
    offsets: Sequence[tuple[int, int]],
    marks: Sequence[Mark] | None,
    segmenting: Segmenting,
) -> tuple[Segment, ...]:
    """The segments of a text whose tokens stand at `offsets` (in code points). Two that end in one token are one."""
    ends: dict[int, tuple[float, ...]] = {}
    for start, end in pieces(text, segmenting.style):
        inside = [number for number, (begin, stop) in enumerate(offsets) if begin < end and stop > start]
        if inside:
            labels = _labels(start, end, marks, segmenting.types)
            before = ends.get(inside[-1])
            ends[inside[-1]] = labels if before is None else tuple(map(max, before, labels))
    return tuple(Segment(token, labels) for token, labels in sorted(ends.items()))


def _labels(start: int, end: int, marks: Sequence[Mark] | None, types: Sequence[str]) -> tuple[float, ...]:
    if marks is None:
        return (math.nan,) * len(types)
    marked = {mark.type for mark in marks if mark.start < end and mark.end > start}
    return tuple(float(kind in marked) for kind in types)
