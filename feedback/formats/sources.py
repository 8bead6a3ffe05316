"""The kinds of data that an import understands. To add one: write its reader, add a row to :data:`SOURCES`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from feedback.formats import feedbackqa, ilf, llmbar, mqm, mtbench, oasst, qa_feedback, vicuna80
from feedback.formats.dialogue import is_dialogue
from feedback.formats.generic import read_generic
from feedback.formats.mapping import ColumnMapping, preview, suggest_mapping
from feedback.formats.records import ImportedInstance, ReadOptions, RowError, preference_question
from feedback.formats.tables import Row, table_kind, tables_in

Records = Iterator[ImportedInstance | RowError]


@dataclass(frozen=True)
class SourceFormat:
    """One kind of source. ``detect(path)`` looks at names and a few rows; ``questions(options)`` are the task's
    questions that its recorded annotations answer; ``read(path, options)`` streams it."""

    name: str
    title: str
    detect: Callable[[Path], bool]
    questions: Callable[[ReadOptions], list[dict[str, Any]]]
    read: Callable[[Path, ReadOptions], Records]


def _is_table(path: Path) -> bool:
    if path.is_dir():
        return bool(tables_in(path))
    return path.is_file() and table_kind(path) is not None


def _first_rows(path: Path) -> tuple[list[str], list[Row]]:
    if not _is_table(path):
        return [], []
    columns, rows, _ = preview(path, 5)
    return columns, rows


def _is_hh(path: Path) -> bool:
    columns, rows = _first_rows(path)
    pair = {"chosen", "rejected"} <= set(columns)
    return pair and all(is_dialogue(row.get("chosen")) and is_dialogue(row.get("rejected")) for row in rows)


def _is_pair(path: Path) -> bool:
    columns, rows = _first_rows(path)
    mapping = suggest_mapping(columns, rows) if rows else None
    return mapping is not None and mapping.chosen is not None


def _is_completions(path: Path) -> bool:
    columns, rows = _first_rows(path)
    mapping = suggest_mapping(columns, rows) if rows else None
    return mapping is not None and bool(mapping.completions)


def _read_hh(path: Path, options: ReadOptions) -> Records:
    return read_generic(path, ColumnMapping(chosen="chosen", rejected="rejected"), options)


def _read_guessed(path: Path, options: ReadOptions) -> Records:
    return read_generic(path, None, options)


def _one_preference(options: ReadOptions) -> list[dict[str, Any]]:
    return [preference_question(options)]


def _any_preference(options: ReadOptions) -> list[dict[str, Any]]:
    return [preference_question(options, both_bad=True)]


_FORMATS = (
    SourceFormat("mtbench", "MT-Bench votes and verdicts", mtbench.is_mtbench, mtbench.questions, mtbench.read_mtbench),
    SourceFormat(
        "vicuna80",
        "Vicuna-80 crowd labels and judges",
        vicuna80.is_vicuna80,
        vicuna80.questions,
        vicuna80.read_vicuna80,
    ),
    SourceFormat(
        "qa_feedback",
        "QA-Feedback spans, rankings and corrections",
        qa_feedback.is_qa_feedback,
        qa_feedback.questions,
        qa_feedback.read_qa_feedback,
    ),
    SourceFormat("wmt_mqm", "MQM error spans of translations (WMT)", mqm.is_mqm, mqm.questions, mqm.read_mqm),
    SourceFormat("oasst", "OpenAssistant trees with ranked replies", oasst.is_oasst, oasst.questions, oasst.read_oasst),
    SourceFormat(
        "feedbackqa",
        "FeedbackQA ratings with explanations",
        feedbackqa.is_feedbackqa,
        feedbackqa.questions,
        feedbackqa.read_feedbackqa,
    ),
    SourceFormat("ilf", "ILF critiques and corrections of programs", ilf.is_ilf, ilf.questions, ilf.read_ilf),
    SourceFormat("llmbar", "LLMBar labels and judges", llmbar.is_llmbar, llmbar.questions, llmbar.read_llmbar),
    SourceFormat("hh", "Chosen and rejected dialogues (HH)", _is_hh, _one_preference, _read_hh),
    SourceFormat("preference", "Prompt with chosen and rejected (TRL)", _is_pair, _one_preference, _read_guessed),
    SourceFormat("completions", "Prompt with completions", _is_completions, _any_preference, _read_guessed),
)
SOURCES: dict[str, SourceFormat] = {source.name: source for source in _FORMATS}


def detect_source(path: Path) -> SourceFormat | None:
    """The first format that recognises ``path`` (a file or a folder), most specific first; ``None`` when none does."""
    return next((source for source in _FORMATS if source.detect(path)), None)


def mapped_source(mapping: ColumnMapping) -> SourceFormat:
    """A table read by a mapping that a person confirmed."""

    def read(path: Path, options: ReadOptions) -> Records:
        return read_generic(path, mapping, options)

    both_bad = mapping.preference is not None
    questions = partial(_mapped_questions, both_bad=both_bad)
    return SourceFormat("table", "Table with mapped columns", _is_table, questions, read)


def _mapped_questions(options: ReadOptions, *, both_bad: bool) -> list[dict[str, Any]]:
    return [preference_question(options, both_bad=both_bad)]
