"""From what annotators said to one preference per pair of completions. Pure.

A *comparison* is one annotator's word on one pair ``(i, j)`` of an instance: a signed strength (negative: ``i`` is
better, 0 a tie, positive: ``j``), or ``None`` for *both bad* and *cannot judge*, which say nothing about the order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Any, Literal

from feedback.questions import BOTH_BAD, CANNOT_JUDGE, PreferenceQuestion, Question, RankingQuestion, preference_values

Pair = tuple[int, int]
Expansion = Literal["all", "adjacent", "best-worst"]
Drop = Literal["tie", "split", "both bad", "cannot judge", "too few annotations"]
A, TIE, B = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Comparison:
    """``annotator`` is any id; ``p_a`` is a judge's own probability that the first completion is better."""

    annotator: int
    source: str
    strength: int | None
    both_bad: bool = False
    p_a: float | None = None

    @property
    def label(self) -> int | None:
        """``A``, ``TIE`` or ``B``; ``None`` when it says nothing about the order."""
        return None if self.strength is None else 1 + (self.strength > 0) - (self.strength < 0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The aggregate of one pair. ``label`` is ``A``, ``TIE`` or ``B``; ``p_a`` P(first is better), ties half;
    ``strength`` the mean signed strength; ``agreement`` the share of comparisons that say ``label``."""

    label: int
    p_a: float
    strength: float
    agreement: float
    split: bool
    used: tuple[Comparison, ...]


def comparisons(
    question: Question, answers: Mapping[str, Any], n_completions: int, rule: Expansion = "all"
) -> dict[Pair, tuple[int | None, bool]] | None:
    """``{pair: (strength, both bad)}`` of one annotation; ``None`` when it does not answer ``question`` as it is now.

    A preference speaks of the pair (0, 1) of exactly two completions; a ranking of the pairs that ``rule`` takes of
    those that it ranks, with strength −1, 0 or 1: ``all`` of them, ``adjacent`` ones (of the same or the next rank),
    or ``best-worst`` (of the first against the last rank).
    """
    answer = answers.get(question.name)
    if not isinstance(answer, Mapping):
        return None
    if isinstance(question, PreferenceQuestion):
        signed = _strengths(question.steps)
        value = answer.get("value")
        if n_completions != 2 or value not in signed:
            return None
        return {(0, 1): (signed[value], value == BOTH_BAD)}
    if isinstance(question, RankingQuestion):
        rank = {index: place for place, group in enumerate(answer.get("groups", [])) for index in group}
        ranked = combinations(sorted(index for index in rank if 0 <= index < n_completions), 2)
        pairs = (pair for pair in ranked if _taken(rank[pair[0]], rank[pair[1]], len(answer.get("groups", [])), rule))
        return {(i, j): ((rank[i] > rank[j]) - (rank[i] < rank[j]), False) for i, j in pairs}
    return None


def _taken(one: int, other: int, n_ranks: int, rule: Expansion) -> bool:
    """Whether a rule takes the pair of two ranks, counted from 0."""
    if rule == "adjacent":
        return abs(one - other) <= 1
    return rule == "all" or (one != other and {one, other} == {0, n_ranks - 1})


@cache
def _strengths(steps: int) -> dict[Any, int | None]:
    signed: dict[Any, int | None] = {value: n - steps // 2 for n, value in enumerate(preference_values(steps))}
    return signed | {BOTH_BAD: None, CANNOT_JUDGE: None}


def of_source(said: Sequence[Comparison], wanted: str) -> list[Comparison]:
    """The comparisons that count: ``human`` (people, simulated ones too), ``judge``, or ``any``: people where they
    annotated the pair, otherwise the judge."""
    people = [one for one in said if one.source != "judge"]
    judges = [one for one in said if one.source == "judge"]
    if wanted == "human":
        return people
    if wanted == "judge":
        return judges
    return people or judges


def outcome(
    said: Sequence[Comparison], *, minimum: int = 1, posterior: Sequence[float] | None = None
) -> Outcome | Drop:
    """The aggregate of the comparisons of one pair, or why there is none.

    Without ``posterior`` (P(a), P(tie), P(b) from a model of annotators) the majority decides; a shared first place
    is a tie. *Both bad* from more than half drops the pair; *cannot judge* is no vote.
    """
    voting = tuple(one for one in said if one.strength is not None)
    bad = sum(one.both_bad for one in said)
    if bad * 2 > bad + len(voting):
        return "both bad"
    if not voting:
        return "cannot judge" if said else "too few annotations"
    if len(voting) < minimum:
        return "too few annotations"
    counts = [0.0, 0.0, 0.0]
    for one in voting:
        counts[one.label or 0] += 1
    mass = list(posterior) if posterior is not None else [count / len(voting) for count in counts]
    label, split = _mode(mass)
    p_a = _told(voting, label)
    if p_a is None:
        p_a = mass[A] + mass[TIE] / 2
    mean = sum(one.strength or 0 for one in voting) / len(voting)
    return Outcome(label, p_a, mean, counts[label] / len(voting), split, voting)


def weighed(said: Sequence[Comparison], p_a: float, *, minimum: int = 1) -> Outcome | Drop:
    """The aggregate of judges' and people's comparisons of one pair whose probability was weighed elsewhere: ``p_a``,
    P(the first is better), names the side; one half is a tie. Dropped as :func:`outcome` drops.

    Raises ValueError unless 0 ≤ p_a ≤ 1.
    """
    if not 0.0 <= p_a <= 1.0:
        raise ValueError("a probability lies between 0 and 1")
    counted = outcome(said, minimum=minimum)
    if not isinstance(counted, Outcome):
        return counted
    label = TIE if p_a == 0.5 else A if p_a > 0.5 else B
    agreement = sum(one.label == label for one in counted.used) / len(counted.used)
    people_first = tuple(sorted(counted.used, key=lambda one: one.source == "judge"))
    return Outcome(label, p_a, counted.strength, agreement, False, people_first)


def _told(voting: Sequence[Comparison], label: int) -> float | None:
    """The judges' own mean probability, when all of them gave one and it is on the side of ``label``."""
    told = [one.p_a for one in voting if one.p_a is not None]
    if len(told) < len(voting):
        return None
    mean = sum(told) / len(told)
    return mean if label == TIE or (mean >= 0.5) == (label == A) else None


def _mode(mass: Sequence[float]) -> tuple[int, bool]:
    best = max(mass)
    first = [label for label in (A, TIE, B) if mass[label] >= best - 1e-9]
    return (first[0], False) if len(first) == 1 else (TIE, True)
