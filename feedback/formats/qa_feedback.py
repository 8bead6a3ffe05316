"""QA-Feedback (Fine-Grained RLHF): error spans, missing information, a correction, and six pairwise preferences.

The four predictions are the completions; spans, missing information and the correction belong to the first.
The pairwise preferences become a ranking by wins minus losses: it keeps every strict preference of the acyclic rows;
where "no preference" was not transitive (14 of the 320 shared rows) some undecided pairs become ordered, so the raw
six stay in ``meta.pairwise``. One person per row, unnamed: ``anonymous-slot-1``.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

from feedback.formats.mapping import preview
from feedback.formats.one_file import instances_of
from feedback.formats.records import (
    BadRow,
    ImportedInstance,
    ReadOptions,
    RecordedAnnotation,
    RowError,
    checked_meta,
    checked_text,
)
from feedback.formats.tables import Row

SPAN_TYPES = ("Irrelevant", "Redundant", "Unverifiable", "Wrong-Grounding", "Incoherent")
MISSING_TYPES = ("Missing-Answer", "Missing-Major-Auxiliary", "Missing-Minor-Auxiliary")
_PREDICTIONS = tuple(f"prediction {i}" for i in range(1, 5))
_PAIRS = tuple(combinations(range(4), 2))
_NEEDED = ("question", "passages", "feedback", "preference", *_PREDICTIONS)
ANNOTATOR = "anonymous-slot-1"


def is_qa_feedback(path: Path) -> bool:
    """Whether ``path`` is a QA-Feedback file, or a folder with one."""
    file = _file(path)
    if file is None:
        return False
    columns, _, _ = preview(file, 1)
    return set(_NEEDED) <= set(columns)


def _file(path: Path) -> Path | None:
    if path.is_dir():
        return next(iter(sorted(path.glob("*feedback.json*"))), None)
    return path if ".json" in path.name and path.is_file() else None


def questions(options: ReadOptions) -> list[dict[str, Any]]:
    """Ranking, error spans with missing information, and a critique with refinement."""
    return [
        {"kind": "ranking", "name": "ranking", "title": "Rank the answers", "allow_unacceptable": False},
        {
            "kind": "span",
            "name": "errors",
            "title": "Mark what is wrong in an answer, and what it lacks",
            "types": [{"name": name} for name in SPAN_TYPES],
            "allow_missing": True,
        },
        {"kind": "critique", "name": "critique", "title": "Correct the answer", "ask_refinement": True},
    ]


def read_qa_feedback(path: Path, options: ReadOptions) -> Iterator[ImportedInstance | RowError]:
    """Stream one instance per row of the file (a JSON array, maybe gzipped)."""
    file = _file(path)
    if file is None:
        yield RowError(0, "file", "no *_feedback.json file found")
        return
    name = file.name.split(".")[0]
    yield from instances_of(file, options, lambda row, line: [_instance(row, line, name, options)])


def _instance(row: Row, line: int, name: str, options: ReadOptions) -> ImportedInstance:
    missing = [column for column in _NEEDED if column not in row]
    if missing:
        raise BadRow(missing[0], "the row has no such column")
    completions = [checked_text(row[column], column, options) for column in _PREDICTIONS]
    passages = _passages(row["passages"])
    answers: dict[str, dict[str, Any]] = {
        "ranking": {"groups": ranking_of(row["preference"]), "unacceptable": []},
        "errors": {
            "spans": _spans(row["feedback"], completions[0]),
            "missing": _missing(row["feedback"], passages),
        },
        "critique": _critique(row["feedback"], options),
    }
    meta = checked_meta({"passages": passages, "gold": row.get("gold", ""), "pairwise": row["preference"]})
    return ImportedInstance(
        external_id=f"{name}-{line}",
        prompt=[{"role": "user", "content": checked_text(row["question"], "question", options)}],
        completions=[{"content": text, "model": None} for text in completions],
        meta=meta,
        source="qa_feedback",
        annotations=[RecordedAnnotation(ANNOTATOR, "human", answers)],
        line=line,
    )


def _passages(raw: object) -> list[dict[str, Any]]:
    """``[[title, sentence, …], …]`` to ``[{"title", "sentences"}]``."""
    if not isinstance(raw, list) or any(not isinstance(passage, list) or not passage for passage in raw):
        raise BadRow("passages", "must be a list of [title, sentence, …]")
    return [{"title": passage[0], "sentences": passage[1:]} for passage in raw]


def ranking_of(preference: object) -> list[list[int]]:
    """Rank groups, best first, from the six comparisons 1v2, 1v3, 1v4, 2v3, 2v4, 3v4 (0 none, 1 first, 2 second).

    Completions are grouped by wins minus losses. Raises BadRow when there are not six values in 0, 1, 2.

    >>> ranking_of([1, 1, 1, 0, 0, 0])
    [[0], [1, 2, 3]]
    """
    if not isinstance(preference, list) or len(preference) != 6 or any(value not in (0, 1, 2) for value in preference):
        raise BadRow("preference", "must hold six values that are 0, 1 or 2")
    score = [0] * 4
    for (first, second), value in zip(_PAIRS, preference, strict=True):
        gain = {0: 0, 1: 1, 2: -1}[value]
        score[first] += gain
        score[second] -= gain
    return [[i for i in range(4) if score[i] == level] for level in sorted(set(score), reverse=True)]


def _items(feedback: object, key: str) -> list[dict[str, Any]]:
    found = feedback.get(key, []) if isinstance(feedback, dict) else None
    if not isinstance(found, list) or any(not isinstance(item, dict) for item in found):
        raise BadRow(f"feedback.{key}", "must be a list of objects")
    return found


def _spans(feedback: object, text: str) -> list[dict[str, Any]]:
    spans = []
    for i, item in enumerate(_items(feedback, "errors")):
        path = f"feedback.errors.{i}"
        start, end = item.get("start"), item.get("end")
        if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end <= len(text):
            raise BadRow(path, f"start and end must mark a part of the {len(text)} characters of prediction 1")
        if item.get("error type") not in SPAN_TYPES:
            raise BadRow(f"{path}.error type", f"{str(item.get('error type'))[:40]!r} is not a known type")
        comment = str(item.get("explanation") or "")
        if len(comment) > 4000:
            raise BadRow(f"{path}.explanation", f"has {len(comment):,} characters; the limit is 4,000")
        spans.append({"target": 0, "start": start, "end": end, "type": item["error type"], "comment": comment})
    return [{**span, "subtype": "", "severity": "", "confidence": None} for span in spans]


def _missing(feedback: object, passages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Passage and sentence ids count from 1, sentence 0 is the title: the answer counts from 0, -1 for the title."""
    found = []
    for i, item in enumerate(_items(feedback, "missing-info")):
        if item.get("error type") not in MISSING_TYPES:
            raise BadRow(f"feedback.missing-info.{i}", f"{str(item.get('error type'))[:40]!r} is not a known type")
        passage = item.get("passage_id")
        known = isinstance(passage, int) and 1 <= passage <= len(passages)
        length = len(passages[passage - 1]["sentences"]) if known and isinstance(passage, int) else 0
        ids = item.get("sentence_id") or []
        sentences = [number - 1 for number in ids if isinstance(number, int) and 0 <= number <= length]
        where = passage - 1 if known and isinstance(passage, int) else None
        found.append({"target": 0, "text": item["error type"], "passage": where, "sentences": sentences})
    return found


def _critique(feedback: object, options: ReadOptions) -> dict[str, Any]:
    corrected = feedback.get("corrected-prediction") if isinstance(feedback, dict) else None
    text = checked_text(corrected or "", "feedback.corrected-prediction", options, empty=True)
    return {"critiques": [""] * 4, "refinements": [text or None, None, None, None]}
