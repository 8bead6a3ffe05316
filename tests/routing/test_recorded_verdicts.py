"""Recorded judges of public sets, read and debiased by our code: the figures are those of the sets' descriptions."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

from feedback.formats.llmbar import read_llmbar
from feedback.formats.records import ImportedInstance, ReadOptions
from feedback.formats.vicuna80 import read_vicuna80
from feedback.questions import parse_questions, strength
from routing.judge.calling import CallResult
from routing.judge.config import JudgeConfig
from routing.judge.outcome import ParsedVerdict
from routing.judge.verdict import Verdict, combine_calls
from tests.conftest import shared_data

pytestmark = pytest.mark.slow
CONFIG = JudgeConfig(name="recorded")
STRENGTH = {"a": 0.9, "tie": 0.5, "b": 0.1}


def side_of(answers: dict[str, Any]) -> str | None:
    """`a`, `b` or `tie` of the one preference that a reader made; None for an abstention."""
    for answer in answers.values():
        signed = strength(answer["value"], 5)
        return None if signed is None else "tie" if not signed else "a" if signed < 0 else "b"
    return None


def call(order: str, side: str) -> CallResult:
    """A recorded verdict as the call that it was: by position, as the judge saw the pair."""
    p_a = STRENGTH[side]
    p_first = p_a if order == "ab" else 1 - p_a
    position = "tie" if side == "tie" else "first" if p_first > 0.5 else "second"
    outcome = ParsedVerdict(position, p_first, 4 * p_first - 2, "")  # type: ignore[arg-type]
    return CallResult(order, 0, outcome, "", None, Decimal(0), True, 0.0, 1, False, "")  # type: ignore[arg-type]


def sides(instance: ImportedInstance) -> dict[str, dict[str, str]]:
    """Judge → order → side, of the verdicts that could be read."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for one in instance.annotations:
        side = side_of(one.answers) if one.source == "judge" else None
        if side:
            found[one.annotator][one.order or "ab"] = side
    return found


def people(instance: ImportedInstance) -> list[str]:
    votes = [side_of(one.answers) for one in instance.annotations if one.source == "human"]
    return [vote for vote in votes if vote]


def verdict(by_order: dict[str, str]) -> Verdict:
    return combine_calls([call(order, side) for order, side in by_order.items()], CONFIG)


@cache
def llmbar() -> tuple[ImportedInstance, ...]:
    rows = list(read_llmbar(shared_data("llmbar-judges") / "LLMBar", ReadOptions()))
    assert all(isinstance(row, ImportedInstance) for row in rows)
    return tuple(row for row in rows if isinstance(row, ImportedInstance))


@cache
def vicuna() -> tuple[ImportedInstance, ...]:
    rows = read_vicuna80(shared_data("vicuna80-human-judges"), ReadOptions())
    return tuple(row for row in rows if isinstance(row, ImportedInstance))


@pytest.mark.parametrize(
    ("subset", "judge", "accuracy"),
    [
        ("Natural", "GPT-4", 0.955), ("Natural", "PaLM2", 0.847), ("Natural", "ChatGPT", 0.815),
        ("Natural", "LLaMA2", 0.805), ("Neighbor", "GPT-4", 0.787), ("Neighbor", "PaLM2", 0.627),
        ("Neighbor", "LLaMA2", 0.246), ("Neighbor", "ChatGPT", 0.194), ("GPTOut", "GPT-4", 0.777),
        ("GPTOut", "ChatGPT", 0.415),
    ],
)  # fmt: skip
def test_llmbar_accuracy_over_both_orders_is_as_described(subset: str, judge: str, accuracy: float) -> None:
    right = [
        side == people(instance)[0]
        for instance in llmbar()
        if instance.meta["subset"] == subset
        for side in sides(instance)[f"{judge} Vanilla"].values()
    ]
    assert round(sum(right) / len(right), 3) == accuracy


def labelled_thrice() -> list[tuple[list[str], dict[str, str]]]:
    """(people's three labels, GPT-4's verdict by order) of the pairs that the description counts; the others are
    Claude's, with one label."""
    return [(votes, sides(one).get("gpt-4", {})) for one in vicuna() if len(votes := people(one)) == 3]


def test_vicuna_gpt4_keeps_its_verdict_after_swapping_as_described() -> None:
    rows = labelled_thrice()
    assert len(rows) == 1568
    same = [len(by) == 2 and by["ab"] == by["ba"] for _, by in rows]
    assert round(sum(same) / len(same), 3) == 0.588
    # ours says the same of every pair whose verdicts can be read, and nothing of the others
    for (_, by), kept in zip(rows, same, strict=True):
        assert (verdict(by).order_consistent if by else None) == (kept if len(by) == 2 else None)


def test_vicuna_people_agree_with_gpt4_in_the_same_order_as_described() -> None:
    pairs = [(vote, by.get("ab")) for votes, by in labelled_thrice() for vote in votes]
    assert (len(pairs), round(sum(a == b for a, b in pairs) / len(pairs), 3)) == (4704, 0.533)


def test_a_verdict_that_flips_with_the_order_is_a_tie_that_asks_for_a_person() -> None:
    flipped = [by["gpt-4"] for by in map(sides, vicuna()) if set(by.get("gpt-4", {}).values()) == {"a", "b"}]
    assert len(flipped) > 100
    for by in flipped:
        found = verdict(by)
        assert (found.tie, found.order_consistent, found.needs_person) == (True, False, True)


def test_debiased_verdicts_are_right_more_often_than_one_order_alone() -> None:
    """On the pairs where a side is left: GPT-4 of LLMBar's Neighbor, whose flips the debiasing makes ties."""
    rows = [(people(one)[0], sides(one)["GPT-4 Vanilla"]) for one in llmbar() if one.meta["subset"] == "Neighbor"]
    whole = [(gold, verdict(by)) for gold, by in rows if len(by) == 2]
    decided = [
        (gold, "a" if found.p_a > 0.5 else "b") for gold, found in whole if not found.tie and found.p_a is not None
    ]
    one_order = [gold == by["ab"] for gold, by in rows if "ab" in by]
    assert sum(g == s for g, s in decided) / len(decided) > sum(one_order) / len(one_order)


def test_the_preference_of_the_readers_has_five_steps() -> None:
    from feedback.formats import llmbar as reader

    question = parse_questions(reader.questions(ReadOptions()))[0]
    assert getattr(question, "steps", None) == 5
