"""Replaying a table: what is paid for is seen, nothing else; learning beats drawing at random."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from routing.replay.plan import affordable
from routing.replay.plan import replay as replay_plan
from routing.replay.pool import pool_of
from routing.replay.purchase import OverspentError, Purchase
from routing.replay.strategies import DEFAULT, STRATEGIES
from routing.replay.table import ReplayRow

from .replay_cast import right, table


def plan(rows: list[ReplayRow], budget: float, name: str = DEFAULT, seed: int = 0) -> Any:
    return replay_plan(pool_of(rows), [row.human_label for row in rows], STRATEGIES[name], budget, seed)


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_a_label_that_was_not_bought_changes_nothing(name: str) -> None:
    rows, _ = table()
    first = plan(rows, 0.3, name)
    poisoned = [
        row if bought else replace(row, human_label=-row.human_label)
        for row, bought in zip(rows, first.bought, strict=True)
    ]
    second = plan(poisoned, 0.3, name)
    ids = tuple(row.id for row in rows)
    assert list(first.lines(ids)) == list(second.lines(ids))


def test_a_label_that_was_bought_is_heeded() -> None:
    rows, _ = table()
    first = plan(rows, 0.3)
    changed = [
        replace(row, human_label=-row.human_label) if bought else row
        for row, bought in zip(rows, first.bought, strict=True)
    ]
    assert not np.allclose(first.p_a, plan(changed, 0.3).p_a)


@pytest.mark.parametrize("name", list(STRATEGIES))
@pytest.mark.parametrize("budget", [0.0, 0.1, 0.55, 1.0])
def test_every_instance_is_told_and_no_budget_is_overspent(name: str, budget: float) -> None:
    rows, _ = table(prompts=12)
    answer = plan(rows, budget, name)
    assert answer.bought.sum() <= affordable(budget, len(rows))
    assert len(answer.p_a) == len(rows)
    assert ((answer.p_a >= 0) & (answer.p_a <= 1)).all()


def test_a_seed_repeats_its_plan_and_another_differs() -> None:
    rows, _ = table()
    assert np.array_equal(plan(rows, 0.3, seed=4).p_a, plan(rows, 0.3, seed=4).p_a)
    assert not np.array_equal(plan(rows, 0.3, seed=4).bought, plan(rows, 0.3, seed=5).bought)


def test_learning_from_the_labels_beats_random_and_the_judges_doubt() -> None:
    rows, truth = table(prompts=60)
    ours = right(plan(rows, 0.25).p_a, truth)
    assert ours > max(right(plan(rows, 0.25, name).p_a, truth) for name in ("random", "disagreement")) + 0.05


def test_people_who_only_copy_the_judge_are_soon_left_alone() -> None:
    rows, _ = table(prompts=60, judge=lambda truth, gap, rng: (truth, truth))
    copied = [replace(row, human_label=row.judges["judge"][0]) for row in rows]
    answer = plan(copied, 1.0)
    assert answer.spent < 0.3
    assert right(answer.p_a, np.array([row.human_label for row in copied])) > 0.97


def test_a_judge_that_is_always_wrong_does_no_harm() -> None:
    rows, truth = table(prompts=60, people=0.95, judge=lambda truth, gap, rng: (-truth, -truth))
    assert right(plan(rows, 0.25).p_a, truth) > 0.9


def test_noisy_people_are_not_bought_to_the_end_and_do_not_undo_what_is_known() -> None:
    rows, truth = table(prompts=60, people=0.7, judge=lambda truth, gap, rng: (truth, truth if gap % 4 else -truth))
    answer = plan(rows, 1.0)
    assert answer.spent < 0.9
    assert right(answer.p_a, truth) > right(plan(rows, 1.0, "all_human").p_a, truth) + 0.1


def test_swapping_the_sides_swaps_the_belief() -> None:
    rows, _ = table(prompts=15)
    swapped = [
        replace(
            row,
            a=row.b,
            b=row.a,
            judges={"judge": tuple(-v for v in row.judges["judge"][::-1])},
            human_label=-row.human_label,
        )
        for row in rows
    ]
    for budget in (0.0, 0.2):
        assert np.allclose(plan(rows, budget).p_a, 1.0 - plan(swapped, budget).p_a, atol=1e-4)


def test_other_judges_are_evidence_and_one_that_abstains_is_not() -> None:
    rows, truth = table(prompts=40, judge=lambda truth, gap, rng: (int(rng.choice([-1, 1])),) * 2)
    helped = [replace(row, judges=row.judges | {"second": (int(t),)}) for row, t in zip(rows, truth, strict=True)]
    silent = [replace(row, judges=row.judges | {"second": ()}) for row in rows]
    assert right(plan(helped, 0.1).p_a, truth) > 0.9
    assert len(plan(silent, 0.1).p_a) == len(rows)


def test_a_main_judge_without_a_verdict_leaves_the_instance_open() -> None:
    rows, _ = table(prompts=10)
    rows = [replace(row, judges={"judge": ()}) for row in rows]
    assert (plan(rows, 0.0, "all_judge").p_a == 0.5).all()
    assert plan(rows, 0.5).bought.any()


def test_the_counter_shows_what_was_paid_for_and_nothing_else() -> None:
    purchase = Purchase([1, 0, -1, 1], affordable=2)
    assert purchase.buy([2, 1]).tolist() == [0.0, 0.5]
    for wrong in ([2], [0], [3, 3]):
        with pytest.raises(OverspentError):
            purchase.buy(wrong)
    with pytest.raises(OverspentError):
        purchase.labels([0])
    assert purchase.open().tolist() == [0, 3]


@pytest.mark.parametrize("budget", [-0.1, 1.01, float("nan"), float("inf")])
def test_a_budget_that_is_no_share_is_refused(budget: float) -> None:
    with pytest.raises(ValueError, match="between 0"):
        affordable(budget, 10)


def test_three_tenths_of_ten_labels_are_three() -> None:
    assert affordable(0.3, 10) == 3
    assert affordable(0.29, 10) == 2


def test_several_people_can_be_bought_of_one_instance_and_each_is_paid() -> None:
    purchase = Purchase([[1, -1, 1], [0], -1], affordable=5)
    assert purchase.buy([0, 1]).tolist() == [1.0, 0.5]
    assert purchase.unsold().tolist() == [0, 2]
    assert purchase.open().tolist() == [2]
    assert purchase.buy([0]).tolist() == [0.0]
    assert purchase.labels([0, 1]).tolist() == [0.5, 0.5]
    assert purchase.counts.tolist() == [2, 1, 0]
    assert purchase.left == 2
    for wrong in ([1], [0, 0], [0, 2, 1]):
        with pytest.raises(OverspentError):
            purchase.buy(wrong)


def test_a_second_person_is_asked_where_the_first_contradicts_the_rest_and_is_paid_for() -> None:
    rows, truth = table(prompts=40, people=0.75)
    rng = np.random.default_rng(5)
    several = [
        replace(row, more_labels=tuple(int(t) if rng.random() < 0.75 else -int(t) for _ in range(2)))
        for row, t in zip(rows, truth, strict=True)
    ]
    labels = [row.human_labels for row in several]
    one = replay_plan(pool_of(rows), [row.human_label for row in rows], STRATEGIES[DEFAULT], 1.0, 0)
    more = replay_plan(pool_of(several), labels, STRATEGIES[DEFAULT], 1.0, 0)
    assert more.labels.max() > 1
    assert more.labels.sum() <= len(rows)
    assert more.spent == pytest.approx(more.labels.sum() / len(rows))
    assert right(more.p_a, truth) > right(one.p_a, truth) - 0.03
    told = [line for line in more.lines(tuple(row.id for row in rows)) if '"n_labels": 2' in line]
    assert told
