"""Agreement and Bradley–Terry: hand numbers, published examples, and the krippendorff package."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from feedback.aggregation import (
    Votes,
    cohen_kappa,
    cross_agreement,
    davidson,
    fleiss_kappa,
    krippendorff_alpha,
    pair_agreement,
)

# Krippendorff's own example (Computing Krippendorff's Alpha-Reliability, 2011): 4 observers, 12 units, 0 = missing
PUBLISHED = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3],
        [0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0],
    ]
)


def votes_of(matrix: np.ndarray) -> Votes:
    """From (annotators, items) with 0 for missing and labels from 1."""
    annotator, item = np.nonzero(matrix)
    shape = {"n_items": matrix.shape[1], "n_annotators": matrix.shape[0]}
    return Votes.of(item, annotator, matrix[annotator, item] - 1, **shape)


@pytest.mark.parametrize(("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_the_published_example(level: Literal["nominal", "ordinal", "interval"], published: float) -> None:
    alpha = krippendorff_alpha(votes_of(PUBLISHED), level)
    assert alpha.value == pytest.approx(published, abs=0.0006)
    assert alpha.value is not None
    assert alpha.low is not None
    assert alpha.high is not None
    assert alpha.low < alpha.value < alpha.high
    assert (alpha.items, alpha.votes) == (11, 40)


@given(st.lists(st.lists(st.integers(0, 4), min_size=7, max_size=7), min_size=2, max_size=4))
def test_alpha_equals_the_krippendorff_package(rows: list[list[int]]) -> None:
    package = pytest.importorskip("krippendorff")
    matrix = np.array(rows)
    assume((np.count_nonzero(matrix, axis=0) >= 2).any())
    paired = matrix[:, np.count_nonzero(matrix, axis=0) >= 2]
    assume(len(np.unique(paired[paired > 0])) > 1)
    data = np.where(matrix == 0, np.nan, matrix.astype(float))
    for level in ("nominal", "ordinal", "interval"):
        theirs = package.alpha(reliability_data=data, level_of_measurement=level)
        assert krippendorff_alpha(votes_of(matrix), level, bootstrap=0).value == pytest.approx(theirs, abs=1e-9)


def test_alpha_is_undefined_without_variation_or_pairs() -> None:
    assert krippendorff_alpha(Votes.of([0, 0], [0, 1], [1, 1])).value is None
    lonely = krippendorff_alpha(Votes.of([0, 1], [0, 0], [1, 0]))
    assert (lonely.value, lonely.low, lonely.items) == (None, None, 0)
    with pytest.raises(ValueError, match="values needs 2 numbers"):
        krippendorff_alpha(Votes.of([0, 0], [0, 1], [1, 0]), "interval", values=[1.0])


def test_alpha_interval_covers_and_is_reproducible() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(1, 4, 200)
    matrix = np.stack([np.where(rng.random(200) < 0.7, truth, rng.integers(1, 4, 200)) for _ in range(2)])
    one, same = (krippendorff_alpha(votes_of(matrix), seed=1) for _ in range(2))
    assert one == same
    assert one.low is not None
    assert one.high is not None
    assert one.low < 0.49 < one.high  # both see the truth in 0.7 · 0.7 of the items, else by chance
    assert 0.1 < one.high - one.low < 0.25


def test_raw_pairs_by_hand() -> None:
    votes = Votes.of([0, 0, 0, 1, 1, 2], [0, 1, 2, 0, 1, 0], [0, 0, 1, 1, 1, 0])
    result = pair_agreement(votes)  # item 0: 1 of 3 pairs, item 1: 1 of 1
    assert (result.agreement, result.pairs) == (0.5, 4)
    judge = Votes.of([0, 2], [0, 0], [0, 1], n_items=3, n_labels=2)
    across = cross_agreement(votes, judge)  # item 0: 2 of 3, item 2: 0 of 1
    assert (across.agreement, across.pairs) == (0.5, 4)
    assert pair_agreement(judge).agreement is None
    with pytest.raises(ValueError, match="same n_items"):
        cross_agreement(votes, Votes.of([0], [0], [0]))


def test_cohen_by_hand() -> None:
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: observed 0.7, expected 0.5
    one = [0] * 25 + [1] * 25
    other = [0] * 20 + [1] * 5 + [0] * 10 + [1] * 15
    assert cohen_kappa(one, other) == pytest.approx(0.4)
    assert cohen_kappa([0, 0], [0, 0]) is None
    # disagreement of 2 steps once in 3 against expected (marginals uniform): linear 8/9, so 1 − (2/3)/(8/9) = 1/4
    assert cohen_kappa([0, 1, 2], [0, 2, 1], weights="linear") == pytest.approx(0.25)
    with pytest.raises(ValueError, match="same number"):
        cohen_kappa([0], [0, 1])


def test_fleiss_of_the_published_example() -> None:
    # Fleiss 1971 as worked on Wikipedia: 10 items, 14 raters, 5 categories, kappa 0.210
    counts = [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
    label = [k for row in counts for k, n in enumerate(row) for _ in range(n)]
    votes = Votes.of(np.repeat(np.arange(10), 14), np.tile(np.arange(14), 10), label)
    assert fleiss_kappa(votes) == pytest.approx(0.20993, abs=1e-5)
    with pytest.raises(ValueError, match="same number of votes"):
        fleiss_kappa(Votes.of([0, 0, 1], [0, 1, 0], [0, 1, 0]))


def test_davidson_of_two_has_the_closed_form() -> None:
    # 12 wins, 4 ties, 3 losses: worth ratio 12/3 and ν = 4/√(12·3)
    outcome = [0] * 12 + [1] * 4 + [2] * 3
    fit = davidson([0] * 19, [1] * 19, outcome, ridge=1e-12)
    assert fit.strength[0] - fit.strength[1] == pytest.approx(np.log(4), abs=1e-6)
    assert fit.tie == pytest.approx(4 / 6, abs=1e-6)
    assert fit.converged
    assert fit.probabilities(0, 1) == pytest.approx((12 / 19, 4 / 19, 3 / 19), abs=1e-6)
    assert fit.log_likelihood == pytest.approx(12 * np.log(12 / 19) + 4 * np.log(4 / 19) + 3 * np.log(3 / 19))


def test_davidson_does_not_depend_on_sides_or_on_how_votes_are_grouped() -> None:
    rng = np.random.default_rng(0)
    pairs = np.array([pair for pair in itertools.combinations(range(5), 2) for _ in range(20)])
    outcome = rng.integers(0, 3, len(pairs))
    straight = davidson(pairs[:, 0], pairs[:, 1], outcome)
    swapped = davidson(pairs[:, 1], pairs[:, 0], 2 - outcome)
    np.testing.assert_allclose(straight.strength, swapped.strength, atol=1e-7)
    doubled = davidson(pairs[:, 0], pairs[:, 1], outcome, weights=np.full(len(pairs), 2.0), ridge=2e-3)
    np.testing.assert_allclose(straight.strength, doubled.strength, atol=1e-7)
    np.testing.assert_allclose(straight.standard_error, doubled.standard_error * np.sqrt(2), rtol=1e-6)
    assert straight.strength.mean() == pytest.approx(0, abs=1e-12)


def test_davidson_finds_the_strengths_that_made_the_games() -> None:
    rng = np.random.default_rng(1)
    strength = np.array([-1.0, -0.3, 0.2, 1.1])
    first, second = rng.integers(0, 4, (2, 20_000))
    keep = first != second
    first, second = first[keep], second[keep]
    half = (strength[first] - strength[second]) / 2
    mass = np.stack([np.exp(half), np.full_like(half, 0.6), np.exp(-half)], axis=1)
    edges = np.cumsum(mass / mass.sum(axis=1, keepdims=True), axis=1)
    outcome = (rng.random((first.size, 1)) > edges).sum(axis=1)
    fit = davidson(first, second, outcome)
    assert (np.abs(fit.strength - strength) < 4 * fit.standard_error).all()
    assert fit.standard_error.max() < 0.03
    assert fit.tie == pytest.approx(0.6, abs=0.03)


def test_an_undefeated_one_stays_finite_and_bad_games_are_refused() -> None:
    fit = davidson([0, 0, 1], [1, 2, 2], [0, 0, 0])
    assert np.isfinite(fit.strength).all()
    assert fit.tie == 0.0
    assert fit.strength.argsort().tolist() == [2, 1, 0]
    for bad in (([0], [0], [0]), ([0], [1], [3]), ([], [], []), ([0], [1, 2], [0])):
        with pytest.raises(ValueError, match=r"."):
            davidson(*bad)
