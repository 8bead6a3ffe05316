"""Rows whose completions have marked spans and missing information."""

from dataclasses import replace
from typing import Any

from training.engine.readers.groups import Row, edges_of, group_of
from training.engine.records import Group, Label, Mark, text_of
from training.engine.render import plain_completion


def marked(row: Row, place: str, margin_scale: float) -> Group:
    """Completions with the spans marked in them. What lacks less is better, where two are judged."""
    texts, said = row.get("completions"), row.get("feedback")
    if not isinstance(texts, list) or not texts or not isinstance(said, dict):
        raise ValueError("completions and feedback are not a list and an object")
    completions = tuple(text_of(text if isinstance(text, dict) else {"content": text}, "content") for text in texts)
    marks: list[list[Mark]] = [[] for _ in completions]
    lacking = [0] * len(completions)
    for error in said.get("errors") or []:
        target = _target(error, len(completions))
        if target is not None:
            marks[target].append(_mark(error, plain_completion(completions[target])))
    for missing in said.get("missing-info") or []:
        target = _target(missing, len(completions))
        if target is not None:
            lacking[target] += 1
    labels = tuple(Label(rank=1 + one, marks=tuple(own)) for one, own in zip(lacking, marks, strict=True))
    preferences = tuple(
        edge for edge in edges_of(labels, [margin_scale * one for one in lacking]) if edge.probability != 0.5
    )
    return group_of(row, place, completions, preferences, labels)


def _target(said: Any, completions: int) -> int | None:
    """Which completion is meant; None for a message of the prompt."""
    target = said.get("target") if isinstance(said, dict) else None
    if isinstance(target, bool) or not isinstance(target, int) or target >= completions:
        raise ValueError("feedback has an error without a completion of this row")
    return target if target >= 0 else None


def _mark(error: Row, text: str) -> Mark:
    start, end, kind = error.get("start"), error.get("end"), error.get("error type")
    if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end <= len(text):
        raise ValueError("a span is no part of its completion")
    if not isinstance(kind, str) or not kind:
        raise ValueError("a span has no error type")
    return Mark(start, end, kind)


def only_marked(group: Group) -> Group:
    """The group with completions that nobody marked taken as not judged: nothing is known of their errors."""
    judged = [bool(label.marks) or label.rank > 1 for label in group.labels]
    labels = tuple(
        label if use else replace(label, marks=None) for label, use in zip(group.labels, judged, strict=True)
    )
    edges = tuple(edge for edge in group.preferences if judged[edge.left] and judged[edge.right])
    return replace(group, labels=labels, preferences=edges, unusable="" if any(judged) else "has no mark")
