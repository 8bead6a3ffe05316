"""What becomes of a reply: what it says, or an abstention and why."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from routing.judge.config import Order
from routing.judge.said import Said

Position = Literal["first", "second", "tie"]
AbstentionReason = Literal[
    "empty", "refusal", "truncated", "not_json", "wrong_schema", "timeout", "connection", "status", "redirect",
    "too_large", "bad_reply", "refused_address", "circuit_open", "no_such_quote", "too_long",
]  # fmt: skip

MOST_REASON_CHARS = 4000
# PostgreSQL stores neither NUL nor lone surrogates.
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """The text with what no database takes replaced by U+FFFD."""
    return UNSTORABLE.sub("\ufffd", text)


@dataclass(frozen=True)
class Abstention:
    """No verdict, and why. `detail` is for the log: bounded, never a secret."""

    reason: AbstentionReason
    detail: str = ""


@dataclass(frozen=True)
class TokenLogprob:
    """One token of a reply, with the log-probabilities of the likeliest tokens at its place (itself included)."""

    token: str
    top: Mapping[str, float]


@dataclass(frozen=True)
class ParsedVerdict:
    """What a reply says. By position of a pair: `p_first` = P(first preferred), None where it did not compare two;
    `attention` = probability mass on valid options. By stored index: `said`."""

    position: Position | None
    p_first: float | None
    strength: float
    reason: str
    attention: float | None = None
    said: Said = field(default_factory=Said)

    def p_a(self, order: Order) -> float | None:
        """P(completion a preferred), given which one was shown first."""
        if self.p_first is None:
            return None
        return self.p_first if order == "ab" else 1.0 - self.p_first
