"""How annotators order and rate completions, row by row: rankings and ratings. Nothing is aggregated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from feedback.formats.shapes import MESSAGES, Shape
from feedback.questions import RatingQuestion, Scale

_HEAD = [("id", pa.string()), ("instance_id", pa.string()), ("prompt_id", pa.string()), ("asked", pa.string())]
_TAIL = [("source", pa.string()), ("annotator", pa.string()), ("split", pa.string())]
_RATING = pa.struct(
    [
        ("scale", pa.string()),
        ("value", pa.int32()),
        ("low", pa.int32()),
        ("high", pa.int32()),
        ("weight", pa.float64()),
    ]
)

RANKED = Shape(
    "ranked",
    pa.schema(
        [
            *_HEAD,
            ("prompt", MESSAGES),
            ("completions", pa.list_(pa.string())),
            ("models", pa.list_(pa.string())),
            ("ranks", pa.list_(pa.int32())),
            ("unacceptable", pa.list_(pa.bool_())),
            *_TAIL,
        ]
    ),
    "Rankings, one row per annotation: the rank of each completion from 1 (the best), equal for a tie, null for "
    "one that was not ranked.",
)
RATINGS = Shape(
    "ratings",
    pa.schema(
        [
            *_HEAD,
            ("prompt", MESSAGES),
            ("completion", pa.string()),
            ("model", pa.string()),
            ("ratings", pa.list_(_RATING)),
            ("score", pa.float64()),
            *_TAIL,
        ]
    ),
    "Ratings, one row per annotation and completion that it rates (or one for the instance, without a completion). "
    "score is the weighted mean of the values, each mapped from its scale to 0 … 1.",
)


def ranked(answer: Mapping[str, Any], n_completions: int) -> dict[str, Any]:
    """The columns of one ranking: ``ranks`` by completion, and whether each was called unacceptable."""
    rank = {index: place for place, group in enumerate(answer["groups"], start=1) for index in group}
    bad = set(answer.get("unacceptable", []))
    return {
        "ranks": [rank.get(index) for index in range(n_completions)],
        "unacceptable": [index in bad for index in range(n_completions)],
    }


def rated(
    question: RatingQuestion, answer: Mapping[str, Any], n_completions: int
) -> list[tuple[int | None, dict[str, Any]]]:
    """``(completion index, columns)`` of each completion with a value; the index is ``None`` for the instance."""
    found: list[tuple[int | None, dict[str, Any]]] = []
    for place in range(n_completions if question.per == "completion" else 1):
        values = [(scale, _value(answer["ratings"].get(scale.name), place)) for scale in question.scales]
        told = [(scale, value) for scale, value in values if value is not None]
        if told:
            index = place if question.per == "completion" else None
            found.append((index, {"ratings": [_rating(*one) for one in told], "score": score(told)}))
    return found


def _value(values: Sequence[int | None] | None, place: int) -> int | None:
    return values[place] if values is not None and place < len(values) else None


def _rating(scale: Scale, value: int) -> dict[str, Any]:
    return {"scale": scale.name, "value": value, "low": scale.low, "high": scale.high, "weight": scale.weight}


def score(told: Sequence[tuple[Scale, int]]) -> float | None:
    """Σ w (v − low) / (high − low) over Σ w: 0 the worst, 1 the best; ``None`` when all weights are 0."""
    weights = sum(scale.weight for scale, _ in told)
    if not weights:
        return None
    return sum(scale.weight * (value - scale.low) / (scale.high - scale.low) for scale, value in told) / weights
