"""Changing a draft of questions: add, copy, move, remove, and what is not right yet, question by question.

A draft is a list of questions as plain JSON. It may be wrong while somebody works on it; only right ones are asked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from feedback.questions import InvalidQuestions, parse_questions

MAX_QUESTIONS = 30
MAX_BYTES = 500_000
Draft = list[dict[str, Any]]

# a right question of each kind, to begin with
STARTS: dict[str, dict[str, Any]] = {
    "preference": {"name": "overall", "title": "Which completion is better?", "steps": 5},
    "ranking": {"name": "ranking", "title": "Rank the completions"},
    "rating": {"name": "rating", "title": "Rate each completion", "scales": [{"name": "Quality", "low": 1, "high": 5}]},
    "span": {"name": "errors", "title": "Mark what is wrong", "types": [{"name": "Wrong"}]},
    "critique": {"name": "critique", "title": "What is good, and what should be better?"},
    "choice": {"name": "choice", "title": "Does this apply?", "options": ["Yes", "No"]},
}


class InvalidChange(ValueError):
    """A draft cannot be changed so. The message is a sentence."""


def add(draft: Sequence[Mapping[str, Any]], kind: str) -> Draft:
    """The draft with a new question of ``kind`` at its end. Raises InvalidChange."""
    if kind not in STARTS:
        raise InvalidChange(f"There is no question of the kind {kind!r}.")
    start = STARTS[kind]
    return _bounded([*draft, {"kind": kind, **start, "name": _free_name(draft, start["name"])}])


def extend(draft: Sequence[Mapping[str, Any]], questions: Sequence[Mapping[str, Any]]) -> Draft:
    """The draft with further questions at its end, under names that are free. Raises InvalidChange."""
    longer = list(draft)
    for question in questions:
        longer.append({**question, "name": _free_name(longer, str(question.get("name", "question")))})
    return _bounded(longer)


def duplicate(draft: Sequence[Mapping[str, Any]], place: int) -> Draft:
    """The draft with a copy after ``place``, under a name of its own. Raises InvalidChange."""
    copy = dict(_at(draft, place))
    copy["name"] = _free_name(draft, str(copy.get("name", "question")))
    return _bounded([*draft[: place + 1], copy, *draft[place + 1 :]])


def remove(draft: Sequence[Mapping[str, Any]], place: int) -> Draft:
    _at(draft, place)
    return _bounded([*draft[:place], *draft[place + 1 :]])


def move(draft: Sequence[Mapping[str, Any]], place: int, to: int) -> Draft:
    """The draft with the question at ``place`` standing at ``to``; past the ends, at the end. Raises InvalidChange."""
    moved = _at(draft, place)
    rest = [*draft[:place], *draft[place + 1 :]]
    to = min(max(to, 0), len(rest))
    return _bounded([*rest[:to], moved, *rest[to:]])


def replace(draft: Sequence[Mapping[str, Any]], place: int, question: Mapping[str, Any]) -> Draft:
    _at(draft, place)
    return _bounded([*draft[:place], question, *draft[place + 1 :]])


def checked(raw: object) -> Draft:
    """A whole draft from outside: a list of objects, each of a known kind. Raises InvalidChange."""
    if not isinstance(raw, list) or not all(isinstance(one, dict) for one in raw):
        raise InvalidChange("The questions must be a list of objects: [ {…}, … ].")
    for number, one in enumerate(raw, start=1):
        if not isinstance(one.get("kind"), str) or one["kind"] not in STARTS:
            raise InvalidChange(f"Question {number} needs a kind, one of {', '.join(STARTS)}.")
    return _bounded(raw)


def errors_of(draft: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """What is not right in each question, as sentences by the path of the field ("" for the question as a whole)."""
    found: list[dict[str, str]] = [{} for _ in draft]
    try:
        parse_questions(list(draft))
    except InvalidQuestions as error:
        for path, words in error.errors.items():
            for place, field in _places(draft, path):
                found[place][field] = words
    return found


def _places(draft: Sequence[Mapping[str, Any]], path: str) -> list[tuple[int, str]]:
    """Where an error belongs: ``3.rating.scales.0.low`` names its place, ``topic.when`` its question's name."""
    head, _, rest = path.partition(".")
    if head.isdigit() and int(head) < len(draft):
        kind = str(draft[int(head)].get("kind"))
        return [(int(head), rest.removeprefix(kind).removeprefix("."))]
    return [(place, rest or "name") for place, one in enumerate(draft) if one.get("name") == head]


def _at(draft: Sequence[Mapping[str, Any]], place: int) -> Mapping[str, Any]:
    if not 0 <= place < len(draft):
        raise InvalidChange("This question is gone.")
    return draft[place]


def _bounded(draft: Sequence[Mapping[str, Any]]) -> Draft:
    if len(draft) > MAX_QUESTIONS:
        raise InvalidChange(f"A task asks at most {MAX_QUESTIONS} questions.")
    if len(json.dumps(draft)) > MAX_BYTES:
        raise InvalidChange("The questions are larger than 500 kB.")
    return [dict(one) for one in draft]


def _free_name(draft: Sequence[Mapping[str, Any]], wanted: str) -> str:
    """``wanted``, or ``wanted-2``, ``wanted-3``, … when a question has it."""
    taken = {one.get("name") for one in draft}
    stem = re.sub(r"-\d+$", "", wanted)[:58]
    names = (f"{stem}-{number}" for number in range(2, MAX_QUESTIONS + 3))
    return wanted if wanted not in taken else next(name for name in names if name not in taken)
