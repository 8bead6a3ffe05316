"""Losses over pairs: against numpy in float64, their gradients, and what they become in the limit."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.objective_cases import (
    arrays,
    certain,
    lists,
    log_sigmoid,
    options,
    pairs,
    part,
    run,
    swapped,
    tensor,
    value,
)
from training.objectives.catalogue import OBJECTIVES
from training.objectives.registry import FUNCTIONS
from training.objectives.terms import Inputs, smoothed

COUNT = 6


def oracle(name: str, case: Inputs, given_options: dict[str, Any]) -> tuple[Any, Any]:
    """Terms and weights, from the formulas of the papers."""
    a, o = arrays(case), options(name, **given_options)
    p = a["p"] * (1 - o.label_smoothing) + (1 - a["p"]) * o.label_smoothing
    w = a["w"]

    def apart(values: Any) -> Any:
        return values[a["l"]] - values[a["r"]]

    ratio, mean = a["lp"] - a["ref"], a["lp"] / a["n"]
    if name == "bt":
        d = apart(a["s"])
        centred = o.centring * (a["s"][a["l"]] + a["s"][a["r"]]) ** 2
        loss = -p * log_sigmoid(d - a["m"]) - (1 - p) * log_sigmoid(-d - a["m"]) + centred
    elif name in ("dpo", "dpo_norm"):
        h = o.beta * apart(ratio / a["n"] if name == "dpo_norm" else ratio)
        loss = -p * log_sigmoid(h) - (1 - p) * log_sigmoid(-h)
    elif name == "ipo":
        d = apart(ratio / a["n"])
        loss = p * (d - 0.5 / o.beta) ** 2 + (1 - p) * (d + 0.5 / o.beta) ** 2
    elif name == "hinge":
        h = o.beta * apart(ratio)
        loss = p * np.maximum(0, 1 - h) + (1 - p) * np.maximum(0, 1 + h)
    elif name == "robust":
        h, q = o.beta * apart(ratio), 2 * p - 1
        unbiased = (-p * log_sigmoid(h) + (1 - p) * log_sigmoid(-h)) / q
        loss, w = unbiased * q**2, w
        return w * loss, w * q**2
    elif name == "simpo":
        h = o.beta * apart(mean)
        loss = -p * log_sigmoid(h - o.target_margin) - (1 - p) * log_sigmoid(-h - o.target_margin)
    elif name == "orpo":
        odds = mean - np.log(1 - np.exp(mean))
        d = apart(odds)
        loss = p * (-mean[a["l"]] - o.beta * log_sigmoid(d)) + (1 - p) * (-mean[a["r"]] - o.beta * log_sigmoid(-d))
    else:
        raise KeyError(name)
    return w * loss, w


CASES: list[tuple[str, dict[str, Any]]] = [
    ("bt", {}),
    ("bt", {"centring": 0.01, "label_smoothing": 0.1}),
    ("dpo", {}),
    ("dpo", {"beta": 0.5, "label_smoothing": 0.2}),
    ("dpo_norm", {}),
    ("hinge", {}),
    ("ipo", {"label_smoothing": 0.1}),
    ("robust", {}),
    ("robust", {"label_smoothing": 0.3}),
    ("simpo", {"target_margin": 0.5}),
    ("orpo", {"beta": 0.7}),
]
NAMES = sorted({name for name, _ in CASES})


@pytest.mark.parametrize(("name", "given_options"), CASES)
@pytest.mark.parametrize("seed", range(5))
def test_the_loss_is_that_of_the_numpy_oracle(name: str, given_options: dict[str, Any], seed: int) -> None:
    case = pairs(seed)
    loss = run(name, case, **given_options)
    terms, weights = oracle(name, case, given_options)
    np.testing.assert_allclose(loss.terms.numpy(), terms, rtol=1e-10)
    np.testing.assert_allclose(loss.weights.numpy(), weights, rtol=1e-12)
    assert loss.groups.tolist() == list(range(COUNT))


@pytest.mark.parametrize(("name", "given_options"), CASES)
def test_gradients_pass_gradcheck(name: str, given_options: dict[str, Any]) -> None:
    field = "scores" if "scores" in OBJECTIVES[name].needs else "logps"
    case = pairs(3)
    values = getattr(case, field).clone().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: run(name, replace(case, **{field: x}), **given_options).terms.sum(), (values,)
    )


@pytest.mark.parametrize(("name", "given_options"), CASES)
def test_swapping_sides_and_probability_changes_nothing(name: str, given_options: dict[str, Any]) -> None:
    case = pairs(1)
    torch.testing.assert_close(run(name, swapped(case), **given_options).terms, run(name, case, **given_options).terms)


@pytest.mark.parametrize("name", NAMES)
def test_splitting_a_batch_changes_nothing(name: str) -> None:
    case = pairs(2)
    halves = [run(name, part(case, groups)) for groups in ([0, 3, 1], [2, 4, 5])]
    whole = run(name, case)
    assert sum(float(half.terms.sum()) for half in halves) == pytest.approx(float(whole.terms.sum()))
    assert sum(float(half.weights.sum()) for half in halves) == pytest.approx(float(whole.weights.sum()))


def test_at_equal_rewards_the_losses_are_known() -> None:
    case = pairs(**certain())
    level = replace(case, scores=torch.zeros(2 * COUNT, 1, dtype=torch.float64), logps=case.ref_logps)
    for name in ("bt", "dpo", "dpo_norm", "robust"):
        np.testing.assert_allclose(run(name, level).terms.numpy(), math.log(2))
    np.testing.assert_allclose(run("hinge", level).terms.numpy(), 1)
    np.testing.assert_allclose(run("ipo", level).terms.numpy(), 25)


def test_derived_by_hand() -> None:
    case = pairs(**certain() | {"margin": torch.full((COUNT,), 0.5, dtype=torch.float64)})
    scores = torch.zeros(2 * COUNT, 1, dtype=torch.float64)
    scores[0] = math.log(3) + 0.5  # d - m = log 3, sigma = 3/4
    assert run("bt", replace(case, scores=scores)).terms[0].item() == pytest.approx(math.log(4 / 3))
    even = replace(case, logps=torch.full_like(scores[:, 0], math.log(0.5)), scored=torch.ones(2 * COUNT))
    # both completions have probability 1/2 per token: odds are even, and imitation costs log 2
    assert run("orpo", even, beta=0.25).terms[0].item() == pytest.approx(1.25 * math.log(2))
    assert run("simpo", even, target_margin=0.0).terms[0].item() == pytest.approx(math.log(2))


def test_without_noise_robust_is_dpo_and_with_even_noise_the_papers_formula() -> None:
    case = pairs(**certain())
    torch.testing.assert_close(run("robust", case).terms, run("dpo", case).terms)
    noise = 0.3
    a = arrays(case)
    ratio = a["lp"] - a["ref"]
    h = 0.1 * (ratio[a["l"]] - ratio[a["r"]])
    paper = (-(1 - noise) * log_sigmoid(h) + noise * log_sigmoid(-h)) / (1 - 2 * noise)
    assert value(run("robust", case, label_smoothing=noise)) == pytest.approx(paper.mean())


def test_robust_is_unbiased_under_flips() -> None:
    """Averaged over flips of the labels with their own chances, each pair's loss is that of its true label."""
    case, e = pairs(**certain()), torch.tensor([0.1, 0.4, 0.0, 0.25, 0.3, 0.05], dtype=torch.float64)
    kept = run("robust", replace(case, edges=replace(case.edges, probability=1 - e)))
    flipped = run("robust", replace(case, edges=replace(case.edges, probability=e)))
    mean = (1 - e) * kept.terms / kept.weights + e * flipped.terms / flipped.weights
    torch.testing.assert_close(mean, run("dpo", case).terms)


def test_robust_takes_nothing_from_a_tie() -> None:
    loss = run("robust", pairs(probability=torch.full((COUNT,), 0.5, dtype=torch.float64)))
    assert loss.terms.tolist() == loss.weights.tolist() == [0.0] * COUNT


@pytest.mark.parametrize(("name", "of_one_token"), [("dpo_norm", "dpo"), ("simpo", None)])
def test_per_token_losses_do_not_see_how_long_equal_tokens_go_on(name: str, of_one_token: str | None) -> None:
    case = pairs()
    assert case.logps is not None
    assert case.ref_logps is not None
    assert case.scored is not None
    longer = replace(case, logps=3 * case.logps, ref_logps=3 * case.ref_logps, scored=3 * case.scored)
    torch.testing.assert_close(run(name, longer).terms, run(name, case).terms)
    if of_one_token:
        single = replace(case, scored=torch.ones(2 * COUNT, dtype=torch.long))
        torch.testing.assert_close(run(name, single, beta=0.1).terms, run(of_one_token, single, beta=0.1).terms)


def test_far_apart_scores_neither_overflow_nor_vanish() -> None:
    scores = torch.tensor([1e4, -1e4] * COUNT, dtype=torch.float32)[:, None]
    right = replace(pairs(**certain()), scores=scores)
    wrong = replace(pairs(**certain() | {"probability": torch.zeros(COUNT, dtype=torch.float64)}), scores=scores)
    assert run("bt", right).terms.tolist() == [0.0] * COUNT
    assert run("bt", wrong).terms.tolist() == [2e4] * COUNT


def test_orpo_stays_finite_at_certainty() -> None:
    case = replace(pairs(**certain()), logps=torch.zeros(2 * COUNT, dtype=torch.float64))
    assert bool(torch.isfinite(run("orpo", case).terms).all())


def test_a_tie_pulls_the_scores_together() -> None:
    case = pairs(**certain() | {"probability": torch.full((COUNT,), 0.5, dtype=torch.float64)})
    assert case.scores is not None
    scores = case.scores.clone().requires_grad_()
    run("bt", replace(case, scores=scores)).terms.sum().backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    assert torch.equal(torch.sign(scores.grad[0::2]), torch.sign(case.scores[0::2] - case.scores[1::2]))


@pytest.mark.parametrize("name", NAMES)
def test_a_weight_of_zero_is_no_edge(name: str) -> None:
    loss = run(name, pairs(weight=torch.zeros(COUNT, dtype=torch.float64)))
    assert loss.terms.tolist() == loss.weights.tolist() == [0.0] * COUNT


@pytest.mark.parametrize("name", ["bt", "dpo", "ipo", "hinge", "robust", "dpo_norm", "simpo", "orpo"])
def test_a_ranking_is_learned_as_all_its_pairs(name: str) -> None:
    case = lists([[2, 1, 3]])
    single = []
    for left, right in ((1, 0), (0, 2), (1, 2)):
        edge = torch.tensor([left]), torch.tensor([right])
        alone = replace(case.edges, left=edge[0], right=edge[1], **{k: v[:1] for k, v in certain().items()})
        single.append(float(run(name, replace(case, edges=replace(alone, group=torch.tensor([0])))).terms))
    assert float(run(name, case).terms.sum()) == pytest.approx(sum(single))


@given(st.floats(0, 1), st.floats(0, 0.499))
def test_label_smoothing_stays_a_probability_and_keeps_the_side(p: float, smoothing: float) -> None:
    answer = smoothed(tensor([p]), smoothing).item()
    assert -1e-12 <= answer <= 1 + 1e-12
    assert (answer - 0.5) * (p - 0.5) >= -1e-12


@pytest.mark.parametrize(("name", "objective"), OBJECTIVES.items())
def test_an_objective_names_what_it_lacks(name: str, objective: Any) -> None:
    for missing in objective.needs:
        lacking: Any = {missing: None}
        with pytest.raises(ValueError, match=missing):
            run(name, replace(pairs(), **lacking))


def test_every_objective_of_the_catalogue_has_its_loss() -> None:
    assert FUNCTIONS.keys() == OBJECTIVES.keys()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objectives_own_options_are_within_their_ranges_and_others_are_refused(name: str) -> None:
    assert options(name)
    with pytest.raises(ValueError, match="has no option nonsense"):
        options(name, nonsense=1.0)
