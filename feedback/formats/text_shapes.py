"""What people say of texts, row by row: marked spans (named as Fine-Grained RLHF names them) and critiques."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from feedback.formats.shapes import COMPLETIONS, MESSAGES, Shape
from feedback.questions import CritiqueQuestion, Question
from feedback.refinements import asks_refinement

_HEAD = [("id", pa.string()), ("instance_id", pa.string()), ("prompt_id", pa.string()), ("asked", pa.string())]
_TAIL = [("source", pa.string()), ("annotator", pa.string()), ("split", pa.string())]
_ERROR = pa.struct(
    [
        ("target", pa.int32()),
        ("start", pa.int32()),
        ("end", pa.int32()),
        ("error type", pa.string()),
        ("subtype", pa.string()),
        ("severity", pa.string()),
        ("explanation", pa.string()),
        ("confidence", pa.int8()),
    ]
)
_TIME = pa.struct(
    [
        ("target", pa.int32()),
        ("media", pa.int32()),
        ("start_ms", pa.int32()),
        ("end_ms", pa.int32()),
        ("error type", pa.string()),
        ("subtype", pa.string()),
        ("severity", pa.string()),
        ("explanation", pa.string()),
        ("confidence", pa.int8()),
    ]
)
_MISSING = pa.struct(
    [
        ("target", pa.int32()),
        ("error type", pa.string()),
        ("passage_id", pa.int32()),
        ("sentence_id", pa.list_(pa.int32())),
        ("start", pa.int32()),
        ("end", pa.int32()),
    ]
)


def spans_shape(questions: Sequence[Question]) -> Shape:
    """One row per annotation and span question; ``feedback`` as in Fine-Grained RLHF.

    Times only where a question asks for them, and a correction only where the task asks for refinements, so no column
    is always null.
    """
    feedback = [("errors", pa.list_(_ERROR)), ("missing-info", pa.list_(_MISSING))]
    if _marks_times(questions):
        feedback.append(("times", pa.list_(_TIME)))
    if asks_refinement(questions):
        feedback.append(("corrected-prediction", pa.string()))
    texts = [("question", pa.string()), ("prompt", MESSAGES), ("completions", COMPLETIONS)]
    schema = pa.schema([*_HEAD, *texts, ("feedback", pa.struct(feedback)), *_TAIL])
    return Shape(
        "spans",
        schema,
        "Marked spans, one row per annotation, named as in Fine-Grained RLHF: start and end count code points of "
        "completions[target] (target -1 - m: of message m of the prompt), passage_id and sentence_id count from 1 and "
        "sentence 0 is a passage's title; start and end of missing-info count code points of the passage. times count "
        "milliseconds of the sound or video at media, from 0, among the media of their target.",
    )


def span_feedback(
    answer: Mapping[str, Any], questions: Sequence[Question], answers: Mapping[str, Any]
) -> dict[str, Any]:
    """The ``feedback`` of one annotation from its ``answer`` to a span question and its other ``answers``."""
    feedback: dict[str, Any] = {
        "errors": [_error(span) for span in answer["spans"]],
        "missing-info": [_missing(item) for item in answer.get("missing", [])],
    }
    if _marks_times(questions):
        feedback["times"] = [_time(time) for time in answer.get("times", [])]
    if asks_refinement(questions):
        critiques = (answers.get(one.name) for one in questions if one.kind == "critique")
        texts = (text for critique in critiques for text in _refinements(critique))
        feedback["corrected-prediction"] = next((text for text in texts if text), None)
    return feedback


def _marks_times(questions: Sequence[Question]) -> bool:
    return any(question.kind == "span" and question.on_media for question in questions)


def _error(span: Mapping[str, Any]) -> dict[str, Any]:
    return {"target": span["target"], "start": span["start"], "end": span["end"], **_said(span)}


def _time(span: Mapping[str, Any]) -> dict[str, Any]:
    return {key: span[key] for key in ("target", "media", "start_ms", "end_ms")} | _said(span)


def _said(mark: Mapping[str, Any]) -> dict[str, Any]:
    plain = {key: mark.get(key) for key in ("subtype", "severity", "confidence")}
    return {**plain, "error type": mark["type"], "explanation": mark.get("comment", "")}


def _missing(item: Mapping[str, Any]) -> dict[str, Any]:
    passage = item.get("passage")
    return {
        "target": item["target"],
        "error type": item["text"],
        "passage_id": None if passage is None else passage + 1,
        "sentence_id": [index + 1 for index in item.get("sentences", [])],
        "start": item.get("start"),
        "end": item.get("end"),
    }


def _refinements(answer: object) -> list[str | None]:
    return list(answer.get("refinements", [])) if isinstance(answer, Mapping) else []


def critiques_shape(questions: Sequence[Question]) -> Shape:
    """One row per completion that an annotation criticises or refines."""
    texts = [("prompt", MESSAGES), ("completion", pa.string()), ("model", pa.string()), ("critique", pa.string())]
    refinement = [("refinement", pa.string())] if asks_refinement(questions) else []
    schema = pa.schema([*_HEAD, *texts, *refinement, *_TAIL])
    return Shape("critiques", schema, "Critiques: one row per completion that an annotation criticises or refines.")


def critiqued(question: CritiqueQuestion, answer: Mapping[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    """``(completion index, columns)`` of each completion with a critique or a refinement."""
    refinements = _refinements(answer) or [None] * len(answer["critiques"])
    found = []
    for index, (critique, refinement) in enumerate(zip(answer["critiques"], refinements, strict=False)):
        if critique.strip() or refinement is not None:
            columns = {"critique": critique} | ({"refinement": refinement} if question.ask_refinement else {})
            found.append((index, columns))
    return found
