"""What the flip chance of each pair is worth, on planted rewards."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from tests.training.objective_cases import lists, run, tensor

PAIRS, WIDTH = 400, 20


def held_out_accuracy(seed: int, name: str, *, each: bool) -> float:
    """A linear policy learns planted rewards from labels, half of careful annotators (2% flips), half of careless ones
    (45%); `each` tells it the chance of each pair, else the mean chance of all."""
    generator = np.random.default_rng(seed)
    planted, features = generator.normal(size=WIDTH), generator.normal(size=(2 * PAIRS, WIDTH))
    chances = generator.choice([0.02, 0.45], size=PAIRS)
    truth = (features @ planted)[0::2] > (features @ planted)[1::2]
    said = torch.as_tensor(truth ^ (generator.random(PAIRS) < chances))
    first = torch.arange(0, 2 * PAIRS, 2)
    case = lists([[1, 2]] * PAIRS)
    probability = tensor(1 - chances) if each else tensor(np.full(PAIRS, 1 - chances.mean()))
    left, right = torch.where(said, first, first + 1), torch.where(said, first + 1, first)
    case = replace(case, edges=replace(case.edges, left=left, right=right, probability=probability))
    weights = torch.zeros(WIDTH, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def step() -> Any:
        solver.zero_grad()
        logps = tensor(features) @ weights
        loss = run(name, replace(case, logps=logps, ref_logps=torch.zeros_like(logps)), beta=1.0)
        total = loss.terms.sum() / loss.weights.sum() + 1e-3 * (weights**2).sum()
        total.backward()
        return total

    solver.step(step)
    fresh = np.random.default_rng(99).normal(size=(4000, WIDTH))
    learned = weights.detach().numpy()
    return float((np.sign(fresh @ learned) == np.sign(fresh @ planted)).mean())


def test_each_pairs_own_noise_beats_uniform_smoothing_when_annotators_differ() -> None:
    seeds = range(4)
    uniform, smoothed, robust = (
        np.mean([held_out_accuracy(seed, name, each=each) for seed in seeds])
        for name, each in (("dpo", False), ("dpo", True), ("robust", True))
    )
    assert smoothed > uniform + 0.02
    assert robust > uniform + 0.04
