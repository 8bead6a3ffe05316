"""Shapes of exported data: one fixed Arrow schema each, and builders of their rows.

The names are TRL's: an explicit-prompt preference row has ``prompt``, ``chosen`` and ``rejected``, as text (standard)
or as chat messages (conversational). Types are fixed, so a column without any value keeps its type.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from feedback.formats.dialogue import render_dialogue
from feedback.formats.records import Message
from feedback.formats.splits import SPLITS, prompt_hash
from feedback.questions import Question, strength

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
COMPLETIONS = pa.list_(pa.struct([("content", pa.string()), ("model", pa.string())]))

PREFERENCE_EXTRAS = [
    ("strength", pa.int8()),
    ("margin", pa.float64()),
    ("soft_label", pa.float64()),
    ("weight", pa.float64()),
    ("source", pa.string()),
    ("annotator_count", pa.int32()),
    ("agreement", pa.float64()),
    ("annotators", pa.list_(pa.string())),
    ("split", pa.string()),
]


@dataclass(frozen=True)
class Shape:
    """A name, the Arrow schema of every file, and a sentence for the card."""

    name: str
    schema: pa.Schema
    title: str


def _preference_schema(prompt: pa.DataType, completion: pa.DataType) -> pa.Schema:
    ids = [("id", pa.string()), ("prompt_id", pa.string())]
    texts = [("prompt", prompt), ("chosen", completion), ("rejected", completion)]
    return pa.schema([*ids, *texts, *PREFERENCE_EXTRAS])


PREFERENCE = Shape(
    "preference",
    _preference_schema(pa.string(), pa.string()),
    "Explicit-prompt preferences as text: one row per chosen and rejected pair.",
)
PREFERENCE_CONVERSATIONAL = Shape(
    "preference-conversational",
    _preference_schema(MESSAGES, MESSAGES),
    "Explicit-prompt preferences as chat messages: one row per chosen and rejected pair.",
)

_RAW_COLUMNS = [
    ("id", pa.string()),
    ("instance_id", pa.string()),
    ("external_id", pa.string()),
    ("prompt_id", pa.string()),
    ("prompt", MESSAGES),
    ("completions", COMPLETIONS),
    ("source", pa.string()),
    ("annotator", pa.string()),
    ("order", pa.string()),
    ("guideline_version", pa.int32()),
    ("questions_version", pa.int32()),
    ("adjudicated", pa.bool_()),
    ("active_seconds", pa.float64()),
    ("annotated_at", pa.timestamp("us", tz="UTC")),
    ("answers", pa.string()),
    ("rationale", pa.string()),
    ("details", pa.string()),
    ("meta", pa.string()),
    ("split", pa.string()),
]


def raw_shape(questions: Sequence[Question]) -> Shape:
    """One row per annotation: everything said as JSON in ``answers``, and flat columns named after the questions.
    ``adjudicated`` marks a reviewer's decision, which is no vote. ``details`` (what a judge or a source adds) and
    ``meta`` (of the instance) are JSON as well.

    The schema follows from the task's questions alone, so all files of a task agree.
    """
    flat = [column for question in questions for column in _flat_columns(question)]
    schema = pa.schema([*_RAW_COLUMNS, *flat])
    return Shape("raw", schema, "Raw annotations: one row per annotation, nothing aggregated.")


def _flat_columns(question: Question) -> list[tuple[str, pa.DataType]]:
    name = f"answer.{question.name}"
    texts, numbers = pa.list_(pa.string()), pa.list_(pa.int32())
    match question.kind:
        case "preference":
            aspects = [(f"{name}.{aspect}", pa.string()) for aspect in question.aspects]
            head = [(name, pa.string()), (f"{name}.strength", pa.int8()), (f"{name}.confidence", pa.int8())]
            return [*head, (f"{name}.reasons", texts), *aspects]
        case "ranking":
            return [(f"{name}.ranks", numbers), (f"{name}.unacceptable", numbers)]
        case "rating":
            return [(f"{name}.{scale.name}", numbers) for scale in question.scales]
        case "span":
            times = [(f"{name}.times", pa.int32())] if question.on_media else []
            return [(f"{name}.spans", pa.int32()), (f"{name}.missing", pa.int32()), *times]
        case "critique":
            return [(f"{name}.critiques", texts), (f"{name}.refinements", texts)]
        case "choice":
            return [(name, texts)]


def flat_answers(
    questions: Iterable[Question], answers: Mapping[str, Mapping[str, Any]], n_completions: int
) -> dict[str, Any]:
    """The flat columns of one annotation; a question without an answer gives none of its columns (they become null).

    ``ranks`` holds the rank of each completion from 1, 0 for an unranked one.
    """
    row: dict[str, Any] = {}
    for question in questions:
        answer = answers.get(question.name)
        if answer is not None:
            row.update(_flat_answer(question, answer, n_completions))
    return row


def _flat_answer(question: Question, answer: Mapping[str, Any], n: int) -> dict[str, Any]:
    name = f"answer.{question.name}"
    match question.kind:
        case "preference":
            return {
                name: answer["value"],
                f"{name}.strength": strength(answer["value"], question.steps),
                f"{name}.confidence": answer.get("confidence"),
                f"{name}.reasons": answer.get("reasons", []),
                **{f"{name}.{aspect}": value for aspect, value in answer.get("aspects", {}).items()},
            }
        case "ranking":
            rank = {index: place for place, group in enumerate(answer["groups"], start=1) for index in group}
            ranks = [rank.get(i, 0) for i in range(n)]
            return {f"{name}.ranks": ranks, f"{name}.unacceptable": answer.get("unacceptable", [])}
        case "rating":
            return {f"{name}.{scale}": values for scale, values in answer["ratings"].items()}
        case "span":
            counted = ("spans", "missing", "times") if question.on_media else ("spans", "missing")
            return {f"{name}.{what}": len(answer.get(what, [])) for what in counted}
        case "critique":
            refinements = answer.get("refinements", [])
            return {f"{name}.critiques": answer["critiques"], f"{name}.refinements": refinements}
        case "choice":
            return {name: answer["values"]}


def raw_row(questions: Sequence[Question], answers: Mapping[str, Mapping[str, Any]], **columns: Any) -> dict[str, Any]:
    """A row of :func:`raw_shape`. ``columns`` are its plain columns (``id``, ``prompt``, ``completions``, ``source``,
    …); ``prompt_id`` is filled in, ``details`` and ``meta`` become JSON, null when there is nothing. Raises KeyError
    without ``prompt`` or ``completions``."""
    flat = flat_answers(questions, answers, len(columns["completions"]))
    written = {name: _json(columns[name]) for name in ("details", "meta") if columns.get(name)}
    plain = {name: value for name, value in columns.items() if name not in ("details", "meta")}
    return {"prompt_id": prompt_hash(columns["prompt"]), **plain, **written, "answers": _json(answers), **flat}


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)


def prompt_text(prompt: Sequence[Message]) -> str:
    """A prompt as one text: the content of a single user message, else an HH-style dialogue."""
    if len(prompt) == 1 and prompt[0]["role"] == "user":
        return str(prompt[0]["content"])
    return render_dialogue(list(prompt))


def preference_row(
    shape: Shape,
    *,
    id: str,
    prompt: Sequence[Message],
    chosen: str,
    rejected: str,
    split: str,
    strength: int = 1,
    margin: float | None = None,
    soft_label: float = 1.0,
    weight: float = 1.0,
    source: str = "human",
    annotators: Sequence[str] = (),
    annotator_count: int | None = None,
    agreement: float | None = None,
) -> dict[str, Any]:
    """A row of :data:`PREFERENCE`, of :data:`PREFERENCE_CONVERSATIONAL`, or of the implicit-prompt shape.

    ``strength`` counts steps towards ``chosen`` (1 and up); ``margin`` (used by reward losses) defaults to it;
    ``soft_label`` is P(chosen is better); ``annotators`` are pseudonyms. Raises ValueError for an unknown split or a
    strength below 1.
    """
    if split not in SPLITS or strength < 1:
        raise ValueError(f"split must be one of {', '.join(SPLITS)} and strength at least 1")
    return {
        "id": id,
        "prompt_id": prompt_hash(prompt),
        **_pair_texts(shape, prompt, chosen, rejected),
        "strength": strength,
        "margin": float(strength) if margin is None else margin,
        "soft_label": soft_label,
        "weight": weight,
        "source": source,
        "annotator_count": len(annotators) if annotator_count is None else annotator_count,
        "agreement": agreement,
        "annotators": list(annotators),
        "split": split,
    }


def _pair_texts(shape: Shape, prompt: Sequence[Message], chosen: str, rejected: str) -> dict[str, Any]:
    if shape is PREFERENCE:
        return {"prompt": prompt_text(prompt), "chosen": chosen, "rejected": rejected}
    messages = [{"role": message["role"], "content": message["content"]} for message in prompt]
    replies = {
        "chosen": [{"role": "assistant", "content": chosen}],
        "rejected": [{"role": "assistant", "content": rejected}],
    }
    if shape is PREFERENCE_CONVERSATIONAL:
        return {"prompt": messages, **replies}
    return {key: [*messages, *chat] for key, chat in replies.items()}
