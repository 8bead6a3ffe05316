"""Dialogues written as one string, as in the HH set: ``"\\n\\nHuman: … \\n\\nAssistant: …"``."""

from __future__ import annotations

import re

from feedback.formats.records import BadRow, Content, Message

_TURN = re.compile(r"\n\n(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def is_dialogue(text: object) -> bool:
    """Whether ``text`` starts like an HH dialogue."""
    return isinstance(text, str) and text.startswith("\n\nHuman:") and "\n\nAssistant:" in text


def parse_dialogue(text: str, path: str = "dialogue") -> list[Message]:
    """Messages of an HH dialogue, contents stripped; two turns of one speaker in a row are joined by a blank line.

    Raises BadRow when text stands before the first turn.
    """
    before, *parts = _TURN.split(text)
    if before.strip() or not parts:
        raise BadRow(path, 'must start with "\\n\\nHuman:"')
    messages: list[Message] = []
    for speaker, content in zip(parts[::2], parts[1::2], strict=True):
        role = _ROLES[speaker]
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] = f"{messages[-1]['content']}\n\n{content.strip()}".strip()
        else:
            messages.append({"role": role, "content": content.strip()})
    return messages


def render_dialogue(messages: list[Message]) -> str:
    """The inverse, ending in ``"\\n\\nAssistant:"`` unless the assistant spoke last; system and tool text is named."""
    names = {"user": "Human", "assistant": "Assistant", "system": "System", "tool": "Tool"}
    text = "".join(f"\n\n{names[message['role']]}: {message['content']}" for message in messages)
    return text if messages and messages[-1]["role"] == "assistant" else f"{text}\n\nAssistant:"


def split_pair(chosen: list[Message], rejected: list[Message]) -> tuple[list[Message], Content, Content]:
    """``(prompt, chosen completion, rejected completion)`` of two chats that differ in their last assistant message.

    Raises BadRow when they part earlier, end on another role, or are equal.
    """
    for name, chat in (("chosen", chosen), ("rejected", rejected)):
        if len(chat) < 2 or chat[-1]["role"] != "assistant":
            raise BadRow(name, "must end with an assistant message after at least one other message")
    if chosen[:-1] != rejected[:-1]:
        hint = "A pair needs one shared prompt; remove the row."
        raise BadRow("rejected", "parts from the chosen dialogue before the last assistant message", hint)
    return chosen[:-1], chosen[-1]["content"], rejected[-1]["content"]
