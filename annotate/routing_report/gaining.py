"""Where people gain on recorded sets: how much more often a person names the truth than the judge, by tag."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from routing.features.table import fit_bins, tag_matrix, tag_names
from routing.features.wording import words_of
from routing.replay.pool import ReplayPool

from .recorded import RecordedSet
from .replaying import Interval, over_prompts, rightness

LEAST_TAGGED, SHOWN = 30, 6
# The paper's claim: middling similarity gains most. Always shown, whatever its place.
CLAIMED = ("cosine_similarity", "rouge_l")


@dataclass(frozen=True)
class GainLine:
    """People's advantage over the judge among the instances with a tag, in shares, with its 95% interval."""

    data: str
    judge: str
    tag: str
    instances: int
    gain: Interval

    def as_row(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def gain_lines(known: RecordedSet, pool: ReplayPool, judge: str, draws: int) -> list[GainLine]:
    """The tags where people gain most and least, and those of which the paper says so."""
    table = pool.features.table
    bins = fit_bins(table)
    tags, names = tag_matrix(table, bins), tag_names(bins, table.names)
    prompts = np.unique([row.group for row in known.rows], return_inverse=True)[1]
    gain, count = np.zeros(pool.size), np.zeros(pool.size)
    for draw in range(draws):
        labels, truth = known.draw(draw)
        decided = truth != 0
        human, machine = rightness((np.array(labels) + 1) / 2, truth), rightness(pool.judge_p, truth)
        gain += np.where(decided, human - machine, 0.0)
        count += decided
    lines = []
    for column, name in enumerate(names):
        carried = (tags[:, column] == 1) & (count > 0)
        if LEAST_TAGGED <= carried.sum() < pool.size:
            shared = over_prompts(gain * carried, count * carried, prompts)
            lines.append(GainLine(known.name, judge, words_of(name), int(carried.sum()), shared))
    ranked = sorted(lines, key=lambda one: -one.gain.value)
    claimed = {words_of(f"{name}={level}") for name in CLAIMED for level in ("low", "middle", "high")}
    return [one for place, one in enumerate(ranked) if place < SHOWN or one.tag in claimed or place >= len(ranked) - 2]
