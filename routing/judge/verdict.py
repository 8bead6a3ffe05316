"""Many calls about one pair → one verdict, with the pull of the side order taken out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from routing.judge.asking import PAIR_ASK, Ask
from routing.judge.calling import CallResult
from routing.judge.config import JudgeConfig, Order
from routing.judge.outcome import ParsedVerdict
from routing.judge.reading import CLEAR_GAP, RATING_STEPS, compared
from routing.judge.said import EVEN, Said, merged, same_order

EDGE = 1e-4


@dataclass(frozen=True)
class Verdict:
    """What a judge thinks of one instance. All probabilities are P(a preferred); None where it abstained, or where it
    was not asked to compare two completions; what else it says is in `said`, None for an abstention.

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
    said: Said | None = None

    @property
    def answered(self) -> bool:
        return self.said is not None


def logit(p: float) -> float:
    """ln(p / (1 − p)), with p kept 1e-4 away from 0 and 1 so that one saturated order cannot decide alone."""
    clipped = min(max(p, EDGE), 1.0 - EDGE)
    return math.log(clipped / (1.0 - clipped))


def debias(p_ab: float, p_ba: float) -> float:
    """σ((logit p[ab] + logit p[ba]) / 2): a bias that adds alike to the first side's logit in both orders cancels."""
    return 1.0 / (1.0 + math.exp(-(logit(p_ab) + logit(p_ba)) / 2.0))


def combine_calls(calls: Sequence[CallResult], config: JudgeConfig, ask: Ask = PAIR_ASK) -> Verdict:
    """The verdict of any number of calls: samples are averaged in logits within an order, then the orders debiased;
    what is not a probability is merged by :func:`routing.judge.said.merged`.

    An order, or a completion asked about alone, whose calls all abstained makes the whole verdict an abstention: the
    other order alone would carry its position bias. A tie is a verdict within `EVEN` of .5, or orders that conflict
    with |p − .5| below the tie band. Raises ValueError when there is no call.
    """
    if not calls:
        raise ValueError("A verdict needs at least one call.")
    heard = [call for call in calls if call.answered]
    whole = {(call.order, call.part) for call in heard} == {(call.order, call.part) for call in calls}
    said = merged(ask, _said(heard)) if whole else None
    alone = any(call.part is not None for call in calls)
    by_order = {order: _mean_p([call for call in heard if call.order == order]) for order in {c.order for c in heard}}
    p_ab, p_ba = by_order.get("ab"), by_order.get("ba")
    p_a, strength = _rated(said) if said and alone else (_overall(by_order), _mean_strength(heard)) if whole else _NONE
    consistent = _consistent(ask, heard, p_ab, p_ba)
    sure = _self_consistency(heard)
    return Verdict(
        p_a=p_a,
        p_ab=p_ab,
        p_ba=p_ba,
        tie=p_a is not None and _is_tie(p_a, consistent, config),
        strength=strength if p_a is not None else 0.0,
        order_consistent=consistent,
        self_consistency=sure,
        attention=_mean_attention(calls),
        needs_person=not whole or consistent is False or (sure is not None and sure < config.least_agreement),
        abstentions=tuple(call.parse_status for call in calls if not call.answered),
        rationale=_rationale(calls, p_a),
        cost=sum((call.cost for call in calls), Decimal(0)),
        said=said,
    )


_NONE: tuple[float | None, float] = (None, 0.0)


def _said(calls: Sequence[CallResult]) -> list[Said]:
    return [call.outcome.said for call in calls if isinstance(call.outcome, ParsedVerdict)]


def _rated(said: Said) -> tuple[float | None, float]:
    """(P(a), strength) of two completions that were rated each alone."""
    steps = RATING_STEPS if said.ratings else CLEAR_GAP
    _, p_a, strength = compared(said.scores, (0, 1), steps)
    return p_a, strength


def _consistent(ask: Ask, heard: Sequence[CallResult], p_ab: float | None, p_ba: float | None) -> bool | None:
    """Whether both orders say the same: the same side of two completions, the same order of more."""
    if p_ab is not None and p_ba is not None:
        return _side(p_ab) == _side(p_ba)
    replies = [_said([call for call in heard if call.order == order]) for order in ("ab", "ba")]
    if not all(replies):
        return None
    one, other = (merged(ask, said) for said in replies)
    if one.choices or other.choices:
        return one.choices == other.choices
    return same_order(one.scores, other.scores) if one.scores else None


def _mean_p(calls: Sequence[CallResult]) -> float | None:
    logits = [logit(call.p_a) for call in calls if call.p_a is not None]
    return 1.0 / (1.0 + math.exp(-sum(logits) / len(logits))) if logits else None


def _overall(by_order: dict[Order, float | None]) -> float | None:
    known = [p for p in by_order.values() if p is not None]
    if not known or len(known) < len(by_order):
        return None
    return debias(known[0], known[1]) if len(known) == 2 else known[0]


def _side(p: float) -> int:
    return 0 if abs(p - 0.5) < EVEN else 1 if p > 0.5 else -1


def _is_tie(p_a: float, consistent: bool | None, config: JudgeConfig) -> bool:
    return _side(p_a) == 0 or (consistent is False and abs(p_a - 0.5) < config.tie_band)


def _mean_strength(calls: Sequence[CallResult]) -> float:
    known = [call.strength_a for call in calls if call.strength_a is not None]
    return sum(known) / len(known) if known else 0.0


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
