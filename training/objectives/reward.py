"""Losses of reward models."""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from training.objectives.terms import Inputs, Loss, Options, required, smoothed

Combination = Literal["mean", "worst", "uncertainty"]


def bradley_terry(inputs: Inputs, options: Options) -> Loss:
    """Bradley-Terry with margin, soft labels and centring.

    With d = r_left - r_right, margin m >= 0, p = P(left better) after label smoothing:

        w [ -p log s(d - m) - (1 - p) log s(-d - m) + c (r_left + r_right)^2 ]

    so that swapping the two completions and p with 1 - p changes nothing; a tie is p = 1/2. At p = 1 this is the
    Llama 2 loss (arXiv:2307.09288, eq. 2); the centring term is that of arXiv:2312.09244. Reads `scores` [R, 1].
    Raises ValueError without scores.
    """
    scores = required(inputs.scores, "scores")[:, :1]
    weights = inputs.edges.weight.to(scores.dtype)
    loss = _per_head(inputs, scores, options)[:, 0]
    if options.centring:
        left, right = scores[inputs.edges.left, 0], scores[inputs.edges.right, 0]
        loss = loss + options.centring * (left + right) ** 2
    return Loss(weights * loss, weights, inputs.edges.group, scores[:, 0].detach())


def ensemble(inputs: Inputs, options: Options) -> Loss:
    """An ensemble of heads, each with Bradley-Terry on its own bootstrap of the prompts (arXiv:2310.02743).

        w mean_k n_k [ -p log s(d_k - m) - (1 - p) log s(-d_k - m) ]      weighted by w mean_k n_k

    n_k ~ Poisson(1) is how often head k drew the prompt; it follows from the prompt and k alone, so that it is the same
    in every epoch and on every machine. The rewards are `combined` scores. Reads `scores` [R, K]. Raises ValueError
    without scores.
    """
    scores = required(inputs.scores, "scores")
    edges, heads = inputs.edges, scores.shape[1]
    weights = edges.weight.to(scores.dtype)[:, None].expand(-1, heads)
    if options.bootstrap == "prompts":
        weights = weights * draws(inputs.completions.key[edges.left], heads).to(scores.dtype)
    terms = weights * _per_head(inputs, scores, options)
    rewards = combined(scores.detach(), options.combine, options.uncertainty_weight)
    return Loss(terms.mean(dim=1), weights.mean(dim=1), edges.group, rewards)


def pair_preference(inputs: Inputs, options: Options) -> Loss:
    """A model that reads both completions: s is the log-odds that the first of the two is better (arXiv:2306.02561).

        w [ -p log s(s_ab) - (1 - p) log s(-s_ab) ]  +  w [ -(1 - p) log s(s_ba) - p log s(-s_ba) ]

    Here a "completion" is an order of two: ab is the left of an edge, ba its right. The rewards are s / 2, so that
    their difference is the mean log-odds of both orders: swapping the two turns it round exactly.
    Reads `scores` [R, 1]. Raises ValueError without scores.
    """
    scores = required(inputs.scores, "scores")[:, 0]
    edges = inputs.edges
    p = smoothed(edges.probability.to(scores.dtype), options.label_smoothing)
    ab, ba = scores[edges.left], scores[edges.right]
    loss = -p * (logsigmoid(ab) + logsigmoid(-ba)) - (1 - p) * (logsigmoid(-ab) + logsigmoid(ba))
    weights = edges.weight.to(scores.dtype)
    return Loss(weights * loss, weights, edges.group, scores.detach() / 2)


def combined(scores: Tensor, how: Combination, uncertainty_weight: float) -> Tensor:
    """One score [R] of the heads' scores [R, K]: their mean, the lowest, or mean - weight × variance (over K)."""
    if how == "worst":
        return scores.min(dim=1).values
    mean = scores.mean(dim=1)
    return mean if how == "mean" else mean - uncertainty_weight * scores.var(dim=1, correction=0)


def draws(keys: Tensor, heads: int) -> Tensor:
    """How often each of K heads drew each of N keys [N, K]: Poisson(1), from the key and the head's number alone.

    The usual stand-in for drawing N of N with replacement (Oza and Russell 2001), which needs no pass over all data.
    """
    chances = torch.tensor([1 / (math.e * math.factorial(n)) for n in range(16)], dtype=torch.float64)
    return torch.searchsorted(chances.cumsum(0).to(keys.device), uniform(keys, heads), right=True)


def uniform(keys: Tensor, count: int) -> Tensor:
    """`count` numbers in [0, 1) for each of N keys [N, count], in float64: from the key and their place alone."""
    mixed = keys[:, None] + torch.arange(1, count + 1, device=keys.device) * -7046029254386353131
    for factor, shift in ((-4658895280553007687, 30), (-7723592293110705685, 27)):
        mixed = (mixed ^ _shifted(mixed, shift)) * factor  # splitmix64, whose overflow is meant
    return _shifted(mixed ^ _shifted(mixed, 31), 11).double() / 2**53


def _shifted(values: Tensor, places: int) -> Tensor:
    """Bits of int64 moved right with zeros moving in."""
    return (values >> places) & ((1 << (64 - places)) - 1)


def _per_head(inputs: Inputs, scores: Tensor, options: Options) -> Tensor:
    """Bradley-Terry loss of each edge under each head [E, K]."""
    edges = inputs.edges
    p = smoothed(edges.probability.to(scores.dtype), options.label_smoothing)[:, None]
    margin = edges.margin.to(scores.dtype)[:, None]
    apart = scores[edges.left] - scores[edges.right]
    return -p * logsigmoid(apart - margin) - (1 - p) * logsigmoid(-apart - margin)
