"""Predicting mixes and what plans carry over to, in simulated worlds: what the report promises of the default."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from annotate.routing_report.claims import ClaimLine, part_of, random_feature_benchmark
from annotate.routing_report.plots import Point, line_plot
from annotate.routing_report.predicting import predict_world
from annotate.routing_report.simulating import (
    DEFAULTS,
    Setting,
    adaptive_labels,
    gains_of,
    planned,
    score_strategies,
    setting_of,
)
from routing.ppm.evaluation import within_budget_rho
from routing.ppm.regression import MODELS, MixKernel
from routing.ppm.strategies import ONLINE_DEFAULT, STRATEGIES
from routing.ppm.worlds import benchmark, labels_of, make_world


def test_the_default_ranks_held_out_mixes_of_one_size_and_the_budget_alone_ranks_none() -> None:
    figures = [predict_world(seed) for seed in (0, 1, 2)]
    rho = {name: np.mean([one[name]["within_budget_rho"] for one in figures]) for name in figures[0]}
    assert set(MODELS) <= set(rho)
    assert rho["gp"] >= 0.80
    assert rho["gp"] > rho["quadratic_ols"] + 0.2  # the published model
    assert rho["budget alone"] == 0.0
    assert np.mean([one["budget alone"]["overall_rho"] for one in figures]) > 0.75  # what a test over all budgets hides
    assert np.mean([one["gp"]["rmse"] for one in figures]) < np.mean([one["budget alone"]["rmse"] for one in figures])
    assert 0.65 < np.mean([one["gp"]["coverage80"] for one in figures]) <= 1.0


def test_a_summary_of_the_mix_outweighs_its_tags_in_the_kernel() -> None:
    rng = np.random.default_rng(0)
    z = rng.normal(size=(5, 20))
    plain = MixKernel.of(20, 0)
    assert plain.between(z, z) == pytest.approx((1 + z @ z.T / 20) ** 2)
    assert plain.own(z) == pytest.approx(np.diag(plain.between(z, z)))
    told = MixKernel.of(20, 6)
    assert told.own(z) == pytest.approx(np.diag(told.between(z, z)))
    assert told.weights[14:].sum() > 20 * told.weights[:14].sum()


@pytest.mark.parametrize("seed", [0, 1, 4])
def test_the_default_never_falls_below_random_by_more_than_its_error(seed: int) -> None:
    names = ["random", ONLINE_DEFAULT]
    world = make_world(seed, 4000)
    table = np.array([score_strategies(world, 1000 * seed + draw, names, (0.25, 0.5)) for draw in range(4)])
    gains = 100 * (table[:, 1, :, 0] - table[:, 0, :, 0])
    error = gains.std(axis=0, ddof=1) / np.sqrt(len(gains))
    assert (gains.mean(axis=0) > -error).all()


def test_gains_are_against_random_in_the_same_world_and_draw() -> None:
    table = np.zeros((2, 3, len(STRATEGIES), 1, 2))
    table[..., 0] = 0.7
    table[1, 2, list(STRATEGIES).index("random"), 0, 0] = 0.6
    gains = gains_of(table)
    assert gains[1, 2, 1, 0] == pytest.approx(10.0)
    assert gains[0].tolist() == np.zeros((3, len(STRATEGIES), 1)).tolist()


def test_three_people_are_paid_three_labels_and_their_majority_is_kept() -> None:
    setting = setting_of(make_world(0, 1500), 0)
    kept, spent = planned(setting, "adv_per_cost", 1200, 0)
    assert spent <= 1200 / 1500
    majority = np.sign(setting.people.sum(axis=0))
    assert np.isin(kept, (-1.0, 1.0)).all()
    assert ((kept == majority) | (kept == setting.people[0]) | (kept == np.sign(setting.world.judge_p - 0.5))).all()


def test_labels_bought_later_are_added_to_those_bought_before() -> None:
    setting = setting_of(make_world(0, 800), 0)
    (few, spent_few), (more, spent_more) = adaptive_labels(setting, [60, 200], 0)
    assert spent_few == 60 / 800
    assert spent_few < spent_more <= 200 / 800
    assert len(few) == len(more) == 800


def test_a_part_of_a_world_keeps_its_benchmark() -> None:
    world = make_world(0, 600)
    part = part_of(world, np.arange(100))
    assert len(part.gold) == 100
    assert np.array_equal(part.gold_x, world.gold_x)
    assert 0.5 < benchmark(part, part.gold) < 1.0
    labels = np.array([labels_of(part, np.zeros(100, np.uint8), part.gold), part.gold])
    judged, gold = random_feature_benchmark(part, labels, 0)
    assert gold > judged


@pytest.mark.parametrize(
    ("value", "error", "told"), [(1.0, 0.2, "yes"), (0.1, 0.2, "not told apart"), (-1.0, 0.2, "no")]
)
def test_a_claim_holds_where_its_interval_is_above(value: float, error: float, told: str) -> None:
    assert ClaimLine("C", "f", value, error, 0.0, 8).holds == told


def test_a_plot_names_its_lines_escapes_them_and_loads_nothing() -> None:
    drawn = line_plot("A", {"<b>": [Point(0.1, 1.0, 0.5, 1.5), Point(0.5, 2.0, 1.5, 2.5)], "gone": []})
    assert "&lt;b&gt;" in drawn
    assert "gone" not in drawn
    assert "http" not in drawn
    assert line_plot("A", {"x": [Point(0.1, float("nan"), 0, 0)]}) == ""


def test_a_ceiling_is_a_rank_correlation_too() -> None:
    budget = np.repeat([1, 2], 4)
    assert within_budget_rho(np.arange(8.0), np.arange(8.0), budget) == 1.0


@pytest.mark.parametrize("name", DEFAULTS)
def test_where_people_only_copy_the_judge_the_defaults_spend_less_and_lose_nothing(name: str) -> None:
    world = make_world(1, 3000)
    side = np.where(world.judge_p > 0.5, 1.0, -1.0)
    setting = setting_of(replace(world, gold=side, human_flip=np.zeros(3000)), 0)  # the judge's side is all people say
    setting = replace(setting, world=world)
    kept, spent = spend(setting, name, 2250)
    assert spent < 0.75 / 2
    assert benchmark(world, kept) == pytest.approx(benchmark(world, side), abs=0.01)


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_judge_that_is_always_wrong_is_left_to_people_everywhere_or_read_the_other_way(name: str) -> None:
    world = make_world(1, 3000)
    sure = np.abs(world.judge_p - 0.5)
    wrong = replace(world, judge_p=0.5 - world.gold * np.maximum(sure, 0.01), human_flip=np.full(3000, 0.15))
    kept, spent = spend(setting_of(wrong, 0), name, 3000)
    assert spent > 0.95 or np.mean(np.sign(kept) == world.gold) > 0.95
    assert benchmark(wrong, kept) > benchmark(wrong, spend(setting_of(wrong, 0), "random", 1500)[0])


def spend(setting: Setting, name: str, labels: int) -> tuple[np.ndarray, float]:
    return adaptive_labels(setting, [labels], 0)[0] if name == ONLINE_DEFAULT else planned(setting, name, labels, 0)
