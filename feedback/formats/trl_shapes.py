"""TRL's shapes beside explicit-prompt preferences, all as chat messages: implicit-prompt and unpaired preferences,
prompt and completion, language modelling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from feedback.formats.records import Message
from feedback.formats.shapes import MESSAGES, PREFERENCE_EXTRAS, Shape
from feedback.formats.splits import prompt_hash

Origin = Literal["preferred", "refinement"]

_IDS = [("id", pa.string()), ("prompt_id", pa.string())]
_WHO = [("source", pa.string()), ("annotators", pa.list_(pa.string())), ("split", pa.string())]

PREFERENCE_IMPLICIT = Shape(
    "preference-implicit",
    pa.schema([*_IDS, ("chosen", MESSAGES), ("rejected", MESSAGES), *PREFERENCE_EXTRAS]),
    "Implicit-prompt preferences: chosen and rejected are whole chats, with the prompt in both.",
)
UNPAIRED = Shape(
    "unpaired",
    pa.schema(
        [
            *_IDS,
            ("prompt", MESSAGES),
            ("completion", MESSAGES),
            ("label", pa.bool_()),
            ("wins", pa.int32()),
            ("losses", pa.int32()),
            *_WHO,
        ]
    ),
    "Unpaired preferences: one row per completion, with label true when it is chosen in more of its pairs than it is "
    "rejected in; completions that are even are left out.",
)
_ORIGIN = "The completion preferred over all others (origin preferred), and the refinements that count as chosen."
PROMPT_COMPLETION = Shape(
    "prompt-completion",
    pa.schema([*_IDS, ("prompt", MESSAGES), ("completion", MESSAGES), ("origin", pa.string()), *_WHO]),
    f"Prompts with the completion to learn. {_ORIGIN}",
)
LANGUAGE_MODELLING = Shape(
    "language-modelling",
    pa.schema([*_IDS, ("messages", MESSAGES), ("origin", pa.string()), *_WHO]),
    f"Whole chats to learn. {_ORIGIN}",
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A completion to learn from: whole, with who wanted it (pseudonyms) and of which source they are."""

    id: str
    prompt: Sequence[Message]
    completion: str
    source: str
    annotators: Sequence[str]
    split: str


def plain(prompt: Sequence[Message]) -> list[Message]:
    """The messages of a prompt with nothing but role and content."""
    return [{"role": message["role"], "content": message["content"]} for message in prompt]


def reply(text: str) -> list[Message]:
    """A completion as chat."""
    return [{"role": "assistant", "content": text}]


def unpaired_row(wanted: Wanted, *, wins: int, losses: int) -> dict[str, Any]:
    """A row of :data:`UNPAIRED`. Raises ValueError when wins and losses are even."""
    if wins == losses:
        raise ValueError("an even completion is neither desirable nor undesirable")
    texts = {"prompt": plain(wanted.prompt), "completion": reply(wanted.completion)}
    return {**_common(wanted), **texts, "label": wins > losses, "wins": wins, "losses": losses}


def prompt_completion_row(wanted: Wanted, origin: Origin) -> dict[str, Any]:
    """A row of :data:`PROMPT_COMPLETION`."""
    texts = {"prompt": plain(wanted.prompt), "completion": reply(wanted.completion)}
    return {**_common(wanted), **texts, "origin": origin}


def language_modelling_row(wanted: Wanted, origin: Origin) -> dict[str, Any]:
    """A row of :data:`LANGUAGE_MODELLING`."""
    messages = [*plain(wanted.prompt), *reply(wanted.completion)]
    return {**_common(wanted), "messages": messages, "origin": origin}


def _common(wanted: Wanted) -> dict[str, Any]:
    return {
        "id": wanted.id,
        "prompt_id": prompt_hash(wanted.prompt),
        "source": wanted.source,
        "annotators": list(wanted.annotators),
        "split": wanted.split,
    }
