"""FeedbackQA: two or three people rate a retrieved answer and explain their rating in words.

The answer, a section of a page, is the one completion; the page and the section's headings are its passage, and all
else of the reference stands in ``meta.passage``. The raters are unnamed: ``anonymous-slot-1`` to ``-3``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from feedback.formats.mapping import preview
from feedback.formats.records import (
    BadRow,
    ImportedInstance,
    ReadOptions,
    RecordedAnnotation,
    RowError,
    checked_meta,
    checked_text,
)
from feedback.formats.tables import Row, read_table

RATINGS = ("Bad", "Could be Improved", "Acceptable", "Excellent")
_NEEDED = {"question", "passage", "feedback", "rating"}


def is_feedbackqa(path: Path) -> bool:
    """Whether ``path`` is a FeedbackQA file, or a folder with such files in it or in its folders."""
    files = _files(path)
    if not files:
        return False
    columns, _, _ = preview(files[0], 1)
    return set(columns) >= _NEEDED


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted([*path.glob("feedback_*.json*"), *path.glob("*/feedback_*.json*")])
    return [path] if path.is_file() and path.name.removesuffix(".gz").endswith(".json") else []


def questions(options: ReadOptions) -> list[dict[str, Any]]:
    """A rating of four levels and its explanation."""
    scale = {"name": "quality", "low": 1, "high": len(RATINGS), "labels": list(RATINGS)}
    return [
        {"kind": "rating", "name": "rating", "title": "How well does this answer the question?", "scales": [scale]},
        {"kind": "critique", "name": "explanation", "title": "Explain your rating"},
    ]


def read_feedbackqa(path: Path, options: ReadOptions) -> Iterator[ImportedInstance | RowError]:
    """Stream one instance per row of each file (JSON arrays, maybe gzipped)."""
    files = _files(path)
    if not files:
        yield RowError(0, "file", "no feedback_*.json file found")
    for file in files:
        folder = f"{file.parent.name}-" if path.is_dir() and file.parent != path else ""
        name = folder + file.name.split(".")[0].removeprefix("feedback_")
        for entry in read_table(file, options):
            if isinstance(entry, RowError):
                yield RowError(entry.line, f"{name}:{entry.field}", entry.reason, entry.hint)
                continue
            line, row = entry
            try:
                yield _instance(row, line, name, options)
            except BadRow as error:
                yield RowError(line, f"{name}:{error.field}", error.reason, error.hint)


def _instance(row: Row, line: int, name: str, options: ReadOptions) -> ImportedInstance:
    passage = row.get("passage")
    reference = passage.get("reference") if isinstance(passage, dict) else None
    if not isinstance(passage, dict) or not isinstance(reference, dict):
        raise BadRow("passage", "must be an object with a reference")
    text = checked_text(reference.get("section_content"), "passage.reference.section_content", options)
    headings = reference.get("section_headers")
    if not isinstance(headings, list) or any(not isinstance(heading, str) for heading in headings):
        raise BadRow("passage.reference.section_headers", "must be a list of texts")
    page = checked_text(reference.get("page_title"), "passage.reference.page_title", options, empty=True)
    rest = {key: value for key, value in reference.items() if key != "section_content"}
    meta = {
        "passages": [{"title": page, "sentences": [*headings, *_address(passage)]}],
        "passage": {**passage, "reference": rest},
        "anonymous_annotators": True,
    }
    return ImportedInstance(
        external_id=f"feedbackqa-{name}-{line}",
        prompt=[{"role": "user", "content": checked_text(row.get("question"), "question", options)}],
        completions=[{"content": text, "model": None}],
        meta=checked_meta(meta),
        source="feedbackqa",
        annotations=_annotations(row, options),
        line=line,
    )


def _address(passage: dict[str, Any]) -> list[str]:
    address = passage.get("uri")
    return [address] if isinstance(address, str) and address else []


def _annotations(row: Row, options: ReadOptions) -> list[RecordedAnnotation]:
    texts, ratings = row.get("feedback"), row.get("rating")
    if not isinstance(texts, list) or not isinstance(ratings, list) or len(texts) != len(ratings):
        raise BadRow("feedback", "must be a list with a text for each rating")
    said = []
    for i, (text, rating) in enumerate(zip(texts, ratings, strict=True)):
        if rating not in RATINGS:
            raise BadRow(f"rating.{i}", f"{str(rating)[:40]!r} is not one of {', '.join(RATINGS)}")
        answers: dict[str, dict[str, Any]] = {
            "rating": {"ratings": {"quality": [RATINGS.index(rating) + 1]}},
            "explanation": {
                "critiques": [checked_text(text, f"feedback.{i}", options, empty=True)],
                "refinements": [],
            },
        }
        said.append(RecordedAnnotation(f"anonymous-slot-{i + 1}", "human", answers))
    return said
