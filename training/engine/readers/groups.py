"""Parts that readers of several kinds of feedback make their groups of."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from training.engine.files import sha256_json
from training.engine.records import Group, Label, Preference, Text, text_of

Row = dict[str, Any]


def group_of(
    row: Row,
    place: str,
    completions: tuple[Text, ...],
    preferences: tuple[Preference, ...],
    labels: tuple[Label, ...],
    unusable: str = "",
) -> Group:
    prompt = text_of(row, "prompt")
    return Group(
        id=str(row.get("id") or place),
        prompt_id=prompt_id_of(row),
        source=str(row.get("source") or "unknown"),
        prompt=prompt,
        completions=completions,
        preferences=preferences,
        labels=labels,
        unusable=unusable,
    )


def prompt_id_of(row: Row) -> str:
    """What tells a row's prompt from others: its `prompt_id`, else a hash of the prompt. Raises ValueError for a row
    without a prompt."""
    return str(row.get("prompt_id") or sha256_json(text_of(row, "prompt")))


def edges_of(labels: Sequence[Label], at: Sequence[float]) -> tuple[Preference, ...]:
    """Every pair of completions: the better one left, or a tie. `at` says where each is, for the margins."""
    edges = []
    for one, other in combinations(range(len(labels)), 2):
        left, right = (one, other) if labels[one].rank <= labels[other].rank else (other, one)
        tie = labels[left].rank == labels[right].rank
        gap, margin = abs(labels[left].gain - labels[right].gain), abs(at[left] - at[right])
        edges.append(Preference(left, right, margin=margin, probability=0.5 if tie else 1.0, gap=gap))
    return tuple(edges)


def is_rating(one: Any) -> bool:
    return isinstance(one, dict) and {"scale", "value", "high"} <= one.keys()
