import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.engine.pack import Edges
from training.objectives.registry import Inputs, Loss, objectives, smoothed


@dataclass(frozen=True)
class Options:
    beta: float = 0.1
    label_smoothing: float = 0.0
    centring: float = 0.0
    loss_type: Literal["sigmoid", "hinge", "ipo"] = "sigmoid"


COUNT = 6


def tensor(values: Any) -> torch.Tensor:
    return torch.as_tensor(np.asarray(values), dtype=torch.float64)


def edges(generator: np.random.Generator, **changes: Any) -> Edges:
    drawn: dict[str, Any] = {
        "left": torch.arange(0, 2 * COUNT, 2),
        "right": torch.arange(1, 2 * COUNT, 2),
        "weight": tensor(generator.uniform(0.1, 2, COUNT)),
        "margin": tensor(generator.uniform(0, 1, COUNT)),
        "probability": tensor(generator.uniform(0, 1, COUNT)),
    }
    return Edges(**{**drawn, **changes})


def inputs(seed: int = 0, **changes: Any) -> Inputs:
    generator = np.random.default_rng(seed)
    return Inputs(
        edges=edges(generator, **changes),
        scores=tensor(generator.normal(size=2 * COUNT)),
        logps=tensor(-generator.uniform(5, 50, 2 * COUNT)),
        ref_logps=tensor(-generator.uniform(5, 50, 2 * COUNT)),
        scored=torch.as_tensor(generator.integers(3, 20, 2 * COUNT)),
    )


def run(name: str, given_inputs: Inputs, options: Options) -> Loss:
    return objectives()[name].function(given_inputs, options)


def log_sigmoid(x: Any) -> Any:
    return -np.logaddexp(0, -x)


def bt_oracle(given_inputs: Inputs, options: Options) -> Any:
    assert given_inputs.scores is not None
    r, e = given_inputs.scores.numpy(), given_inputs.edges
    left, right = r[e.left.numpy()], r[e.right.numpy()]
    p, m = e.probability.numpy(), e.margin.numpy()
    p = p * (1 - options.label_smoothing) + (1 - p) * options.label_smoothing
    loss = -p * log_sigmoid(left - right - m) - (1 - p) * log_sigmoid(right - left - m)
    return e.weight.numpy() * (loss + options.centring * (left + right) ** 2)


def dpo_oracle(given_inputs: Inputs, options: Options) -> Any:
    assert given_inputs.logps is not None
    assert given_inputs.ref_logps is not None
    assert given_inputs.scored is not None
    ratio, e = (given_inputs.logps - given_inputs.ref_logps).numpy(), given_inputs.edges
    if options.loss_type == "ipo":
        ratio = ratio / given_inputs.scored.numpy()
    difference = ratio[e.left.numpy()] - ratio[e.right.numpy()]
    p, h = e.probability.numpy(), options.beta * difference
    p = p * (1 - options.label_smoothing) + (1 - p) * options.label_smoothing
    loss = {
        "sigmoid": -p * log_sigmoid(h) - (1 - p) * log_sigmoid(-h),
        "hinge": p * np.maximum(0, 1 - h) + (1 - p) * np.maximum(0, 1 + h),
        "ipo": p * (difference - 0.5 / options.beta) ** 2 + (1 - p) * (difference + 0.5 / options.beta) ** 2,
    }[options.loss_type]
    return e.weight.numpy() * loss


CASES = [
    ("bt", Options()),
    ("bt", Options(centring=0.01, label_smoothing=0.1)),
    ("dpo", Options()),
    ("dpo", Options(beta=0.5, label_smoothing=0.2)),
    ("dpo", Options(loss_type="hinge")),
    ("dpo", Options(loss_type="ipo", label_smoothing=0.1)),
]


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("seed", range(5))
def test_the_loss_is_that_of_the_numpy_oracle(name: str, options: Options, seed: int) -> None:
    case = inputs(seed)
    oracle = bt_oracle if name == "bt" else dpo_oracle
    np.testing.assert_allclose(run(name, case, options).per_edge.numpy(), oracle(case, options), rtol=1e-12)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_gradients_pass_gradcheck(name: str, options: Options) -> None:
    field = "scores" if name == "bt" else "logps"
    case = inputs(3)
    values = getattr(case, field).clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: run(name, replace(case, **{field: x}), options).per_edge.sum(), (values,))


@pytest.mark.parametrize(("name", "options"), CASES)
def test_swapping_sides_and_probability_changes_nothing(name: str, options: Options) -> None:
    case = inputs(1)
    e = case.edges
    swapped = replace(case, edges=Edges(e.right, e.left, e.weight, e.margin, 1 - e.probability))
    torch.testing.assert_close(run(name, swapped, options).per_edge, run(name, case, options).per_edge)


def certain(**changes: Any) -> dict[str, Any]:
    ones, zeros = torch.ones(COUNT, dtype=torch.float64), torch.zeros(COUNT, dtype=torch.float64)
    return {"weight": ones, "margin": zeros, "probability": ones, **changes}


def test_at_equal_scores_the_loss_is_log_two() -> None:
    case = replace(inputs(**certain()), scores=torch.zeros(2 * COUNT, dtype=torch.float64))
    np.testing.assert_allclose(run("bt", case, Options()).per_edge.numpy(), math.log(2))
    case = replace(case, logps=case.ref_logps)
    np.testing.assert_allclose(run("dpo", case, Options()).per_edge.numpy(), math.log(2))
    np.testing.assert_allclose(run("dpo", case, Options(loss_type="hinge")).per_edge.numpy(), 1)
    np.testing.assert_allclose(run("dpo", case, Options(loss_type="ipo")).per_edge.numpy(), 25)


def test_derived_by_hand() -> None:
    case = inputs(**certain(margin=torch.full((COUNT,), 0.5, dtype=torch.float64)))
    scores = torch.zeros(2 * COUNT, dtype=torch.float64)
    scores[0] = math.log(3) + 0.5  # d - m = log 3, sigma = 3/4
    assert run("bt", replace(case, scores=scores), Options()).per_edge[0].item() == pytest.approx(math.log(4 / 3))


def test_far_apart_scores_neither_overflow_nor_vanish() -> None:
    scores = torch.tensor([1e4, -1e4] * COUNT, dtype=torch.float32)
    right = replace(inputs(**certain()), scores=scores)
    wrong = replace(inputs(**certain(probability=torch.zeros(COUNT, dtype=torch.float64))), scores=scores)
    assert run("bt", right, Options()).per_edge.tolist() == [0.0] * COUNT
    assert run("bt", wrong, Options()).per_edge.tolist() == [2e4] * COUNT


def test_a_tie_pulls_the_scores_together() -> None:
    case = inputs(**certain(probability=torch.full((COUNT,), 0.5, dtype=torch.float64)))
    assert case.scores is not None
    scores = case.scores.clone().requires_grad_()
    run("bt", replace(case, scores=scores), Options()).per_edge.sum().backward()  # type: ignore[no-untyped-call]
    assert scores.grad is not None
    assert torch.equal(torch.sign(scores.grad[0::2]), torch.sign(case.scores[0::2] - case.scores[1::2]))


def test_a_weight_of_zero_is_no_edge() -> None:
    case = inputs(weight=torch.zeros(COUNT, dtype=torch.float64))
    assert run("bt", case, Options(centring=1)).per_edge.tolist() == [0.0] * COUNT


@given(st.floats(0, 1), st.floats(0, 0.499))
def test_label_smoothing_stays_a_probability_and_keeps_the_side(p: float, smoothing: float) -> None:
    value = smoothed(tensor([p]), smoothing).item()
    assert -1e-12 <= value <= 1 + 1e-12
    assert (value - 0.5) * (p - 0.5) >= -1e-12


@pytest.mark.parametrize(("name", "missing"), [("bt", "scores"), ("dpo", "logps"), ("dpo", "ref_logps")])
def test_an_objective_names_what_it_lacks(name: str, missing: str) -> None:
    lacking: Any = {missing: None}
    with pytest.raises(ValueError, match=missing):
        run(name, replace(inputs(), **lacking), Options())


def test_the_registry_says_what_each_objective_needs() -> None:
    assert {name: set(objective.needs) for name, objective in objectives().items()} == {
        "bt": {"scores"},
        "dpo": {"logps", "ref_logps"},
    }
