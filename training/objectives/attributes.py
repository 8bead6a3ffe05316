"""Reward models of several attributes: a regression on the ratings of each, and what a prompt makes of them."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from training.objectives.terms import Inputs, Loss, Options, required


def multi_objective(inputs: Inputs, options: Options) -> Loss:
    """Regression on attribute ratings with masks (ArmoRM, arXiv:2406.12845, section 2.1).

        sum over the rated attributes a of  (1/2 + r_a - y_a)^2 ,  weighted by their number

    y in [0, 1]. It teaches the body; the last layer is then solved by `ridge`, and the gate that weighs the attributes
    learns from the pairs (`engine.gating`). Pairs have no term here; the rewards are the gate's. Reads `scores` [R, A],
    `rewards` [R]. Raises ValueError without.
    """
    del options
    scores, rewards = required(inputs.scores, "scores"), required(inputs.rewards, "rewards")
    values = inputs.completions.values.to(scores.dtype)
    if not values.shape[1]:
        values = torch.full_like(scores, float("nan"))
    known = ~torch.isnan(values)
    errors = ((0.5 + scores - values.nan_to_num()) ** 2 * known).sum(dim=1)
    return Loss(errors, known.sum(dim=1).to(scores.dtype), inputs.completions.group, rewards.detach())


def ridge(features: Tensor, targets: Tensor, penalty: float) -> Tensor:
    """Weights [A, d] of one ridge regression for each attribute, over the rows where it is known.

        argmin_w  sum (x·w - y)^2 + penalty |w|^2 ,  (X'X + penalty I) w = X'y

    `features` [N, d], `targets` [N, A] with NaN for unknown; computed in float64. `penalty` > 0.
    """
    x, y = features.double(), targets.double()
    known = ~torch.isnan(y)
    solved = []
    for attribute in range(y.shape[1]):
        rows = x[known[:, attribute]]
        normal = rows.T @ rows + penalty * torch.eye(x.shape[1], dtype=torch.float64, device=x.device)
        solved.append(torch.linalg.solve(normal, rows.T @ y[known[:, attribute], attribute]))
    return torch.stack(solved)


def decorrelation(scores: Tensor, lengths: Tensor) -> Tensor:
    """How much of each attribute [A] goes with verbosity: cov(r_a, v) / var(v) with v = log of the tokens.

    r_a - that × v is then uncorrelated with v (ArmoRM, section 2.2, with v for its verbosity reward).
    `scores` [N, A], `lengths` [N]; zeros where all lengths are equal.
    """
    v = torch.log(lengths.to(scores.dtype))
    if bool((v == v[:1]).all()):
        return scores.new_zeros(scores.shape[1])
    v = v - v.mean()
    return ((scores - scores.mean(dim=0)) * v[:, None]).sum(dim=0) / (v**2).sum()


def gated(scores: Tensor, weights: Tensor, verbosity: Tensor, lengths: Tensor) -> Tensor:
    """R [R] = sum_a g_a (r_a - λ_a v) from scores [R, A], the gate's weights [R, A], λ [A] and the lengths [R]."""
    return (weights * (scores - verbosity * torch.log(lengths.to(scores.dtype))[:, None])).sum(dim=1)


def pair_loss(apart: Tensor, probability: Tensor) -> Tensor:
    """Bradley-Terry of rewards that are `apart` [E], with soft labels [E]: what teaches the gate. With one attribute
    and no decorrelation it is the loss of `bt`."""
    return -probability * logsigmoid(apart) - (1 - probability) * logsigmoid(-apart)
