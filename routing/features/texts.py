"""The text of an instance as the feature functions read it, and the tokens that they share."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TOKEN = re.compile(r"[^\W_]+")
# Longer texts are compared by their beginnings: features must stay cheap whatever a user imports.
MOST_CHARS = 8000


@dataclass(frozen=True)
class PairText:
    """A prompt with two completions. `turns` counts the user's messages in the prompt."""

    prompt: str
    a: str
    b: str
    turns: int = 1

    @classmethod
    def from_messages(cls, messages: Sequence[Mapping[str, str]], a: str, b: str) -> PairText:
        """From chat messages (`role`, `content`); contents are joined by blank lines, roles left out."""
        turns = sum(message["role"] == "user" for message in messages)
        return cls("\n\n".join(message["content"] for message in messages), a, b, max(turns, 1))


def content_key(pair: PairText) -> str:
    """What describing a pair depends on beside the recipe: SHA-256 (hex) of its texts, each with its length."""
    digest = hashlib.sha256()
    for text in (pair.prompt, pair.a, pair.b, str(pair.turns)):
        part = text.encode("utf-8", "surrogatepass")
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def tokens_of(text: str) -> list[str]:
    """Lower-case runs of letters and digits in the first 8,000 characters."""
    return TOKEN.findall(text[:MOST_CHARS].lower())
