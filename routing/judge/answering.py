"""A verdict as answers to the task's questions, in the form in which people's are stored (feedback.answers)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from feedback.questions import TIE, PreferenceQuestion, Scale, value_of_strength
from routing.judge.asking import Ask
from routing.judge.reading import RATING_STEPS, compared
from routing.judge.said import Said
from routing.judge.verdict import Verdict


def preference_value(p_a: float, strength: float, tie: bool, steps: int) -> str:
    """A judge's verdict on the scale of a question with ``steps`` steps.

    The side is that of ``p_a``; of ``h = steps // 2`` steps on a side it takes ⌊|strength| / 2 · h⌋, at least one:
    "clearly" in one order and "slightly" in the other is not clear.
    """
    if tie or p_a == 0.5:
        return TIE
    half = steps // 2
    level = min(max(math.floor(abs(strength) / 2.0 * half + 1e-9), 1), half)
    return value_of_strength(-level if p_a > 0.5 else level, steps)


def answers_of(ask: Ask, verdict: Verdict, count: int) -> dict[str, dict[str, Any]]:
    """``{question name: answer}`` about an instance with ``count`` completions; empty when the verdict answers none."""
    answers: dict[str, dict[str, Any]] = {}
    said = verdict.said
    if said is None:
        return answers
    if ask.preference and verdict.p_a is not None and count == 2:
        answers[ask.preference.name] = _preference(ask, ask.preference, verdict, said)
    if ask.ranking and (groups := _groups(ask, said, count)):
        answers[ask.ranking.name] = {"groups": groups}
    if ask.rating and (ratings := _ratings([scale.name for scale in ask.rating.scales], said, count)):
        answers[ask.rating.name] = {"ratings": ratings}
    if ask.critique and said.critiques:
        answers[ask.critique.name] = {"critiques": [said.critiques.get(place, "") for place in range(count)]}
        if said.refinements:
            refined = [said.refinements.get(place) for place in range(count)]
            answers[ask.critique.name]["refinements"] = refined
    if ask.span and said.critiques:
        answers[ask.span.name] = {"spans": [span.model_dump() for span in said.spans]}
    answers |= {q.name: {"values": list(said.choices[q.name])} for q in ask.choices if q.name in said.choices}
    return answers


def _preference(ask: Ask, question: PreferenceQuestion, verdict: Verdict, said: Said) -> dict[str, Any]:
    """The value, and where aspects were rated the side that each of the question's aspects prefers."""
    assert verdict.p_a is not None
    answer: dict[str, Any] = {"value": preference_value(verdict.p_a, verdict.strength, verdict.tie, question.steps)}
    by_name = {scale.name.casefold(): scale for scale in ask.scales}
    rated = {aspect: by_name[aspect.casefold()] for aspect in question.aspects if aspect.casefold() in by_name}
    # of a panel nobody may have rated: its member that rates can abstain while the others decide
    heard = {aspect: scale for aspect, scale in rated.items() if scale.name in said.ratings}
    aspects = {aspect: _aspect_value(scale, said.ratings, question.steps) for aspect, scale in heard.items()}
    return answer | ({"aspects": aspects} if aspects else {})


def _aspect_value(scale: Scale, ratings: Mapping[str, Mapping[int, int]], steps: int) -> str:
    shares = {place: (value - scale.low) / (scale.high - scale.low) for place, value in ratings[scale.name].items()}
    _, p_a, strength = compared(shares, (0, 1), RATING_STEPS)
    return TIE if p_a is None else preference_value(p_a, strength, False, steps)


def _groups(ask: Ask, said: Said, count: int) -> list[list[int]]:
    """The ranking; empty when there is none, or when orders that disagree made a tie that the question forbids."""
    groups = [list(group) for group in said.groups]
    ties = bool(ask.ranking and ask.ranking.allow_ties)
    whole = sum(map(len, groups)) == count
    return groups if whole and (ties or len(groups) == count) else []


def _ratings(names: Sequence[str], said: Said, count: int) -> dict[str, list[int | None]]:
    return {name: [said.ratings[name].get(place) for place in range(count)] for name in names if name in said.ratings}
