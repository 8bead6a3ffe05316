"""From what a judge wrote to a verdict, or to an abstention. A reply outside the schema never has a winner."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from routing.judge.asking import PAIR_ASK, Ask, View
from routing.judge.config import PAIR_SHAPES, JudgeConfig
from routing.judge.outcome import MOST_REASON_CHARS, Abstention, ParsedVerdict, Position, TokenLogprob, storable
from routing.judge.reading import read_said
from routing.judge.said import Said

POSITIONS: tuple[Position, ...] = ("first", "second", "tie")
MOST_NESTING = 8
LEAST_ATTENTION = 0.5
FENCED_JSON = re.compile(r"\A\s*```(?:json)?\s*\n(.*)\n```\s*\Z", re.DOTALL)
VERDICT_VALUE = re.compile(r'"verdict"\s*:\s*"')
A_PAIR = View(("", ""), (0, 1))


def parse_reply(
    text: str, config: JudgeConfig, logprobs: Sequence[TokenLogprob] = (), *, ask: Ask = PAIR_ASK, view: View = A_PAIR
) -> ParsedVerdict | Abstention:
    """Read one reply strictly: exactly one JSON object with exactly the fields of the schema, duplicates refused.

    A ```json fence around the whole object is allowed, as endpoints without constrained output add it. Where log-probs
    put at least half their mass on valid options, p_first comes from them, else from verdict and strength.
    """
    value = read_object(text)
    if isinstance(value, Abstention):
        return value
    if config.shape in PAIR_SHAPES:
        return _parse_decision(value, text, config, logprobs, view)
    return read_said(value, config, ask, view)


def read_object(text: str) -> dict[str, Any] | Abstention:
    """The one JSON object that a reply is, its texts storable; or why it is none."""
    if not text.strip():
        return Abstention("empty")
    fenced = FENCED_JSON.match(text)
    try:
        value = json.loads(fenced[1] if fenced else text, object_pairs_hook=_unique_pairs, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        return Abstention("not_json", storable(str(error))[:200])
    if not isinstance(value, dict) or _too_deep(value):
        return Abstention("wrong_schema", "The reply is not one flat object.")
    return {storable(name): _storable(one) for name, one in value.items()}


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("A field is given twice.")
    return found


def _storable(value: Any) -> Any:
    if isinstance(value, dict):
        return {storable(name): _storable(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_storable(one) for one in value]
    return storable(value) if isinstance(value, str) else value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON.")


def _too_deep(value: Any) -> bool:
    """Whether a value holds more than MOST_NESTING levels; level by level, so that no depth exhausts the stack."""
    level = [value]
    for _ in range(MOST_NESTING + 1):
        inside = [one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list)]
        if not inside:
            return False
        level = [child for one in inside for child in one]
    return True


def _parse_decision(
    value: dict[str, Any], text: str, config: JudgeConfig, logprobs: Sequence[TokenLogprob], view: View
) -> ParsedVerdict | Abstention:
    """A reply of one of the shapes that decide between the first and the second completion."""
    beside = _beside(value, config, view)
    if isinstance(beside, Abstention):
        return beside
    reason, said = beside
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
    return ParsedVerdict(verdict, p_first, side * steps, reason[:MOST_REASON_CHARS], attention, said)


def _beside(value: dict[str, Any], config: JudgeConfig, view: View) -> tuple[str, Said] | Abstention:
    """The reason of a decision and what else its shape asks for, when it has exactly the fields of that shape."""
    texts = ("own_answer", "critique_first", "critique_second") if config.shape == "self-reference" else ("reason",)
    extra = {"principles"} if config.shape == "principles" else set()
    if set(value) != {*texts, *extra, "verdict", "strength"} or not all(isinstance(value[name], str) for name in texts):
        return Abstention("wrong_schema", f"Expected exactly {', '.join([*texts, *sorted(extra)])}, verdict, strength.")
    if config.shape == "self-reference":
        words = f"First: {value['critique_first']}\n\nSecond: {value['critique_second']}"
        return words, Said(own_answer=value["own_answer"][:MOST_REASON_CHARS])
    if config.shape != "principles":
        return value["reason"], Said()
    kept, count = value["principles"], min(config.principles_drawn, len(config.principles))
    names = {f"principle_{number}" for number in range(1, count + 1)}
    if not isinstance(kept, dict) or set(kept) != names or any(one not in POSITIONS for one in kept.values()):
        return Abstention("wrong_schema", "Expected one of the options for each principle.")
    letters = {"first": "ab"[view.places[0]], "second": "ab"[view.places[1]], "tie": "tie"}
    return value["reason"], Said(principles={name: letters[side] for name, side in kept.items()})


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
