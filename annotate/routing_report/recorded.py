"""A recorded set as tables to replay: one person's label can be bought, the other people are the truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from feedback.exceptions import InvalidInput
from feedback.formats.records import ImportedInstance, ReadOptions, RecordedAnnotation, RowError
from feedback.formats.sources import detect_source
from feedback.formats.splits import prompt_hash
from feedback.questions import strength
from routing.replay.table import ReplayRow

STEPS = 5


@dataclass(frozen=True)
class RecordedSet:
    """The instances that a person and the judge annotated. `people` [N]: everybody's sides, 1 a, 0 tie, −1 b."""

    name: str
    rows: tuple[ReplayRow, ...]
    people: tuple[tuple[int, ...], ...]

    @property
    def adjudicated(self) -> bool:
        """Whether every instance has one label only, which then is both the truth and what is bought."""
        return all(len(sides) == 1 for sides in self.people)

    def draw(self, seed: int) -> tuple[list[int], NDArray[np.int64]]:
        """(what a bought label says [N], the truth [N]): one person each, drawn, and the side that more than half of
        the others name; 0 where they name none.
        """
        if self.adjudicated:
            sides = [sides[0] for sides in self.people]
            return sides, np.array(sides, dtype=np.int64)
        rng = Random(seed)
        asked = [rng.randrange(len(sides)) for sides in self.people]
        labels = [sides[n] for sides, n in zip(self.people, asked, strict=True)]
        others = [_decisive(sides[:n] + sides[n + 1 :]) for sides, n in zip(self.people, asked, strict=True)]
        return labels, np.array(others, dtype=np.int64)


def _decisive(sides: tuple[int, ...]) -> int:
    return next((side for side in (1, -1) if 2 * sides.count(side) > len(sides)), 0)


def recorded_set(path: Path, judge: str, *, panel: bool) -> RecordedSet:
    """Read a set. Without `panel` only the routed judge's verdicts are kept. Raises InvalidInput where it has none."""
    rows, people = [], []
    for instance in _instances(path):
        said = [one for one in instance.annotations if one.source == "human"]
        sides = tuple(side for one in said if (side := side_of(one)) is not None)
        judges = _judges(instance, None if panel else judge)
        if len(instance.completions) == 2 and sides and judge in judges:
            texts = [str(completion["content"]) for completion in instance.completions]
            prompt = "\n\n".join(str(message["content"]) for message in instance.prompt)
            group = prompt_hash(instance.prompt)
            rows.append(ReplayRow(instance.external_id, group, prompt, texts[0], texts[1], judges, judge, sides[0]))
            people.append(sides)
    if not rows:
        raise InvalidInput(f"{path.name} has no instance that both a person and the judge {judge!r} annotated.")
    alone = max(len(sides) for sides in people) > 1
    kept = [n for n, sides in enumerate(people) if not alone or len(sides) > 1]
    return RecordedSet(path.resolve().name, tuple(rows[n] for n in kept), tuple(people[n] for n in kept))


def _instances(path: Path) -> Iterator[ImportedInstance]:
    source = detect_source(path)
    if source is None:
        raise InvalidInput(f"{path} is no set that can be read; see the formats of the import page.")
    for entry in source.read(path, ReadOptions(humans_only=True)):
        if isinstance(entry, RowError):
            raise InvalidInput(f"{path.name}, line {entry.line}: {entry.reason}.")
        yield entry


def side_of(annotation: RecordedAnnotation) -> int | None:
    """1, 0 or −1 from a's side; ``None`` for an abstention."""
    for answer in annotation.answers.values():
        signed = strength(str(answer.get("value", "")), STEPS)
        if signed is not None:
            return int(np.sign(-signed))
    return None


def _judges(instance: ImportedInstance, only: str | None) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for one in instance.annotations:
        side = side_of(one) if one.source == "judge" and only in (None, one.annotator) else None
        if side is not None:
            found[one.annotator] = (*found.get(one.annotator, ()), side)
    return found
