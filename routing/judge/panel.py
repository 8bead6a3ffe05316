"""Several judges on one instance as one verdict. Where they disagree too much, a person is asked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

from routing.judge.asking import Ask
from routing.judge.said import EVEN, Said, groups_of, merged, same_order
from routing.judge.verdict import Verdict, logit


def combine_members(members: Sequence[Verdict], ask: Ask, least_agreement: float) -> tuple[Verdict, float | None]:
    """(the panel's verdict, the share of members on its side; None when fewer than two answered).

    P(a) is the mean of the members' logits; what is not a probability is merged by
    :func:`routing.judge.said.merged`. More than half of the members have to answer, else the panel abstains; a person
    is asked where fewer than ``least_agreement`` of those who answered are on the panel's side. Raises ValueError
    without members.
    """
    if not members:
        raise ValueError("A panel needs members.")
    heard = [one for one in members if one.answered]
    answered = 2 * len(heard) > len(members)
    abstentions = tuple(reason for one in members if not one.answered for reason in one.abstentions)
    if not answered:
        return _empty(abstentions), None
    said = merged(ask, [one.said for one in heard if one.said])
    known = [one for one in heard if one.p_a is not None]
    p_a = (
        1 / (1 + math.exp(-sum(logit(one.p_a) for one in known if one.p_a is not None) / len(known))) if known else None
    )
    side = _side(p_a)
    voters = [one for one in known if side == 0 or _side(one.p_a) == side]
    agreement = _agreement(heard, said) if p_a is None else _share(known, side)
    orders = [one.order_consistent for one in heard if one.order_consistent is not None]
    split = agreement is not None and agreement < least_agreement - EVEN
    verdict = Verdict(
        p_a=p_a,
        p_ab=None,
        p_ba=None,
        tie=p_a is not None and side == 0,
        strength=sum(one.strength for one in known) / len(known) if known else 0.0,
        order_consistent=all(orders) if orders else None,
        self_consistency=None,
        attention=None,
        needs_person=split or not all(orders),
        abstentions=abstentions,
        rationale="\n\n".join(dict.fromkeys(one.rationale for one in (voters or heard) if one.rationale)),
        cost=Decimal(0),
        said=said,
    )
    return verdict, agreement if len(heard) > 1 else None


def _empty(abstentions: tuple[str, ...]) -> Verdict:
    return Verdict(
        p_a=None,
        p_ab=None,
        p_ba=None,
        tie=False,
        strength=0.0,
        order_consistent=None,
        self_consistency=None,
        attention=None,
        needs_person=True,
        abstentions=abstentions,
        rationale="",
        cost=Decimal(0),
    )


def _side(p: float | None) -> int:
    return 0 if p is None or abs(p - 0.5) < EVEN else 1 if p > 0.5 else -1


def _share(known: Sequence[Verdict], side: int) -> float:
    return sum(_side(one.p_a) == side for one in known) / len(known)


def _agreement(heard: Sequence[Verdict], said: Said) -> float | None:
    """The share that orders the completions as the panel does, or that chose what it chose; None for mere texts."""
    if said.scores and all(one.said and one.said.scores for one in heard):
        order = {place: -float(rank) for rank, group in enumerate(groups_of(said.scores)) for place in group}
        return sum(bool(one.said and same_order(one.said.scores, order)) for one in heard) / len(heard)
    if any(one.said and one.said.choices for one in heard):
        same = [one.said.choices == said.choices for one in heard if one.said]
        return sum(same) / len(same)
    return None
