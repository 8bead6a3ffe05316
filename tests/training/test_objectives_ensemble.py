"""Ensembles of reward heads, and imitation: oracles, gradients, limits."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.objective_cases import arrays, certain, lists, log_sigmoid, pairs, part, run, swapped, tensor, value
from training.engine.pack import prompt_key
from training.objectives.reward import combined, draws

HEADS = 3


def case(seed: int = 0) -> Any:
    drawn = pairs(seed)
    return replace(drawn, scores=tensor(np.random.default_rng(seed).normal(size=(12, HEADS))))


@pytest.mark.parametrize("bootstrap", ["prompts", "none"])
def test_the_ensembles_loss_is_the_numpy_oracle(bootstrap: str) -> None:
    given = case(1)
    a, scores = arrays(given), given.scores.numpy()
    apart, m, p = scores[a["l"]] - scores[a["r"]], a["m"][:, None], a["p"][:, None]
    each = -p * log_sigmoid(apart - m) - (1 - p) * log_sigmoid(-apart - m)
    drawn = draws(given.completions.key[given.edges.left], HEADS).numpy() if bootstrap == "prompts" else 1
    weights = a["w"][:, None] * drawn * np.ones((1, HEADS))
    loss = run("ensemble", given, bootstrap=bootstrap)
    np.testing.assert_allclose(loss.terms.numpy(), (weights * each).mean(axis=1), rtol=1e-10)
    np.testing.assert_allclose(loss.weights.numpy(), weights.mean(axis=1), rtol=1e-10)


def test_the_ensemble_passes_gradcheck_and_splits() -> None:
    given = case(2)
    values = given.scores.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: run("ensemble", replace(given, scores=x)).terms.sum(), (values,))
    halves = [run("ensemble", part(given, groups)) for groups in ([4, 0], [1, 2, 3, 5])]
    whole = run("ensemble", given)
    assert sum(float(half.terms.sum()) for half in halves) == pytest.approx(float(whole.terms.sum()))
    assert sum(float(half.weights.sum()) for half in halves) == pytest.approx(float(whole.weights.sum()))


def test_equal_heads_without_bootstrap_are_bradley_terry() -> None:
    given = pairs()
    assert given.scores is not None
    equal = replace(given, scores=given.scores.expand(-1, HEADS))
    torch.testing.assert_close(run("ensemble", equal, bootstrap="none").terms, run("bt", given).terms)


def test_a_prompt_is_drawn_alike_everywhere_and_poisson_over_many() -> None:
    keys = torch.tensor([prompt_key(f"prompt {number}") for number in range(20_000)])
    drawn = draws(keys, 4)
    assert torch.equal(draws(keys[77:78], 4), drawn[77:78])
    for head in range(4):
        counts = torch.bincount(drawn[:, head], minlength=4)[:4].double() / len(keys)
        np.testing.assert_allclose(counts.numpy(), [0.3679, 0.3679, 0.1839, 0.0613], atol=0.015)
    between = np.corrcoef(drawn.T.numpy())
    assert np.abs(between - np.eye(4)).max() < 0.03


def test_heads_are_combined_by_mean_worst_or_mean_less_variance() -> None:
    scores = tensor([[1.0, 3.0], [2.0, 2.0]])
    assert combined(scores, "mean", 9).tolist() == [2, 2]
    assert combined(scores, "worst", 9).tolist() == [1, 2]
    assert combined(scores, "uncertainty", 0.5).tolist() == [1.5, 2]
    given = replace(pairs(count=1, **certain(1)), scores=scores)
    assert run("ensemble", given, combine="worst").rewards.tolist() == [1, 2]


def test_a_pair_model_is_the_numpy_oracle_and_passes_gradcheck() -> None:
    given = pairs(4)
    a = arrays(given)
    ab, ba, p = a["s"][a["l"]], a["s"][a["r"]], a["p"] * 0.8 + (1 - a["p"]) * 0.2
    loss = -p * (log_sigmoid(ab) + log_sigmoid(-ba)) - (1 - p) * (log_sigmoid(-ab) + log_sigmoid(ba))
    np.testing.assert_allclose(run("pair_pm", given, label_smoothing=0.2).terms.numpy(), a["w"] * loss, rtol=1e-10)
    assert given.scores is not None
    values = given.scores.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: run("pair_pm", replace(given, scores=x)).terms.sum(), (values,))
    torch.testing.assert_close(run("pair_pm", swapped(given)).terms, run("pair_pm", given).terms)
    halves = [run("pair_pm", part(given, groups)) for groups in ([4, 0], [1, 2, 3, 5])]
    assert sum(float(half.terms.sum()) for half in halves) == pytest.approx(float(run("pair_pm", given).terms.sum()))


def test_a_pair_model_of_opposite_orders_is_twice_bradley_terry() -> None:
    """Where s_ba = -s_ab, both orders say the same: each is the loss of a reward difference s_ab."""
    given = pairs(5, **certain())
    assert given.scores is not None
    scores = given.scores.clone()
    scores[1::2] = -scores[0::2]
    opposite = run("pair_pm", replace(given, scores=scores)).terms
    torch.testing.assert_close(opposite, 2 * run("bt", replace(given, scores=scores / 2)).terms)


def test_imitation_is_the_mean_over_tokens() -> None:
    given = lists([[1, 2], [1]])
    a = arrays(given)
    loss = run("sft", given)
    np.testing.assert_allclose(loss.terms.numpy(), -a["lp"])
    assert value(loss) == pytest.approx(-a["lp"].sum() / a["n"].sum())
    assert given.logps is not None
    values = given.logps.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: run("sft", replace(given, logps=x)).terms.sum(), (values,))
