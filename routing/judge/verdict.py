"""Many calls about one pair → one verdict, with the pull of the side order taken out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from routing.judge.calling import CallResult
from routing.judge.config import JudgeConfig, Order
from routing.judge.parsing import ParsedVerdict

EDGE = 1e-4
EVEN = 1e-9


@dataclass(frozen=True)
class Verdict:
    """What a judge thinks of one pair. All probabilities are P(a preferred); None where the judge abstained.

    `order_consistent` is None unless both orders were asked and answered. `strength` is signed towards a, −2…+2.
    """

    p_a: float | None
    p_ab: float | None
    p_ba: float | None
    tie: bool
    strength: float
    order_consistent: bool | None
    self_consistency: float | None
    attention: float | None
    needs_person: bool
    abstentions: tuple[str, ...]
    rationale: str
    cost: Decimal


def logit(p: float) -> float:
    """ln(p / (1 − p)), with p kept 1e-4 away from 0 and 1 so that one saturated order cannot decide alone."""
    clipped = min(max(p, EDGE), 1.0 - EDGE)
    return math.log(clipped / (1.0 - clipped))


def debias(p_ab: float, p_ba: float) -> float:
    """σ((logit p[ab] + logit p[ba]) / 2): a bias that adds alike to the first side's logit in both orders cancels."""
    return 1.0 / (1.0 + math.exp(-(logit(p_ab) + logit(p_ba)) / 2.0))


def combine_orders(call_ab: CallResult | None, call_ba: CallResult | None, config: JudgeConfig) -> Verdict:
    """The verdict of at most one call per order. Raises ValueError when both are missing."""
    return combine_calls([call for call in (call_ab, call_ba) if call is not None], config)


def combine_calls(calls: Sequence[CallResult], config: JudgeConfig) -> Verdict:
    """The verdict of any number of calls: samples are averaged in logits within an order, then the orders debiased.

    An order whose calls all abstained makes the whole verdict an abstention: the other order alone would carry its
    position bias. A tie is a verdict within `EVEN` of .5, or orders that conflict with |p − .5| below the tie band.
    Raises ValueError when there is no call.
    """
    if not calls:
        raise ValueError("A verdict needs at least one call.")
    asked: set[Order] = {call.order for call in calls}
    by_order = {order: _mean_p([call for call in calls if call.order == order]) for order in asked}
    p_ab, p_ba = by_order.get("ab"), by_order.get("ba")
    p_a = _overall(by_order)
    consistent = None if p_ab is None or p_ba is None else _side(p_ab) == _side(p_ba)
    return Verdict(
        p_a=p_a,
        p_ab=p_ab,
        p_ba=p_ba,
        tie=p_a is not None and _is_tie(p_a, consistent, config),
        strength=_mean_strength(calls) if p_a is not None else 0.0,
        order_consistent=consistent,
        self_consistency=_self_consistency(calls),
        attention=_mean_attention(calls),
        needs_person=p_a is None or consistent is False,
        abstentions=tuple(call.parse_status for call in calls if call.p_a is None),
        rationale=_rationale(calls, p_a),
        cost=sum((call.cost for call in calls), Decimal(0)),
    )


def _mean_p(calls: Sequence[CallResult]) -> float | None:
    logits = [logit(call.p_a) for call in calls if call.p_a is not None]
    return 1.0 / (1.0 + math.exp(-sum(logits) / len(logits))) if logits else None


def _overall(by_order: dict[Order, float | None]) -> float | None:
    known = [p for p in by_order.values() if p is not None]
    if len(known) < len(by_order):
        return None
    return debias(known[0], known[1]) if len(known) == 2 else known[0]


def _side(p: float) -> int:
    return 0 if abs(p - 0.5) < EVEN else 1 if p > 0.5 else -1


def _is_tie(p_a: float, consistent: bool | None, config: JudgeConfig) -> bool:
    return _side(p_a) == 0 or (consistent is False and abs(p_a - 0.5) < config.tie_band)


def _mean_strength(calls: Sequence[CallResult]) -> float:
    known = [call.strength_a for call in calls if call.strength_a is not None]
    return sum(known) / len(known)


def _self_consistency(calls: Sequence[CallResult]) -> float | None:
    """Mean over orders of the share of samples that agree with their order's commonest side; None without resamples."""
    shares = []
    for order in ("ab", "ba"):
        sides = [_side(call.p_a) for call in calls if call.order == order and call.p_a is not None]
        if len(sides) > 1:
            shares.append(max(sides.count(side) for side in (-1, 0, 1)) / len(sides))
    return sum(shares) / len(shares) if shares else None


def _mean_attention(calls: Sequence[CallResult]) -> float | None:
    outcomes = [call.outcome for call in calls if isinstance(call.outcome, ParsedVerdict)]
    known = [outcome.attention for outcome in outcomes if outcome.attention is not None]
    return sum(known) / len(known) if known else None


def _rationale(calls: Sequence[CallResult], p_a: float | None) -> str:
    """The reason given by the first call that sides with the verdict."""
    outcomes = [(call.p_a, call.outcome) for call in calls if isinstance(call.outcome, ParsedVerdict)]
    siding = [out.reason for p, out in outcomes if p is not None and p_a is not None and _side(p) == _side(p_a)]
    return siding[0] if siding else outcomes[0][1].reason if outcomes else ""
