"""What a message or a completion holds: text, or a list of parts, each text or a file of the task. Pure.

A part is ``{"type": "text", "text"}``, or ``{"type": "image" | "audio" | "video", "file", "alt"}`` with the name of a
media file of the task. The text of such a list is its text parts, joined by a blank line; spans count in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

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


def files_named(messages: Iterable[Mapping[str, Any]]) -> set[str]:
    """The names of all media files in the contents of messages or completions."""
    return {part["file"] for message in messages for part in media_of(message.get("content"))}
