"""Rows that rate completions on several scales."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from training.engine.readers.groups import Row, group_of, is_rating
from training.engine.records import Group, Label, Text, continued, text_of


def attributed(row: Row, place: str, margin_scale: float) -> Group:
    """One rated completion with its value on each scale, from 0 (the lowest) to 1; `together` joins those of a
    prompt."""
    del margin_scale
    ratings = row.get("ratings") or []
    if not isinstance(ratings, list) or any(not _is_scaled(one) for one in ratings):
        raise ValueError("ratings are no list of scale, value, lowest and highest value")
    if row.get("completion") is None:
        return group_of(row, place, (), (), (), unusable="rates the instance and no completion")
    values = tuple((str(one["scale"]), (one["value"] - one["low"]) / (one["high"] - one["low"])) for one in ratings)
    unusable = "" if values else "has no rating"
    return group_of(row, place, (text_of(row, "completion"),), (), (Label(attributes=values),), unusable)


def _is_scaled(one: Any) -> bool:
    return is_rating(one) and "low" in one and one["low"] < one["high"] and one["low"] <= one["value"] <= one["high"]


def together(rated: Sequence[Group]) -> list[Group]:
    """The rated completions of each prompt as one group: equal texts once, with the mean of each attribute."""
    found: dict[str, list[Group]] = {}
    for one in rated:
        if not one.unusable:
            found.setdefault(one.prompt_id, []).append(one)
    groups = []
    for prompt_id, members in found.items():
        told: dict[Text, dict[str, list[float]]] = {}
        for one in members:
            of_text = told.setdefault(one.completions[0], {})
            for name, value in one.labels[0].attributes:
                of_text.setdefault(name, []).append(value)
        labels = tuple(
            Label(attributes=tuple((name, sum(values) / len(values)) for name, values in sorted(of_text.items())))
            for of_text in told.values()
        )
        groups.append(replace(members[0], id=prompt_id, completions=tuple(told), labels=labels))
    return [*groups, *(one for one in rated if one.unusable)]


def valued(groups: Sequence[Group], names: Sequence[str]) -> list[Group]:
    """The groups with their attributes as `Label.values`, by the list of names; others than those are left out."""
    return [
        replace(group, labels=tuple(_valued(label, names) for label in group.labels))
        if any(label.attributes for label in group.labels)
        else group
        for group in groups
    ]


def _valued(label: Label, names: Sequence[str]) -> Label:
    told = dict(label.attributes)
    return replace(label, values=tuple(told.get(name, math.nan) for name in names))


def directed(group: Group, directions: int) -> list[Group]:
    """For each of some directions: the completion that reaches furthest in it, after a line that says the direction.

    Completions that lack one of the prompt's attributes are left out: they reach no known way.
    """
    if group.unusable:
        return [group]
    names = sorted({name for label in group.labels for name, _ in label.attributes})
    whole = [
        (text, dict(label.attributes))
        for text, label in zip(group.completions, group.labels, strict=True)
        if len(label.attributes) == len(names)
    ]
    if not whole:
        return [replace(group, unusable="no completion is rated on all scales of its prompt")]
    found = []
    for number, direction in enumerate(drawn_directions(group.prompt_id, len(names), directions)):
        reach = [sum(part * values[name] for part, name in zip(direction, names, strict=True)) for _, values in whole]
        best = whole[max(range(len(whole)), key=reach.__getitem__)][0]
        found.append(
            replace(
                group,
                id=f"{group.id}-{number}",
                prompt=continued(group.prompt, direction_line(dict(zip(names, direction, strict=True)))),
                completions=(best,),
                labels=(Label(gain=1.0),),
            )
        )
    return found


def drawn_directions(prompt_id: str, attributes: int, count: int) -> list[tuple[float, ...]]:
    """`count` unit vectors of `attributes` parts >= 0, uniform on that part of the sphere; by the prompt alone."""
    seed = int.from_bytes(hashlib.sha256(prompt_id.encode()).digest()[:8], "big")
    drawn = np.abs(np.random.default_rng(seed).normal(size=(count, attributes)))
    return [tuple(float(part) for part in one) for one in drawn / np.linalg.norm(drawn, axis=1, keepdims=True)]


def direction_line(direction: Mapping[str, float]) -> str:
    """How a direction stands in a prompt: `[helpful: 0.80, short: 0.60]`. Raises ValueError unless it has length 1."""
    if not math.isclose(math.hypot(*direction.values()), 1, abs_tol=0.01):
        raise ValueError("a direction must have length 1: the squares of its parts sum to 1")
    return f"[{', '.join(f'{name}: {part:.2f}' for name, part in direction.items())}]"
