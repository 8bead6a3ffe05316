"""Win rates, also at equal lengths, where reward and preference part, and how alike completions are."""

from __future__ import annotations

import numpy as np
import pytest

from feedback.aggregation.length_control import length_controlled
from training.evaluation.diversity import Drawing, distinct, diversity, jaccard
from training.evaluation.winrate import Comparison, mismatch, win_rate


def said(
    outcome: float, *, gap: float | None = None, prompt: str = "p", lengths: tuple[int, int] = (5, 5)
) -> Comparison:
    return Comparison(prompt, "a", "b", outcome, *lengths, gap)


def test_a_tie_counts_one_half() -> None:
    found = win_rate([said(1.0, prompt="p"), said(0.5, prompt="q"), said(0.0, prompt="r"), said(1.0, prompt="s")])
    assert (found["wins"], found["ties"], found["losses"], found["rate"]) == (2, 1, 1, 0.625)
    assert found["low"] <= 0.625 <= found["high"]
    assert found["length_controlled"] is None
    assert win_rate([])["rate"] is None


def test_a_few_wins_leave_the_rate_open_and_so_do_many_of_one_prompt() -> None:
    few = win_rate([said(1.0, prompt=name) for name in "pqr"])
    assert few["low"] == pytest.approx(0.4385, abs=1e-4)  # Wilson's for 3 of 3
    assert win_rate([said(1.0)] * 60)["low"] == pytest.approx(0.2065, abs=1e-4)  # and for 1 of 1
    assert win_rate([said(1.0, prompt=str(number)) for number in range(40)])["low"] == 1
    agreed = mismatch([said(1.0, gap=2.0, prompt=name) for name in "pqr"])
    assert agreed is not None
    assert agreed["low"] == few["low"]


def test_without_differences_of_length_the_controlled_rate_is_the_rate() -> None:
    outcomes = np.array([1.0] * 30 + [0.0] * 10)
    assert length_controlled(outcomes, np.zeros(40)) == pytest.approx(0.75, abs=1e-3)


def test_a_model_that_wins_by_length_alone_wins_half_at_equal_length() -> None:
    generator = np.random.default_rng(0)
    gaps = generator.normal(size=4000) + 1  # it writes longer texts
    chance = 1 / (1 + np.exp(-2 * np.tanh(gaps / gaps.std())))
    outcomes = (generator.random(4000) < chance).astype(float)
    assert outcomes.mean() > 0.65
    assert length_controlled(outcomes, gaps) == pytest.approx(0.5, abs=0.04)


def test_perfect_separation_stays_finite() -> None:
    assert 0 < length_controlled(np.ones(20), np.arange(20.0)) < 1


def test_a_reward_that_puts_the_wrong_model_first_is_said_to() -> None:
    found = mismatch([said(1.0, gap=-1.0), said(1.0, gap=-3.0), said(0.0, gap=-2.0), said(0.5, gap=9.0), said(1.0)])
    assert found is not None
    assert (found["pairs"], found["agreement"]) == (3, pytest.approx(1 / 3))
    assert (found["mean_gap"], found["mean_gap_wrong"], found["reward"]) == (2.0, 2.0, -2.0)
    assert found["contradicts"]
    assert mismatch([said(1.0), said(0.5, gap=1.0)]) is None


def test_completions_that_repeat_are_told_from_those_that_differ() -> None:
    same = Drawing(("a b c", "a b c"), (3, 3), (True, False))
    other = Drawing(("d e", ""), (2, 0), (True, True))
    found = diversity([same, other])
    assert (found["completions"], found["repeated"], found["unfinished"], found["empty"]) == (4, 0.5, 0.25, 0.25)
    assert found["self_similarity"] == pytest.approx(0.5)
    assert found["distinct_1"] == pytest.approx(5 / 8)
    assert found["mean_tokens"] == 2
    assert diversity([])["distinct_1"] is None


def test_overlap_by_hand() -> None:
    assert jaccard(["a", "b", "c"], ["b", "c", "d"]) == pytest.approx(1 / 3)
    assert jaccard(["a"], ["a", "b"]) == 0.5
    assert jaccard([], []) == 1.0
    assert distinct([["a", "a", "a"]], 2) == 0.5
    assert distinct([["a"]], 2) is None
