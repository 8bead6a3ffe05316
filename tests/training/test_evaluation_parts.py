"""What is said of an ensemble's heads and of segments."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.objective_cases import lists, run, tensor
from training.evaluation.localisation import area_under_curve, localisation
from training.evaluation.spread import ensemble_spread


def test_the_area_under_the_curve_counts_pairs_and_ties_half() -> None:
    scores, labels = np.array([3.0, 1.0, 2.0, 1.0]), np.array([1.0, 1.0, 0.0, 0.0])
    # 3 beats both; 1 loses to 2 and ties with 1
    assert area_under_curve(scores, labels) == (2 + 0.5) / 4
    assert area_under_curve(scores, np.ones(4)) is None


def test_segments_that_nobody_judged_do_not_count() -> None:
    scores, labels = np.array([[1.0, 0.0], [2.0, 0.0], [9.0, 0.0]]), np.array([[0, 0], [1, 0], [np.nan, 0]])
    found = localisation(scores, labels, ["Wrong", "Dull"])
    assert found["Wrong"] == {"segments": 2, "marked": 1, "auc": 1.0}
    assert found["Dull"] == {"segments": 3, "marked": 0, "auc": None}


def test_an_ensemble_widens_off_its_distribution() -> None:
    """Heads learn a planted reward on completions that differ in a few ways, and nothing of others."""
    width, known, heads, count = 12, 4, 6, 300
    generator = np.random.default_rng(0)
    planted = generator.normal(size=width)

    def drawn(ways: slice) -> Any:
        features = np.zeros((2 * count, width))
        features[:, ways] = generator.normal(size=features[:, ways].shape)
        return features

    features = drawn(slice(0, known))
    better = (features @ planted)[0::2] > (features @ planted)[1::2]
    first = torch.arange(0, 2 * count, 2)
    case = lists([[1, 2]] * count)
    said = torch.as_tensor(better)
    edges = replace(case.edges, left=torch.where(said, first, first + 1), right=torch.where(said, first + 1, first))
    weights = tensor(generator.normal(size=(width, heads)) / 2).requires_grad_()
    optimizer = torch.optim.Adam([weights], lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        loss = run("ensemble", replace(case, edges=edges, scores=tensor(features) @ weights), heads=heads)
        (loss.terms.sum() / loss.weights.sum()).backward()
        optimizer.step()
    learned = weights.detach().numpy()
    chosen = np.ones(count)

    def unanimous(ways: slice) -> float:
        scores = drawn(ways) @ learned
        found = ensemble_spread(scores[0::2] - scores[1::2], chosen)
        assert found is not None
        return float(found["unanimous"])

    assert unanimous(slice(known, width)) < unanimous(slice(0, known)) - 0.3


@pytest.mark.parametrize("count", [0, 1])
def test_no_marks_at_all_is_no_curve(count: int) -> None:
    assert localisation(np.zeros((count, 1)), np.zeros((count, 1)), ["x"])["x"]["auc"] is None
