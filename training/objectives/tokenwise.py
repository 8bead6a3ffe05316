"""Losses that say of each token whether it is good."""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from training.objectives.pairwise import log_ratios
from training.objectives.terms import Inputs, Loss, Options, required, smoothed


def t_reg(inputs: Inputs, options: Options) -> Loss:
    """DPO with token-level reward regularisation (T-REG, arXiv:2412.02685, section 3).

        w [ -p log s(h) - (1 - p) log s(-h)  +  α g (reg_left + reg_right) ]
        h = b (ρ_left - ρ_right),   reg = -b sum_t r_t log π(y_t),   g = |p - s(h)|

    r_t in [-1/2, 1/2] are `token_rewards` of the reference policy. g is the weight of the pair in the gradient of DPO,
    without gradient of its own: what is learned well is regularised little. Reads `logps`, `ref_logps` [R], `tokens`.
    Raises ValueError without.
    """
    tokens = required(inputs.tokens, "tokens")
    rewards = options.beta * log_ratios(inputs)
    edges = inputs.edges
    h = rewards[edges.left] - rewards[edges.right]
    p, weights = smoothed(edges.probability.to(h.dtype), options.label_smoothing), edges.weight.to(h.dtype)
    sequence = -p * logsigmoid(h) - (1 - p) * logsigmoid(-h)
    costs = -options.beta * tokens.rewards.to(h.dtype) * tokens.logps
    regular = torch.zeros_like(rewards).index_add(0, tokens.completion, costs)
    doubt = (p - torch.sigmoid(h)).abs().detach()
    loss = sequence + options.token_weight * doubt * (regular[edges.left] + regular[edges.right])
    return Loss(weights * loss, weights, edges.group, rewards.detach())


def token_rewards(better: Tensor, worse: Tensor) -> Tensor:
    """Rewards in [-1/2, 1/2] of tokens: σ(log π(y_t | better prompt) - log π(y_t | worse prompt)) - 1/2. Any shape."""
    return torch.sigmoid(better - worse) - 0.5
