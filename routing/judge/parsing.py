"""From what a judge wrote to a verdict, or to an abstention. A reply outside the schema never has a winner."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from routing.judge.config import JudgeConfig, Order
from routing.judge.prompts import HIGHEST_RATING, LOWEST_RATING

Position = Literal["first", "second", "tie"]
AbstentionReason = Literal[
    "empty", "refusal", "truncated", "not_json", "wrong_schema", "timeout", "connection", "status", "redirect",
    "too_large", "bad_reply", "refused_address", "circuit_open",
]  # fmt: skip

POSITIONS: tuple[Position, ...] = ("first", "second", "tie")
MOST_REASON_CHARS = 4000
MOST_NESTING = 8
RATING_SCALE = 2.0
LEAST_ATTENTION = 0.5
FENCED_JSON = re.compile(r"\A\s*```(?:json)?\s*\n(.*)\n```\s*\Z", re.DOTALL)
VERDICT_VALUE = re.compile(r'"verdict"\s*:\s*"')


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
    """A verdict by position. `p_first` = P(first preferred); `attention` = probability mass on valid options."""

    position: Position
    p_first: float
    strength: float
    reason: str
    attention: float | None = None

    def p_a(self, order: Order) -> float:
        """P(completion a preferred), given which one was shown first."""
        return self.p_first if order == "ab" else 1.0 - self.p_first


def parse_reply(text: str, config: JudgeConfig, logprobs: Sequence[TokenLogprob] = ()) -> ParsedVerdict | Abstention:
    """Read one reply strictly: exactly one JSON object with exactly the fields of the schema, duplicates refused.

    A ```json fence around the whole object is allowed, as endpoints without constrained output add it. Where log-probs
    put at least half their mass on valid options, p_first comes from them, else from verdict and strength.
    """
    if not text.strip():
        return Abstention("empty")
    fenced = FENCED_JSON.match(text)
    try:
        value = json.loads(fenced[1] if fenced else text, object_pairs_hook=_unique_pairs, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        return Abstention("not_json", str(error)[:200])
    if not isinstance(value, dict) or _depth(value) > MOST_NESTING:
        return Abstention("wrong_schema", "The reply is not one flat object.")
    return _parse_rating(value) if config.shape == "rating" else _parse_pairwise(value, text, config, logprobs)


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("A field is given twice.")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON.")


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max((_depth(child) for child in value.values()), default=0)
    if isinstance(value, list):
        return 1 + max((_depth(child) for child in value), default=0)
    return 0


def _parse_pairwise(
    value: dict[str, Any], text: str, config: JudgeConfig, logprobs: Sequence[TokenLogprob]
) -> ParsedVerdict | Abstention:
    if set(value) != {"reason", "verdict", "strength"} or not isinstance(value["reason"], str):
        return Abstention("wrong_schema", "Expected exactly reason, verdict and strength.")
    verdict, strength = value["verdict"], value["strength"]
    allowed = POSITIONS if config.allow_ties else POSITIONS[:2]
    if verdict not in allowed or strength not in ("slightly", "clearly"):
        return Abstention("wrong_schema", "The verdict or the strength is not one of the options.")
    side = {"first": 1.0, "second": -1.0, "tie": 0.0}[verdict]
    p_strong = config.p_clearly if strength == "clearly" else config.p_slightly
    p_first = 0.5 + side * (p_strong - 0.5)
    attention, p_tokens = _option_mass(text, logprobs, allowed)
    if p_tokens is not None and attention is not None and attention >= LEAST_ATTENTION:
        p_first = p_tokens
    steps = 2.0 if strength == "clearly" else 1.0
    return ParsedVerdict(verdict, p_first, side * steps, value["reason"][:MOST_REASON_CHARS], attention)


def _option_mass(
    text: str, logprobs: Sequence[TokenLogprob], allowed: Sequence[Position]
) -> tuple[float | None, float | None]:
    """(mass on valid options, P(first) with a tie counted half) at the token where the verdict's value starts."""
    matches = list(VERDICT_VALUE.finditer(text))
    if not logprobs or len(matches) != 1:
        return None, None
    top = _tokens_at(logprobs, matches[0].end())
    masses = dict.fromkeys(allowed, 0.0)
    for token, logprob in top.items():
        option = _option_of(token, allowed)
        if option is not None and logprob <= 1e-6:
            masses[option] += math.exp(min(logprob, 0.0))
    total = sum(masses.values())
    if total <= 0.0:
        return 0.0, None
    share = (masses["first"] + 0.5 * masses.get("tie", 0.0)) / total
    return min(total, 1.0), share


def _tokens_at(logprobs: Sequence[TokenLogprob], offset: int) -> Mapping[str, float]:
    end = 0
    for entry in logprobs:
        end += len(entry.token)
        if end > offset:
            return entry.top
    return {}


def _option_of(token: str, allowed: Sequence[Position]) -> Position | None:
    bare = token.strip(' \n\t":,}')
    if not bare:
        return None
    return next((option for option in allowed if option.startswith(bare)), None)


def _parse_rating(value: dict[str, Any]) -> ParsedVerdict | Abstention:
    if set(value) != {"reason", "first", "second"} or not isinstance(value["reason"], str):
        return Abstention("wrong_schema", "Expected exactly reason, first and second.")
    first, second = value["first"], value["second"]
    if not (_is_rating(first) and _is_rating(second)):
        return Abstention("wrong_schema", "A rating is not a whole number on the scale.")
    gap = first - second
    position: Position = "tie" if gap == 0 else "first" if gap > 0 else "second"
    p_first = 1.0 / (1.0 + math.exp(-gap / RATING_SCALE))
    strength = math.copysign(2.0 if abs(gap) >= 3 else 1.0, gap) if gap else 0.0
    return ParsedVerdict(position, p_first, strength, value["reason"][:MOST_REASON_CHARS])


def _is_rating(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and LOWEST_RATING <= value <= HIGHEST_RATING
