"""Losses over rankings and over single completions: oracles that count orders one by one, gradients, limits."""

import math
from dataclasses import replace
from itertools import permutations, product
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.objective_cases import arrays, lists, log_sigmoid, options, pairs, part, run, tensor, value
from training.objectives.catalogue import OBJECTIVES
from training.objectives.listwise import choices, logsumexp_by, places
from training.objectives.terms import Inputs

RANKS = [[1, 2, 3, 4], [2, 1], [1, 1], [3, 1, 1, 2], [1, 2, 2, 2, 3], [2, 1, 3]]
LISTS: list[tuple[str, dict[str, Any]]] = [
    ("plackett_luce", {}),
    ("plackett_luce", {"centring": 0.02}),
    ("lipo_lambda", {"beta": 0.3}),
    ("pro", {"sft_weight": 0.5}),
]
NAMES = ["plackett_luce", "lipo_lambda", "pro"]


def orders(ranks: list[int]) -> list[tuple[int, ...]]:
    """Every order of the positions that the ranks allow."""
    ties = [permutations([i for i, one in enumerate(ranks) if one == rank]) for rank in sorted(set(ranks))]
    return [sum(parts, ()) for parts in product(*ties)]


def luce_oracle(scores: Any, ranks: list[int]) -> float:
    """Mean over all orders of -log of the chance to draw it without replacement."""
    losses = []
    for order in orders(ranks):
        drawn = scores[list(order)]
        losses.append(-sum(drawn[k] - np.log(np.exp(drawn[k:]).sum()) for k in range(len(drawn))))
    return float(np.mean(losses))


def oracle(name: str, case: Inputs, given: dict[str, Any]) -> list[float]:
    a, o = arrays(case), options(name, **given)
    answers, start = [], 0
    for ranks in RANKS:
        here = slice(start, start + len(ranks))
        start += len(ranks)
        if name == "plackett_luce":
            scores = a["s"][here]
            answers.append(luce_oracle(scores, ranks) + o.centring * (scores**2).sum())
        elif name == "pro":
            means = (a["lp"] / a["n"])[here]
            first = [i for i, rank in enumerate(ranks) if rank == 1]
            answers.append(luce_oracle(means, ranks) - o.sft_weight * means[first].mean())
        else:
            s = o.beta * (a["lp"] - a["ref"])[here]
            gain = case.completions.gain.numpy()[here]
            tau = 1 + np.array([(s > one).sum() for one in s])
            loss = 0.0
            for i, j in product(range(len(ranks)), repeat=2):
                if gain[i] > gain[j]:
                    delta = (2 ** gain[i] - 2 ** gain[j]) * abs(1 / np.log(1 + tau[i]) - 1 / np.log(1 + tau[j]))
                    loss -= delta * log_sigmoid(s[i] - s[j])
            answers.append(loss)
    return answers


@pytest.mark.parametrize(("name", "given"), LISTS)
@pytest.mark.parametrize("seed", range(3))
def test_the_loss_of_each_list_is_that_of_the_oracle(name: str, given: dict[str, Any], seed: int) -> None:
    case = lists(RANKS, seed)
    loss = run(name, case, **given)
    np.testing.assert_allclose(loss.terms.numpy(), oracle(name, case, given), rtol=1e-9)
    assert loss.weights.tolist() == [1.0] * len(RANKS)


@pytest.mark.parametrize(("name", "given"), LISTS)
def test_gradients_pass_gradcheck(name: str, given: dict[str, Any]) -> None:
    field = "scores" if "scores" in OBJECTIVES[name].needs else "logps"
    case = lists(RANKS[2:5], 4)
    values = getattr(case, field).clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: run(name, replace(case, **{field: x}), **given).terms.sum(), (values,))


@pytest.mark.parametrize("name", [*NAMES, "kto"])
def test_splitting_a_batch_changes_nothing(name: str) -> None:
    case = lists(RANKS, 2)
    halves = [run(name, part(case, groups)) for groups in ([0, 3], [5, 1, 2, 4])]
    whole = run(name, case)
    assert sum(float(half.terms.sum()) for half in halves) == pytest.approx(float(whole.terms.sum()))
    assert sum(float(half.weights.sum()) for half in halves) == pytest.approx(float(whole.weights.sum()))


def test_plackett_luce_of_two_is_bradley_terry_also_for_a_tie() -> None:
    case = lists([[1, 2], [2, 1], [1, 1]])
    torch.testing.assert_close(run("plackett_luce", case).terms, run("bt", case).terms)


def test_lipo_of_two_is_dpo_up_to_the_worth_of_the_order() -> None:
    case = lists([[1, 2], [2, 1]])
    worth = (2 - 1) * (1 / math.log(2) - 1 / math.log(3))
    torch.testing.assert_close(run("lipo_lambda", case).terms, worth * run("dpo", case).terms)


def test_pro_of_two_is_simpo_without_margin_plus_imitation() -> None:
    case = lists([[1, 2]])
    simpo = run("simpo", case, beta=1.0, target_margin=0.0).terms
    assert case.logps is not None
    assert case.scored is not None
    imitation = 0.05 * -(case.logps / case.scored)[:1]
    torch.testing.assert_close(run("pro", case).terms, simpo + imitation)


def test_a_long_tie_is_no_side_and_counts_every_place_once() -> None:
    case = lists([[1] * 9])
    level = replace(case, scores=torch.zeros(9, 1, dtype=torch.float64))
    assert value(run("plackett_luce", level)) == pytest.approx(math.lgamma(10))  # log 9!
    sizes: dict[int, float] = {}
    for weight, members in choices([1] * 9):
        sizes[len(members)] = sizes.get(len(members), 0) + weight
    assert {size: round(total, 9) for size, total in sizes.items()} == dict.fromkeys(range(1, 10), 1.0)


def test_far_scores_neither_overflow_nor_vanish() -> None:
    scores = tensor([1000.0, -1000.0, 0.0])
    assert logsumexp_by(scores, torch.tensor([0, 0, 1]), 2).tolist() == [1000.0, 0.0]
    case = replace(lists([[1, 3, 2]]), scores=scores[:, None])
    assert value(run("plackett_luce", case)) == pytest.approx(0)


def test_places_are_counted_within_a_group() -> None:
    group = torch.tensor([0, 0, 0, 1, 1])
    assert places(tensor([1.0, 3.0, 3.0, 9.0, 10.0]), group).tolist() == [3, 1, 2, 2, 1]


@pytest.mark.parametrize("seed", range(3))
def test_kto_is_the_numpy_oracle(seed: int) -> None:
    case = lists([[1, 2], [1, 1], [2, 1], [1, 2, 3]], seed)  # a gain of 1/2 is left out
    a, gain = arrays(case), case.completions.gain.numpy()
    z = float(case.divergence) if case.divergence is not None else 0.0
    ratio = a["lp"] - a["ref"]
    good = 1 - 1 / (1 + np.exp(-0.2 * (ratio - z)))
    bad = 1 - 1 / (1 + np.exp(-0.2 * (z - ratio)))
    terms = np.where(gain > 0.5, 1.5 * good, np.where(gain < 0.5, 0.5 * bad, 0))
    loss = run("kto", case, beta=0.2, desirable_weight=1.5, undesirable_weight=0.5)
    np.testing.assert_allclose(loss.terms.numpy(), terms, rtol=1e-9)
    assert loss.weights.tolist() == (gain != 0.5).astype(float).tolist()


def test_kto_passes_gradcheck_and_pulls_good_up_and_bad_down() -> None:
    case = pairs(3)
    assert case.logps is not None
    values = case.logps.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: run("kto", replace(case, logps=x)).terms.sum(), (values,))
    run("kto", replace(case, logps=values)).terms.sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    assert (values.grad[0::2] < 0).all()
    assert (values.grad[1::2] > 0).all()


def test_a_divergence_below_zero_counts_as_none() -> None:
    case = pairs()
    below, none = (run("kto", replace(case, divergence=tensor(z))).terms for z in (-3.0, 0.0))
    torch.testing.assert_close(below, none)
