from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.ppm import proxy as proxy_module
from routing.ppm.evaluation import budget_only, coverage, evaluate_ppm, ranks, rmse, spearman, within_budget_rho
from routing.ppm.logistic import fit_logistic, sigmoid
from routing.ppm.mixes import draw_budgets, draw_mixes, gumbel_mix, knapsack_mix, random_mix, tag_members
from routing.ppm.outlook import SUMMARY_NAMES, MixDesign, fit_outlook, fit_to_runs
from routing.ppm.proxy import (
    ProxyMetric,
    expected_delta,
    fit_proxy,
    leave_one_out_margin,
    masked_sums,
    principal_parts,
)
from routing.ppm.regression import MODELS, fit_model, quadratic
from routing.ppm.tag_gain import fit_tag_gain


def rng_of(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def metric_of(x: np.ndarray, side: np.ndarray, section: np.ndarray | None = None) -> ProxyMetric:
    sections = np.zeros(len(x), dtype=np.int64) if section is None else section
    return ProxyMetric(x.astype(np.float32), side.astype(float), np.ones(len(x)), sections)


# Mixes


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 30), st.integers(0, 6), st.integers(0, 2**31), st.data())
def test_a_knapsack_mix_has_exactly_its_budget(size: int, n_tags: int, seed: int, data: st.DataObject) -> None:
    budget = data.draw(st.integers(0, size))
    tags = (rng_of(seed).random((size, n_tags)) < 0.3).astype(np.uint8)
    mask = knapsack_mix(tag_members(tags), size, budget, rng_of(seed))
    assert mask.sum() == budget
    assert set(np.unique(mask)) <= {0, 1}


def test_a_knapsack_mix_fills_up_with_whole_tags_before_it_cuts_one() -> None:
    tags = np.zeros((30, 3), dtype=np.uint8)
    for column in range(3):
        tags[10 * column : 10 * column + 10, column] = 1
    mask = knapsack_mix(tag_members(tags), 30, 15, rng_of())
    assert sorted(int(mask[10 * column : 10 * column + 10].sum()) for column in range(3)) == [0, 5, 10]


def test_a_mix_above_the_pool_is_an_error() -> None:
    with pytest.raises(ValueError, match="more instances"):
        knapsack_mix([], 3, 4, rng_of())


def test_a_cold_gumbel_mix_takes_the_best_and_a_hot_one_does_not() -> None:
    score = np.arange(100, dtype=float)
    assert gumbel_mix(score, 10, 1e-6, rng_of())[90:].all()
    assert gumbel_mix(score, 10, 1e6, rng_of())[90:].sum() < 8
    assert random_mix(100, 10, rng_of()).sum() == 10


def test_mixes_repeat_for_a_seed_and_hold_both_ends() -> None:
    tags = (rng_of(1).random((50, 5)) < 0.3).astype(np.uint8)
    budgets = draw_budgets(20, 50, rng_of(2))
    one = draw_mixes(tags, budgets, rng_of(3), np.linspace(-1, 1, 50))
    assert np.array_equal(one, draw_mixes(tags, budgets, rng_of(3), np.linspace(-1, 1, 50)))
    assert one.sum(axis=1).tolist() == budgets.tolist()
    assert budgets[:2].tolist() == [0, 50]


# Proxy reward models


def test_a_proxy_model_of_a_mix_is_the_ridge_fit_on_its_labels() -> None:
    rng = rng_of()
    x = rng.normal(size=(40, 5)).astype(np.float32)
    judge, human = np.sign(rng.normal(size=40)), np.sign(rng.normal(size=40))
    models = fit_proxy(x, judge, human - judge, ridge=0.1)
    masks = (rng.random((7, 40)) < 0.5).astype(np.uint8)
    gram = x.T @ x
    penalty = 0.1 * np.trace(gram) / 5
    for mask, weights in zip(masks, models.weights(masks), strict=True):
        labels = np.where(mask == 1, human, judge)
        assert weights == pytest.approx(np.linalg.solve(gram + penalty * np.eye(5), x.T @ labels), abs=1e-5)


def test_rows_kept_out_of_training_change_nothing() -> None:
    rng = rng_of()
    x, judge = rng.normal(size=(30, 4)).astype(np.float32), np.sign(rng.normal(size=30))
    train = np.arange(30) < 20
    whole, part = fit_proxy(x, judge, -judge, train), fit_proxy(x[:20], judge[:20], -judge[:20])
    masks = (rng.random((3, 30)) < 0.5).astype(np.uint8)
    assert whole.weights(masks) == pytest.approx(part.weights(masks[:, :20]), abs=1e-5)


def test_sums_do_not_depend_on_how_they_are_sliced(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = rng_of()
    masks = (rng.random((5, 100)) < 0.5).astype(np.uint8)
    columns, factor = rng.normal(size=(100, 3)).astype(np.float32), rng.normal(size=100).astype(np.float32)
    whole = masked_sums(masks, columns, factor)
    monkeypatch.setattr(proxy_module, "MOST_BYTES", 200)
    assert masked_sums(masks, columns, factor) == pytest.approx(whole, abs=1e-4)
    assert whole == pytest.approx((masks * factor) @ columns, abs=1e-4)


def test_the_metric_is_the_mean_over_sections_and_does_not_reward_large_weights() -> None:
    x = np.array([[1.0], [1.0], [1.0], [-1.0]])
    metric = metric_of(x, np.array([1.0, 1.0, -1.0, 1.0]), np.array([0, 0, 0, 1]))
    right = 1 / (1 + np.exp(-2.0))
    expected = ((right + right + (1 - right)) / 3 + (1 - right)) / 2
    scores = metric.scores(np.array([[1.0], [1000.0], [-1.0]], dtype=np.float32))
    assert scores == pytest.approx([expected, expected, 1 - expected])


def test_the_metric_of_nothing_is_one_half() -> None:
    empty = metric_of(np.zeros((0, 3)), np.zeros(0))
    assert empty.scores(np.ones((2, 3), dtype=np.float32)).tolist() == [0.5, 0.5]


def test_the_expected_change_of_a_label_matches_a_simulation() -> None:
    rng = rng_of()
    size, p_judge, p_human = 200_000, 0.7, 0.9
    judge_right, human_right = rng.random(size) < p_judge, rng.random(size) < p_human
    judge_side = np.ones(size)
    truth = np.where(judge_right, judge_side, -judge_side)
    human = np.where(human_right, truth, -truth)
    expected = expected_delta(np.ones(1), np.array([p_judge]), np.array([p_human]))[0]
    assert (human - judge_side).mean() == pytest.approx(expected, abs=0.01)


def test_leaving_one_out_equals_refitting_without_it() -> None:
    rng = rng_of()
    x = rng.normal(size=(25, 3)).astype(np.float32)
    side = np.sign(rng.normal(size=25))
    side[4] = 0.0
    margin = leave_one_out_margin(x, side, 0.2)
    gram = x[side != 0].T @ x[side != 0]
    penalty = 0.2 * np.trace(gram) / 3
    raw = np.zeros(25)
    for row in np.flatnonzero(side):
        keep = (side != 0) & (np.arange(25) != row)
        weights = np.linalg.solve(x[keep].T @ x[keep] + penalty * np.eye(3), x[keep].T @ side[keep])
        raw[row] = side[row] * (x[row] @ weights)
    assert margin == pytest.approx(raw / np.sqrt(np.mean(raw**2)), abs=1e-3)
    assert margin[4] == 0.0


def test_principal_parts_change_sign_when_sides_swap() -> None:
    x = rng_of().normal(size=(50, 6)).astype(np.float32)
    assert principal_parts(-x, 4) == pytest.approx(-principal_parts(x, 4))
    assert principal_parts(x, 4).shape == (50, 4)


# Regression


@pytest.mark.parametrize("kind", MODELS)
def test_every_model_recovers_a_linear_law(kind: str) -> None:
    rng = rng_of()
    phi = rng.normal(size=(120, 4))
    y = 0.6 + phi @ np.array([0.1, -0.05, 0.0, 0.02]) + 0.002 * rng.normal(size=120)
    new = rng.normal(size=(50, 4))
    mean, sd = fit_model(kind, phi, y).predict(new)
    assert mean == pytest.approx(0.6 + new @ np.array([0.1, -0.05, 0.0, 0.02]), abs=0.02)
    assert np.all((sd > 0.0005) & (sd < 0.05))


def test_linear_ols_equals_least_squares() -> None:
    rng = rng_of()
    phi, y = rng.normal(size=(30, 4)) * [1, 10, 100, 0.1] + 5, rng.normal(size=30)
    design = np.column_stack([np.ones(30), phi])
    expected = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    assert fit_model("linear_ols", phi, y).predict(phi)[0] == pytest.approx(expected)


def test_quadratic_terms_number_as_in_the_paper() -> None:
    assert quadratic(np.zeros((1, 90))).shape[1] + 1 == 4186
    assert quadratic(np.array([[2.0, 3.0]])).tolist() == [[2.0, 3.0, 4.0, 6.0, 9.0]]


def test_the_quadratic_and_the_process_learn_a_product_and_the_linear_does_not() -> None:
    rng = rng_of()
    phi, new = rng.normal(size=(150, 3)), rng.normal(size=(80, 3))
    errors = {}
    for kind in ("linear_ols", "quadratic_ols", "gp"):
        mean, _ = fit_model(kind, phi, phi[:, 0] * phi[:, 1]).predict(new)
        errors[kind] = rmse(new[:, 0] * new[:, 1], mean)
    assert max(errors["quadratic_ols"], errors["gp"]) < 0.1 < errors["linear_ols"]


def test_more_columns_than_mixes_still_gives_finite_predictions() -> None:
    rng = rng_of()
    phi, y = rng.normal(size=(20, 60)), rng.normal(size=20)
    for kind in MODELS:
        mean, sd = fit_model(kind, phi, y).predict(rng.normal(size=(5, 60)))
        assert np.isfinite(mean).all()
        assert np.isfinite(sd).all()


def noisy_law(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    phi = rng.normal(size=(count, 5))
    return phi, phi @ np.ones(5) * 0.1 + 0.05 * phi[:, 0] ** 2 + 0.1 * rng.normal(size=count)


def test_the_process_covers_what_it_says_and_is_less_sure_far_away() -> None:
    inside = []
    for seed in range(10):
        rng = rng_of(seed)
        model = fit_model("gp", *noisy_law(100, rng))
        new, truth = noisy_law(200, rng)
        mean, sd = model.predict(new)
        inside.append([coverage(truth, mean, sd, z) for z in (1.2816, 1.96)])
        assert model.predict(np.full((1, 5), 10.0))[1][0] > 2 * sd.mean()
    assert np.mean(inside, axis=0) == pytest.approx([0.8, 0.95], abs=0.04)


def test_a_score_with_a_large_error_moves_the_process_less() -> None:
    phi = np.linspace(-1, 1, 12)[:, None]
    y = np.zeros(12)
    y[6] = 1.0
    even = fit_model("gp", phi, y, np.full(12, 0.1)).predict(phi[6:7])[0][0]
    noise = np.full(12, 0.1)
    noise[6] = 3.0
    assert abs(fit_model("gp", phi, y, noise).predict(phi[6:7])[0][0]) < abs(even) + 1e-9


@pytest.mark.parametrize(("kind", "rows"), [("forest", 10), ("gp", 2)])
def test_what_cannot_be_fitted_is_an_error(kind: str, rows: int) -> None:
    with pytest.raises(ValueError, match=r"called|three"):
        fit_model(kind, np.zeros((rows, 2)), np.zeros(rows))


def test_scores_that_are_not_numbers_are_an_error() -> None:
    with pytest.raises(ValueError, match="finite"):
        fit_model("gp", np.zeros((4, 1)), np.array([0.0, 1.0, np.nan, 1.0]))


# The design vector and the outlook


def design_of(size: int = 60, seed: int = 0) -> MixDesign:
    rng = rng_of(seed)
    x = rng.normal(size=(size, 6)).astype(np.float32)
    judge = np.sign(x[:, 0])
    models = fit_proxy(x, judge, np.sign(x[:, 1]) - judge)
    held = rng.normal(size=(80, 6))
    metric = metric_of(held, np.sign(held[:, 0] + held[:, 1]))
    tags = (rng.random((size, 4)) < 0.4).astype(np.uint8)
    return MixDesign(tags, np.full(size, 0.5), rng.normal(size=size), models, metric)


def test_the_design_vector_is_what_its_formula_says() -> None:
    design = design_of()
    mask = (rng_of(4).random((1, 60)) < 0.5).astype(np.uint8)
    phi = design.matrix(mask)[0]
    on = mask[0] == 1
    adv = design.advantage
    expected = [
        *(design.tags[on].sum(axis=0) / 60),
        on.mean(),
        on.mean(),
        adv[on].sum() / 60,
        np.maximum(adv[on], 0).sum() / 60,
        (adv[on] ** 2).sum() / 60,
    ]
    assert phi[:-1] == pytest.approx(expected, abs=1e-6)
    assert len(phi) == 4 + len(SUMMARY_NAMES)


def test_counts_of_tags_do_not_change_with_who_else_is_routed() -> None:
    design = design_of()
    few, many = np.zeros((2, 60), dtype=np.uint8)
    few[:10], many[:40] = 1, 1
    first, second = design.matrix(np.stack([few, many]))[:, :4] * 60
    assert first == pytest.approx(design.tags[:10].sum(axis=0), abs=1e-4)
    assert second == pytest.approx(design.tags[:40].sum(axis=0), abs=1e-4)


def test_an_outlook_carried_over_to_runs_predicts_the_runs() -> None:
    design = design_of()
    masks = draw_mixes(design.tags, draw_budgets(80, 60, rng_of(1)), rng_of(2))
    outlook = fit_outlook("gp", design, masks, design.metric.scores(design.models.weights(masks)))
    proxy_mean = outlook.predict(masks)[0]
    runs = 0.1 + 0.5 * proxy_mean
    carried = fit_to_runs(outlook, masks, runs, slope_strength=1e-4)
    assert carried.predict(masks)[0] == pytest.approx(runs, abs=1e-3)
    one = fit_to_runs(outlook, masks[:1], runs[:1])
    assert one.slope == pytest.approx(1.0)
    assert one.predict(masks[:1])[0] == pytest.approx(runs[:1])
    assert fit_to_runs(outlook, masks[:0], runs[:0]) is outlook


def test_tag_gains_find_the_tag_that_matters() -> None:
    rng = rng_of()
    tags = (rng.random((200, 5)) < 0.3).astype(np.uint8)
    masks = draw_mixes(tags, draw_budgets(150, 200, rng), rng)
    scores = 0.6 + 0.3 * (masks @ tags[:, 2]) / 200 - 0.2 * (masks @ tags[:, 4]) / 200
    for kind in ("linear_ols", "quadratic_ols"):
        gain = fit_tag_gain(tags, masks, scores, kind)
        assert np.argmax(gain.weights) == 2
        assert np.argmin(gain.weights) == 4
        assert spearman(gain.gain, tags[:, 2] * 0.3 - tags[:, 4] * 0.2) > 0.9


# Logistic regression


def test_the_logistic_fit_is_at_the_maximum_of_its_objective() -> None:
    rng = rng_of()
    features = rng.normal(size=(80, 3)) * [1, 20, 0.01] + [0, 5, 1]
    targets = rng.random(80)
    fit = fit_logistic(features, targets, penalty=2.0)
    z = np.column_stack([np.ones(80), (features - fit.center) / fit.scale])
    gradient = z.T @ (targets - sigmoid(z @ fit.coefficients)) - np.array([1e-3, 2, 2, 2]) * fit.coefficients
    assert np.abs(gradient).max() < 1e-4
    assert fit.probabilities(features) == pytest.approx(sigmoid(z @ fit.coefficients))
    mean, sd = fit.logits(features)
    assert mean == pytest.approx(z @ fit.coefficients)
    assert sd == pytest.approx(np.sqrt(np.einsum("nk,kl,nl->n", z, fit.covariance, z)))


def test_separable_and_constant_data_stay_finite() -> None:
    features = np.column_stack([np.r_[-np.ones(10), np.ones(10)], np.full(20, 7.0)])
    fit = fit_logistic(features, np.r_[np.zeros(10), np.ones(10)], 1.0)
    assert np.isfinite(fit.coefficients).all()
    assert fit.coefficients[2] == 0.0
    assert np.isfinite(fit_logistic(features, np.ones(20)).coefficients).all()


def test_a_fit_without_rows_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        fit_logistic(np.zeros((0, 2)), np.zeros(0))


# Evaluation


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=20))
def test_rank_correlation_equals_scipys(rows: list[tuple[int, int]]) -> None:
    stats = pytest.importorskip("scipy.stats")
    a, b = np.array([row[0] for row in rows], float), np.array([row[1] for row in rows], float)
    assert ranks(a) == pytest.approx(stats.rankdata(a))
    if np.ptp(a) and np.ptp(b):
        assert spearman(a, b) == pytest.approx(stats.spearmanr(a, b).statistic)
    else:
        assert np.isnan(spearman(a, b))


def test_a_model_of_the_budget_alone_ranks_well_overall_and_nothing_at_equal_budget() -> None:
    rng = rng_of()
    budget = np.repeat([100, 200, 300, 400], 10)
    actual = budget / 1000 + 0.02 * rng.normal(size=40)
    mean = budget_only(budget.astype(float), actual, budget.astype(float))
    report = evaluate_ppm(actual, mean, np.full(40, 0.02), budget, budget, actual)
    assert report.overall_rho > 0.9
    assert report.budget_only_rho > 0.9
    assert report.within_budget_rho == 0.0
    assert report.rmse == pytest.approx(report.budget_only_rmse)


def test_rank_correlation_within_budget_is_the_mean_over_groups() -> None:
    budget = np.array([1, 1, 1, 2, 2, 2, 3])
    actual = np.array([1.0, 2, 3, 1, 2, 3, 9])
    predicted = np.array([10.0, 20, 30, 3, 2, 1, 0])
    assert within_budget_rho(actual, predicted, budget) == pytest.approx(0.0)
    assert np.isnan(within_budget_rho(actual[:2], predicted[:2], budget[:2]))
