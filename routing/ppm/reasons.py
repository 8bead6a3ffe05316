"""Why an instance went where it went: what spoke for a side, and which of its tags stand out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routing.ppm.signals import Signals

Floats = NDArray[np.float64]

KINDS = ("format", "wording")
NEARBY = "_nearby"
MOST = 3
# Labels that a tag's mean is pulled towards the pool's by, so that a rare tag does not stand out by chance.
TAG_STRENGTH = 10.0
INTERVAL_Z = 1.645


@dataclass(frozen=True)
class TagEffect:
    """Mean of a value over the instances with a tag, its 90% interval, and how far it stands from the whole pool's."""

    tag: str
    count: int
    mean: float
    low: float
    high: float
    effect: float


def tag_effects(
    values: Floats, lower: Floats, upper: Floats, tags: NDArray[np.uint8], names: Sequence[str]
) -> list[TagEffect]:
    """Of values [N] with bounds [N] by tags [N, F]; tags that nobody or everybody carries are left out.

    The interval joins the values' own (their bounds' half widths are common to a tag: they rest on one fit) with the
    sampling of instances.
    """
    overall, half = float(values.mean()), (upper - lower) / 2.0
    found = []
    for column, name in enumerate(names):
        carried = tags[:, column] > 0
        count = int(carried.sum())
        if 0 < count < len(values):
            mean = float(values[carried].mean())
            spread = INTERVAL_Z * float(values[carried].std()) / np.sqrt(count)
            wide = float(np.hypot(spread, half[carried].mean()))
            effect = (mean - overall) * count / (count + TAG_STRENGTH)
            found.append(TagEffect(name, count, mean, mean - wide, mean + wide, effect))
    return found


def top_tags(
    effects: Sequence[TagEffect], tags: NDArray[np.uint8], names: Sequence[str]
) -> list[list[tuple[str, float]]]:
    """Of each instance, the tags whose effects are the largest: (name, effect), at most three."""
    size = np.zeros(len(names))
    place = {name: column for column, name in enumerate(names)}
    for effect in effects:
        size[place[effect.tag]] = effect.effect
    strength = np.abs(size)[None, :] * (tags > 0)
    top = np.argsort(-strength, axis=1, kind="stable")[:, :MOST]
    return [
        [(names[column], float(size[column])) for column in row if strength[index, column] > 0]
        for index, row in enumerate(top)
    ]


def contributions(signals: Signals, beta: Floats) -> tuple[tuple[str, ...], Floats]:
    """(kinds of signals, what each kind adds to the logit of "a is better" [N, kinds]); formats and wordings are one
    kind each, so are a judge's verdicts on the pair and on its neighbours."""
    kinds = [_kind(name) for name in signals.names]
    names = tuple(dict.fromkeys(kinds))
    parts = signals.x * beta
    columns = [parts[:, [n for n, kind in enumerate(kinds) if kind == name]].sum(axis=1) for name in names]
    return names, np.column_stack(columns)


def _kind(signal: str) -> str:
    for kind in KINDS:
        if signal.startswith(f"{kind}_"):
            return kind
    return signal.removesuffix(NEARBY)
