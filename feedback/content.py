"""What a message or a completion holds: text, or a list of parts, each text or a file of the task. Pure.

A part is ``{"type": "text", "text"}``, or ``{"type": "image" | "audio" | "video", "file", "alt"}`` with the name of a
media file of the task. The text of such a list is its text parts, joined by a blank line; spans count in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

MEDIA_KINDS = ("image", "audio", "video")
MAX_PARTS = 40


def text_of(content: Any) -> str:
    """The text of a content."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n\n".join(part["text"] for part in parts if part.get("type") == "text")


def media_of(content: Any) -> list[dict[str, Any]]:
    """The parts of a content that are not text, in their order."""
    parts = content if isinstance(content, list) else []
    return [part for part in parts if part.get("type") in MEDIA_KINDS]


def media_kinds(prompt: Sequence[Mapping[str, Any]], completions: Sequence[Mapping[str, Any]]) -> dict[int, list[str]]:
    """The kinds of the media of each text that shows some, by its target: a completion's index, or -1 - m for message
    m of the prompt."""
    holders = {-1 - number: message for number, message in enumerate(prompt)} | dict(enumerate(completions))
    kinds = {target: [part["type"] for part in media_of(one.get("content"))] for target, one in holders.items()}
    return {target: found for target, found in kinds.items() if found}


def passages_of(meta: Mapping[str, Any]) -> list[Any]:
    """The passages that an instance brings (``meta.passages``), each ``{"title", "sentences"}`` or
    ``{"title", "text"}``."""
    passages = meta.get("passages")
    return passages if isinstance(passages, list) else []


def passage_sentences(passage: Any) -> list[str]:
    """The sentences of a passage, where it comes as such."""
    sentences = passage.get("sentences") if isinstance(passage, Mapping) else None
    return [str(sentence) for sentence in sentences] if isinstance(sentences, list) else []


def passage_text(passage: Any) -> str:
    """The source in which offsets of a passage count: its text, then its sentences with a space between them, and a
    blank line between the two."""
    text = text_of(passage.get("text")) if isinstance(passage, Mapping) else ""
    return "\n\n".join(one for one in (text, " ".join(passage_sentences(passage))) if one)


@dataclass(frozen=True)
class Shown:
    """What an instance shows, as far as answers point into it; ``None`` where that is not known.

    ``completions``, ``prompt`` and ``passages`` are the source texts in which offsets count, ``media`` the kinds of the
    media of each text that shows some (see :func:`media_kinds`), ``sentences`` how many sentences each passage has.
    """

    completions: Sequence[str]
    prompt: Sequence[str] = ()
    passages: Sequence[str] | None = None
    sentences: Sequence[int] | None = None
    media: Mapping[int, Sequence[str]] | None = None

    @classmethod
    def by(
        cls, prompt: Sequence[Mapping[str, Any]], completions: Sequence[Mapping[str, Any]], meta: Mapping[str, Any]
    ) -> Self:
        """What an instance of these messages, completions and passages shows."""
        passages = passages_of(meta)
        return cls(
            completions=[text_of(completion["content"]) for completion in completions],
            prompt=[text_of(message["content"]) for message in prompt],
            passages=[passage_text(passage) for passage in passages],
            sentences=[len(passage_sentences(passage)) for passage in passages],
            media=media_kinds(prompt, completions),
        )


def files_named(messages: Iterable[Mapping[str, Any]]) -> set[str]:
    """The names of all media files in the contents of messages or completions."""
    return {part["file"] for message in messages for part in media_of(message.get("content"))}
