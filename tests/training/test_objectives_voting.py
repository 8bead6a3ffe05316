"""Reward models whose labels are voted on."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.objective_cases import arrays, log_sigmoid, pairs, part, run
from tests.training.test_objectives_runs import prepare
from tests.training.tiny_models import write_rows
from training import run as training_run
from training.base_model import preference_pairs
from training.objectives.reward import uniform
from training.objectives.voting import doubted, second_view

PLAIN: dict[str, Any] = {"flip_share": 0.0, "soften_share": 0.0, "vote_margin": 0.0}


def test_the_loss_is_that_of_the_numpy_oracle() -> None:
    case = pairs()
    loss = run("strength_voting", case, contrast_weight=0.3, temperature=0.5)
    a, features = arrays(case), case.features.numpy()
    d = a["s"][a["l"]] - a["s"][a["r"]]
    pair = -a["p"] * log_sigmoid(d - a["m"]) - (1 - a["p"]) * log_sigmoid(-d - a["m"])
    kept = uniform(case.completions.key[case.edges.left] * 4 + 1, 8).numpy() < 0.9
    z = np.where(a["p"] < 0.5, -1, 1)[:, None] * (features[a["l"]] - features[a["r"]]) * kept
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    likeness = z @ case.peers.directions.numpy().T / 0.5
    contrast = -np.diag(likeness) + np.log(np.exp(likeness).sum(axis=1))
    np.testing.assert_allclose(loss.terms.numpy(), a["w"] * (pair + 0.3 * contrast), rtol=1e-10)
    np.testing.assert_allclose(loss.weights.numpy(), a["w"], rtol=1e-12)


def test_gradients_pass_gradcheck() -> None:
    case = pairs(1)
    leaves = [case.scores.clone().requires_grad_(), case.features.clone().requires_grad_()]
    assert torch.autograd.gradcheck(
        lambda x, f: run("strength_voting", replace(case, scores=x, features=f)).terms.sum(), leaves
    )


def test_splitting_a_batch_changes_nothing_though_its_pairs_are_contrasted() -> None:
    case = pairs(2)
    halves = [run("strength_voting", part(case, groups)) for groups in ([0, 3, 1], [2, 4, 5])]
    whole = run("strength_voting", case)
    assert sum(float(half.terms.sum()) for half in halves) == pytest.approx(float(whole.terms.sum()))


def test_without_contrast_it_is_bradley_terry() -> None:
    case = pairs(3)
    torch.testing.assert_close(run("strength_voting", case, contrast_weight=0.0).terms, run("bt", case).terms)


def test_two_views_of_a_pair_are_alike_and_not_the_same() -> None:
    case = pairs(4)
    one, other = (second_view(case.features, case.edges, case.completions) for _ in range(2))
    assert torch.equal(one, other)
    torch.testing.assert_close(one.norm(dim=1), torch.ones(6, dtype=torch.float64))


def test_labels_after_the_votes_derived_by_hand() -> None:
    strengths = np.array([-3.0, -0.1, 0.5, 2.0, 1.0, -4.0])
    labels = np.array([1.0, 1.0, 1.0, 1.0, 0.5, 0.0])
    found = doubted(strengths, labels, flip_share=0.2, soften_share=0.2, vote_margin=0.5)
    # towards the label: -3, -0.1, 0.5, 2, (a tie), 4; the weakest is turned, the next softened, the rest keep a margin
    assert found.flipped.tolist() == [True, False, False, False, False, False]
    assert found.softened.tolist() == [False, True, False, False, False, False]
    np.testing.assert_allclose(found.probability, [0, 1 / (1 + np.exp(0.1)), 1, 1, 0.5, 0])
    np.testing.assert_allclose(found.margin, [0, 0, 0.25, 1, 0, 2])


def test_votes_that_agree_turn_nothing_round() -> None:
    found = doubted(np.array([1.0, 2.0]), np.ones(2), flip_share=0.5, soften_share=0.0, vote_margin=0.0)
    assert not found.flipped.any()
    assert found.probability.tolist() == [1.0, 1.0]


@given(st.lists(st.tuples(st.floats(-5, 5), st.sampled_from([0.0, 0.3, 0.5, 1.0])), max_size=12))
def test_with_shares_of_nothing_labels_stay(said: list[tuple[float, float]]) -> None:
    strengths, labels = (np.array([one[part] for one in said]) for part in (0, 1))
    found = doubted(strengths, labels, **PLAIN)
    assert found.probability.tolist() == labels.tolist()
    assert not found.margin.any()


@pytest.mark.slow
def test_votes_find_planted_flips_and_learn_better_than_without(tmp_path: Path) -> None:
    """A quarter of the labels is turned round; those that the votes turn back are mostly such."""
    rows = preference_pairs(360, seed=8)
    flips = np.random.default_rng(0).uniform(size=300) < 0.25
    train = [
        row | {"chosen": row["rejected"], "rejected": row["chosen"]} if flip else row
        for row, flip in zip(rows, flips, strict=False)
    ]
    accuracy = {}
    for name, options in (("bt", {}), ("strength_voting", {"flip_share": 0.2, "soften_share": 0.1, "rounds": 2})):
        (tmp_path / name).mkdir()
        folder = prepare(tmp_path / name, name, "preference", objective_options=options, max_steps=None, epochs=4)
        write_rows(folder / "shaped.jsonl", train)
        write_rows(folder / "held.jsonl", rows[300:])
        assert training_run.execute(folder) == 0
        result = json.loads((folder / "result.json").read_text())
        accuracy[name] = result["evaluation"]["test"]["accuracy"]
    assert result["votes"]["flipped"] > 20
    assert accuracy["strength_voting"] >= accuracy["bt"] - 0.02
