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
_MISSING = pa.struct(
    [
        ("target", pa.int32()),
        ("error type", pa.string()),
        ("passage_id", pa.int32()),
        ("sentence_id", pa.list_(pa.int32())),
    ]
)


def spans_shape(questions: Sequence[Question]) -> Shape:
    """One row per annotation and span question; ``feedback`` as in Fine-Grained RLHF.

    A correction column only where the task asks for refinements, so no column is always null.
    """
    feedback = [("errors", pa.list_(_ERROR)), ("missing-info", pa.list_(_MISSING))]
    if asks_refinement(questions):
        feedback.append(("corrected-prediction", pa.string()))
    texts = [("question", pa.string()), ("prompt", MESSAGES), ("completions", COMPLETIONS)]
    schema = pa.schema([*_HEAD, *texts, ("feedback", pa.struct(feedback)), *_TAIL])
    return Shape(
        "spans",
        schema,
        "Marked spans, one row per annotation, named as in Fine-Grained RLHF: start and end count code points of "
        "completions[target] (target -1 - m: of message m of the prompt), passage_id and sentence_id count from 1 and "
        "sentence 0 is a passage's title.",
    )


def span_feedback(
    answer: Mapping[str, Any], questions: Sequence[Question], answers: Mapping[str, Any]
) -> dict[str, Any]:
    """The ``feedback`` of one annotation from its ``answer`` to a span question and its other ``answers``."""
    feedback: dict[str, Any] = {
        "errors": [_error(span) for span in answer["spans"]],
        "missing-info": [_missing(item) for item in answer.get("missing", [])],
    }
    if asks_refinement(questions):
        critiques = (answers.get(one.name) for one in questions if one.kind == "critique")
        texts = (text for critique in critiques for text in _refinements(critique))
        feedback["corrected-prediction"] = next((text for text in texts if text), None)
    return feedback


def _error(span: Mapping[str, Any]) -> dict[str, Any]:
    plain = {key: span.get(key) for key in ("target", "start", "end", "subtype", "severity", "confidence")}
    return {**plain, "error type": span["type"], "explanation": span.get("comment", "")}


def _missing(item: Mapping[str, Any]) -> dict[str, Any]:
    passage = item.get("passage")
    return {
        "target": item["target"],
        "error type": item["text"],
        "passage_id": None if passage is None else passage + 1,
        "sentence_id": [index + 1 for index in item.get("sentences", [])],
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
