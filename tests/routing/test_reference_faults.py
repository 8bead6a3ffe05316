"""The known faults of the reference method: each with its formula as published, which fails what ours passes.

The formulas are those of the Hybrid Preferences code (arXiv:2410.19133) as far as a test needs them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from routing.features.descriptive import FLAG_NAMES, SUBJECT_NAMES
from routing.features.similarity import overlap, rouge_l
from routing.features.table import (
    CONTINUOUS_NAMES,
    FeatureTable,
    TagBins,
    describe_pairs,
    fit_bins,
    tag_matrix,
    tag_names,
)
from routing.features.texts import PairText
from routing.ppm.evaluation import budget_only, rmse, spearman, within_budget_rho
from routing.ppm.mixes import draw_budgets, draw_mixes
from routing.ppm.pool import Arm, Pool
from routing.ppm.quality import Votes, combine
from routing.ppm.regression import fit_model
from routing.ppm.strategies import STRATEGIES

from .pool_cast import pool_of, routed


def reference_least_squares(phi: np.ndarray, y: np.ndarray, new: np.ndarray) -> np.ndarray:
    design = np.column_stack([np.ones(len(phi)), phi])
    return np.column_stack([np.ones(len(new)), new]) @ np.linalg.lstsq(design, y, rcond=None)[0]


def test_a_fit_with_as_many_tags_as_mixes_does_not_follow_their_noise() -> None:
    rng = np.random.default_rng(0)
    phi, new = rng.random((95, 90)), rng.random((200, 90))
    law = np.zeros(90)
    law[:3] = [0.3, -0.2, 0.1]
    y, truth = phi @ law + 0.05 * rng.normal(size=95), new @ law
    reference = rmse(truth, reference_least_squares(phi, y, new))
    assert reference > 0.1
    for kind in ("ridge", "gp"):
        mean, _ = fit_model(kind, phi, y).predict(new)
        assert rmse(truth, mean) < reference / 2


def test_predictions_come_with_an_error_that_is_true() -> None:
    rng = np.random.default_rng(1)
    phi, new = rng.normal(size=(200, 5)), rng.normal(size=(400, 5))
    y = phi @ np.ones(5) + 0.3 * rng.normal(size=200)
    actual = new @ np.ones(5) + 0.3 * rng.normal(size=400)
    mean, sd = fit_model("gp", phi, y).predict(new)
    inside = np.mean(np.abs(actual - mean) < 1.2816 * sd)
    assert inside == pytest.approx(0.8, abs=0.06)
    reference = reference_least_squares(phi, y, new)
    assert (np.abs(actual - reference) > 1e-9).all()  # a point alone covers nothing


def test_a_model_that_knows_the_budget_alone_is_not_credited_with_ranking_mixes() -> None:
    rng = np.random.default_rng(2)
    budget = rng.integers(1, 1001, 60)
    actual = 0.6 + 1e-4 * budget + 0.005 * rng.normal(size=60)
    predicted = budget_only(budget[:30].astype(float), actual[:30], budget[30:].astype(float))
    assert spearman(actual[30:], predicted) > 0.8  # the reference's test: budgets vary
    groups = np.repeat([250, 500, 750], 10)
    at_equal = budget_only(budget[:30].astype(float), actual[:30], groups.astype(float))
    assert within_budget_rho(0.6 + 0.01 * rng.random(30), at_equal, groups) == 0.0


def reference_length_counts(lengths: np.ndarray, routed_rows: np.ndarray) -> list[int]:
    """Percentile ranks within the routed subset, then three equal bins."""
    part = lengths[routed_rows]
    rank = part.argsort().argsort() / max(len(part) - 1, 1)
    return np.histogram(rank, [0, 1 / 3, 2 / 3, 1.0])[0].tolist()


def table_of(lengths: np.ndarray) -> FeatureTable:
    values = np.zeros((len(lengths), len(CONTINUOUS_NAMES)), dtype=np.float32)
    values[:, 0] = lengths
    return FeatureTable(CONTINUOUS_NAMES, values)


def test_length_counts_tell_short_mixes_from_long_ones() -> None:
    lengths = np.arange(90.0)
    short, long = np.arange(30), np.arange(60, 90)
    assert reference_length_counts(lengths, short) == reference_length_counts(lengths, long)
    pool = table_of(lengths)
    tags = tag_matrix(pool, fit_bins(pool))[:, :3]
    assert tags[short].sum(axis=0).tolist() == [30, 0, 0]
    assert tags[long].sum(axis=0).tolist() == [0, 0, 30]


def test_every_option_that_is_named_can_be_met_by_a_value() -> None:
    answers = ["general public", "basic domain knowledge", "expert domain knowledge"]
    reference_columns = ["expertise_level=general_public", "expertise_level=basic domain", "expertise_level=expert"]
    counted = [sum(f"expertise_level={answer}" == column for answer in answers) for column in reference_columns]
    assert counted == [0, 0, 0]  # dead columns, silently
    pairs = [PairText(prompt, "yes " * 3 * n, "no " * 5) for n, prompt in enumerate(PROMPTS)]
    table = describe_pairs(pairs, 64).table
    assert set(table.names) >= {*FLAG_NAMES, *SUBJECT_NAMES}
    bins = fit_bins(table)
    names, tags = tag_names(bins, table.names), tag_matrix(table, bins)
    binned = [n for n, name in enumerate(names) if "=" in name]
    assert (tags[:, binned].sum(axis=0) > 0).all()
    with pytest.raises(KeyError):
        table.column("expertise_level=expert")


PROMPTS = ["Prove the theorem", "Translate this", "Why?", "Write a poem about law", "x", "def f(): pass"]


def reference_rouge_1(a: list[str], b: list[str]) -> float:
    shared = sum((Counter(a) & Counter(b)).values())
    return 2 * shared / (len(a) + len(b))


def test_rouge_l_is_of_subsequences_and_not_of_single_words() -> None:
    a, b = ["the", "dog", "bit", "the", "man"], ["the", "man", "bit", "the", "dog"]
    assert reference_rouge_1(a, b) == 1.0
    assert rouge_l(a, b) == pytest.approx(2 * 3 / 10)


def test_a_union_has_both_sides_in_it() -> None:
    a, b = frozenset({"Paris"}), frozenset({"Paris", "Rome", "Oslo", "Bern"})

    def reference(one: frozenset[str], other: frozenset[str]) -> float:
        return len(one & other) / len(one)

    assert (reference(a, b), reference(b, a)) == (1.0, 0.25)
    assert overlap(a, b) == overlap(b, a) == 0.25


def test_a_value_on_an_edge_is_in_one_bin_and_the_ends_are_in_one_too() -> None:
    values = np.array([0.0, 1 / 3, 0.5, 2 / 3, 1.0])
    edges = [(0.0, 1 / 3), (1 / 3, 2 / 3), (2 / 3, 1.0)]
    both_closed = [sum(low <= v <= high for low, high in edges) for v in values]
    both_open = [sum(low < v < high for low, high in edges) for v in values]
    assert (max(both_closed), min(both_open)) == (2, 0)  # counted twice, or lost
    table = table_of(values.astype(np.float32))
    bins = TagBins(((CONTINUOUS_NAMES[0], (float(np.float32(1 / 3)), float(np.float32(2 / 3)))),))
    assert tag_matrix(table, bins).sum(axis=1).tolist() == [1] * 5


def test_a_two_to_two_split_is_nobodys_whatever_the_order() -> None:
    votes = ["a", "a", "b", "b"]
    reference = {Counter(order).most_common(1)[0][0] for order in (votes, votes[::-1])}
    assert reference == {"a", "b"}
    posteriors = []
    for order in (votes, votes[::-1]):
        side = np.array([1.0 if vote == "a" else -1.0 for vote in order])
        cast = Votes(np.zeros(4, dtype=np.int64), np.arange(4), side)
        posteriors.append(float(combine(np.zeros(1), np.full(1, 0.5), cast, np.full(4, 0.8))[0]))
    assert posteriors == pytest.approx([0.5, 0.5])


def test_the_best_of_several_by_the_test_metric_is_no_finding() -> None:
    rng = np.random.default_rng(3)
    cells, names = 400, 3
    chosen_on, reported_on = (rng.normal(0.0, 1.0, (cells, names)) for _ in range(2))
    best = chosen_on.argmax(axis=1)
    reference = chosen_on[np.arange(cells), best].mean()
    honest = reported_on[np.arange(cells), best].mean()
    assert reference > 0.7  # three strategies that do nothing look like a gain
    assert abs(honest) < 0.15
    pool = pool_of(60)
    for name in STRATEGIES:  # ours are given no test metric: the truth changes no plan but the oracle's
        turned = routed(name, pool_with_other_truth(pool), 3.0)
        same = np.array_equal(turned.arm, routed(name, pool, 3.0).arm)
        assert same == (name != "oracle"), name


def pool_with_other_truth(pool: Pool) -> Pool:
    assert pool.true_gain is not None
    return replace(pool, true_gain=-pool.true_gain)


def test_a_price_changes_a_plan_and_a_published_gain_does_not_know_it() -> None:
    pool = pool_of(60)
    assert pool.tag_gain is not None
    cheap, dear = (routed("adv_per_cost", pool, 3.0, human=Arm("crowd", "crowd", price)) for price in (0.05, 1.0))
    assert cheap.human_mask.sum() > dear.human_mask.sum()
    assert dear.cost <= 3.0
    reference = np.argsort(-pool.tag_gain)[:30]  # a number of instances, whatever they cost
    assert len(reference) * 1.0 > 3.0


def test_what_was_drawn_at_random_can_be_told_from_what_was_chosen() -> None:
    pool = pool_of(60)
    for name in ("random", "adaptive_advantage"):
        plan = routed(name, pool, 3.0)
        assert plan.propensity.shape == (60,)
        assert ((plan.propensity > 0) & (plan.propensity <= 1)).all()
    assert (routed("random", pool, 3.0).propensity < 1).all()


def test_mixes_to_learn_from_have_fixed_sizes_too() -> None:
    pool, rng = pool_of(60), np.random.default_rng(0)
    drawn = draw_budgets(50, 60, rng)
    assert len(np.unique(drawn)) > 20  # as published
    fixed = draw_mixes(pool.tags, np.repeat([15, 30], 5), rng)
    assert fixed.sum(axis=1).tolist() == [15] * 5 + [30] * 5
