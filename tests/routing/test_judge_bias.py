"""How a judge is held against people: shares by hand, calibration, win rates at equal length, two judges compared."""

from __future__ import annotations

import numpy as np
import pytest

from feedback.aggregation.length_control import length_controlled
from routing.judge.bias import (
    TIE,
    A,
    B,
    Both,
    agreement,
    by_slice,
    calibrated,
    compare,
    longer_share,
    share_of,
    win_rates,
)


def both(key: int, label: int, *votes: int, p_a: float | None = None, prompt: str = "", **more: object) -> Both:
    said = {A: 0.9, TIE: 0.5, B: 0.1}[label] if p_a is None else p_a
    return Both(key, prompt or f"p{key}", said, label, votes, **more)  # type: ignore[arg-type]


def test_a_share_has_wilsons_interval() -> None:
    found = share_of([True] * 8 + [False] * 2)
    assert (found.value, found.count) == (0.8, 10)
    assert (found.low, found.high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert share_of([]).value is None


def test_agreement_counts_each_persons_vote_and_ties_as_a_third_answer() -> None:
    rows = [both(0, A, A, A, B), both(1, TIE, TIE), both(2, B, A)]
    found = agreement(rows)
    assert (found.share.value, found.share.count) == (0.6, 5)
    # judge A A A TIE B, people A A B TIE A: agreement .6, by chance (3·3 + 1·1 + 1·1)/25 = .44
    assert found.kappa == pytest.approx((0.6 - 0.44) / 0.56)
    assert agreement([]).kappa is None


def test_slices_with_fewer_than_five_pairs_say_nothing() -> None:
    rows = [both(n, A, A if n % 2 else B, slices={"Task": "one" if n < 6 else "two"}) for n in range(9)]
    assert [(by, name, found.share.value) for by, name, found in by_slice(rows)] == [("Task", "one", 0.5)]


def test_calibration_is_fitted_on_other_prompts_than_it_is_tested_on() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for n in range(2000):
        stated = float(rng.choice([0.05, 0.3, 0.7, 0.95]))
        really = 0.5 + (stated - 0.5) / 2
        rows.append(both(n, A if stated > 0.5 else B, A if rng.random() < really else B, p_a=stated))
    found = calibrated(rows)
    assert found is not None
    # the judge overstates by half: the mean gap of .225 and .1
    assert found.error == pytest.approx(0.1625, abs=0.03)
    assert found.error_after is not None
    assert found.error_after < 0.05
    assert calibrated([]) is None
    one_prompt = calibrated([both(0, A, A, prompt="p"), both(1, B, A, prompt="p")])
    assert one_prompt is not None
    assert one_prompt.error_after is None


def test_the_pull_of_length_is_told_beside_peoples() -> None:
    rows = [both(0, A, B, gap=5), both(1, A, A, gap=5), both(2, B, B, gap=-3), both(3, TIE, A, gap=4), both(4, A, A)]
    mine, people = longer_share(rows)
    assert (mine.value, mine.count) == (1.0, 3)
    assert (people.value, people.count) == (0.75, 4)


def test_a_win_that_is_all_length_is_none_at_equal_length() -> None:
    rng = np.random.default_rng(1)
    rows = []
    for n in range(3000):
        gap = int(rng.normal(20, 30))
        chance = 1 / (1 + np.exp(-2 * np.tanh(gap / 30)))
        label = A if rng.random() < chance else B
        rows.append(both(n, label, A if n % 2 else B, gap=gap, models=("long", "short")))
    long = {rate.model: rate for rate in win_rates(rows)}["long"]
    assert long.raw > 0.65
    assert long.at_equal_length == pytest.approx(0.5, abs=0.05)
    assert long.people == 0.5
    assert win_rates(rows[:9]) == []


def test_hard_prompts_do_not_make_a_model_worse() -> None:
    """Where only the prompt's difficulty decides, the rate at equal length stays what it is on these prompts."""
    rng = np.random.default_rng(2)
    hard = rng.normal(0, 2, 4000)
    outcomes = (rng.random(4000) < 1 / (1 + np.exp(-hard))).astype(float)
    gaps = 10 * hard + rng.normal(0, 5, 4000)  # hard prompts have long answers: length alone seems to win
    assert length_controlled(outcomes, gaps, hard) == pytest.approx(float(outcomes.mean()), abs=0.03)
    with pytest.raises(ValueError, match="as many gaps"):
        length_controlled(outcomes, gaps[:3])


def test_two_judges_are_compared_on_what_both_judged() -> None:
    rows = [both(n, A, A if n % 4 else B) for n in range(200)]
    always_right = [both(n, A if n % 4 else B, A if n % 4 else B) for n in range(100, 300)]
    found = compare(always_right, rows)
    assert (found.one.value, found.other.value, found.one.count) == (1.0, 0.75, 100)
    assert found.difference == pytest.approx(0.25)
    assert found.low is not None
    assert found.high is not None
    assert 0.15 < found.low < 0.25 < found.high < 0.36
    assert compare(rows, [both(999, A, A)]).difference is None
