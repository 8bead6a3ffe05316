"""The JSON schema of each shape's reply, for endpoints that constrain their output to one."""

from __future__ import annotations

from typing import Any

from feedback.questions import SpanQuestion
from routing.judge.asking import Ask
from routing.judge.config import JudgeConfig, PromptShape

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}


def label_of(number: int) -> str:
    """How a reply names the completion shown at a place, counted from 0."""
    return f"completion_{number + 1}"


def verdicts_of(config: JudgeConfig) -> list[str]:
    return ["first", "second", "tie"] if config.allow_ties else ["first", "second"]


def reply_schema(config: JudgeConfig, ask: Ask, count: int, principles: int = 0) -> Schema:
    """The schema of a reply about `count` completions: every field required, no other allowed, reasons come first."""
    verdict = {"type": "string", "enum": verdicts_of(config)}
    decision = {"verdict": verdict, "strength": {"type": "string", "enum": ["slightly", "clearly"]}}
    places = range(count)
    fields: dict[PromptShape, Schema] = {
        "pairwise": {"reason": TEXT} | decision,
        "reference": {"reason": TEXT} | decision,
        "principles": {
            "reason": TEXT,
            "principles": closed({f"principle_{n}": verdict for n in range(1, principles + 1)}),
        }
        | decision,
        "self-reference": dict.fromkeys(("own_answer", "critique_first", "critique_second"), TEXT) | decision,
        "rating": {"reason": TEXT} | {label_of(n): closed(_ratings(ask)) for n in places},
        "aspect-rating": {
            label_of(n): closed({name: closed({"rationale": TEXT, "rating": s}) for name, s in _ratings(ask).items()})
            for n in places
        },
        "ranking": {"reason": TEXT, "ranking": _ranking(count)},
        "critique": {label_of(n): closed(_critique(ask)) for n in places},
        "choice": {"reason": TEXT, "answers": closed(_choices(ask))},
        "follow-up": {},
    }
    return closed(fields[config.shape])


def closed(properties: Schema) -> Schema:
    """An object with exactly these fields."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _ratings(ask: Ask) -> Schema:
    return {scale.name: {"type": "integer", "minimum": scale.low, "maximum": scale.high} for scale in ask.scales}


def _ranking(count: int) -> Schema:
    number = {"type": "integer", "minimum": 1, "maximum": count}
    return {"type": "array", "items": {"type": "array", "items": number}}


def _critique(ask: Ask) -> Schema:
    fields: Schema = {"critique": TEXT}
    if ask.critique and ask.critique.ask_refinement:
        fields["refinement"] = TEXT
    if ask.span:
        fields["marks"] = {"type": "array", "items": closed(_mark(ask.span))}
    return fields


def _mark(question: SpanQuestion) -> Schema:
    fields: Schema = {
        "quote": TEXT,
        "occurrence": {"type": "integer", "minimum": 1},
        "type": {"type": "string", "enum": [one.name for one in question.types]},
    }
    subtypes = sorted({name for one in question.types for name in one.subtypes})
    if subtypes:
        fields["subtype"] = {"type": "string", "enum": ["", *subtypes]}
    if question.severities:
        fields["severity"] = {"type": "string", "enum": list(question.severities)}
    return fields | {"comment": TEXT}


def _choices(ask: Ask) -> Schema:
    fields: Schema = {}
    for question in ask.choices:
        option = {"type": "string", "enum": question.options}
        fields[question.name] = {"type": "array", "items": option} if question.multiple else option
    return fields
