"""Losses that teach a policy from pairs.

Everywhere: ρ = log π − log π_ref of a completion, p = P(left better) after label smoothing, w the weight of an edge.
Swapping the two completions together with p and 1 − p changes nothing. A label whose p is not 0 or 1 (a tie, or
annotators who differ) enters as it is.
"""

import torch
from torch import Tensor, relu
from torch.nn.functional import logsigmoid

from training.objectives.terms import Inputs, Loss, Options, required, smoothed


def dpo(inputs: Inputs, options: Options) -> Loss:
    """Direct preference optimisation (arXiv:2305.18290, eq. 7) with soft labels; smoothed it is conservative DPO.

        w [ -p log s(h) - (1 - p) log s(-h) ],   h = b (ρ_left - ρ_right)

    Reads `logps`, `ref_logps` [R]. Raises ValueError without them.
    """
    rewards, h, p = _against_reference(inputs, options)
    return _answer(inputs, -p * logsigmoid(h) - (1 - p) * logsigmoid(-h), rewards)


def dpo_norm(inputs: Inputs, options: Options) -> Loss:
    """DPO on rewards per token (Tülu 3, arXiv:2411.15124, eq. 6): as `dpo` with ρ divided by the completion's length.

    Reads `logps`, `ref_logps`, `scored` [R]. Raises ValueError without them.
    """
    rewards, h, p = _against_reference(inputs, options, per_token=True)
    return _answer(inputs, -p * logsigmoid(h) - (1 - p) * logsigmoid(-h), rewards)


def hinge(inputs: Inputs, options: Options) -> Loss:
    """Hinge loss of SLiC (arXiv:2305.10425) on DPO's rewards: w [ p max(0, 1 - h) + (1 - p) max(0, 1 + h) ].

    Reads `logps`, `ref_logps` [R]. Raises ValueError without them.
    """
    rewards, h, p = _against_reference(inputs, options)
    return _answer(inputs, p * relu(1 - h) + (1 - p) * relu(1 + h), rewards)


def ipo(inputs: Inputs, options: Options) -> Loss:
    """Identity preference optimisation (arXiv:2310.12036, eq. 17).

        w [ p (a - 1/2b)^2 + (1 - p) (a + 1/2b)^2 ]

    where a is the difference of ρ *per token*, as in the paper's own experiments.
    Reads `logps`, `ref_logps`, `scored` [R]. Raises ValueError without them.
    """
    rewards, h, p = _against_reference(inputs, options, per_token=True)
    a, target = h / options.beta, 1 / (2 * options.beta)
    return _answer(inputs, p * (a - target) ** 2 + (1 - p) * (a + target) ** 2, rewards)


def robust(inputs: Inputs, options: Options) -> Loss:
    """Robust DPO (arXiv:2403.00409, eq. 9) with a flip chance 1 - p of each pair.

    With L+ = -log s(h), L- = -log s(-h) and q = 2p - 1, the loss that is unbiased under flips is

        ( p L+ - (1 - p) L- ) / q      weighted by w q^2

    The weight is its inverse variance up to a constant: a pair whose label says little counts little, a tie nothing.
    Where all pairs have the same flip chance the weights cancel, and this is the paper's loss.
    Reads `logps`, `ref_logps` [R]. Raises ValueError without them.
    """
    rewards, h, p = _against_reference(inputs, options)
    q = 2 * p - 1
    weights = inputs.edges.weight.to(h.dtype)
    terms = weights * q * (-p * logsigmoid(h) + (1 - p) * logsigmoid(-h))
    return Loss(terms, weights * q**2, inputs.edges.group, rewards.detach())


def simpo(inputs: Inputs, options: Options) -> Loss:
    """SimPO (arXiv:2405.14734, eq. 6): the reward is b times the mean log-probability per token, with target margin g.

        w [ -p log s(h - g) - (1 - p) log s(-h - g) ],   h = b (logp_left / n_left - logp_right / n_right)

    Reads `logps`, `scored` [R]. Raises ValueError without them.
    """
    rewards = options.beta * mean_logps(inputs)
    h, p = _difference(inputs, rewards), _probability(inputs, options, rewards)
    margin = options.target_margin
    loss = -p * logsigmoid(h - margin) - (1 - p) * logsigmoid(-h - margin)
    return _answer(inputs, loss, rewards)


def orpo(inputs: Inputs, options: Options) -> Loss:
    """ORPO (arXiv:2403.07691, eq. 6 and 7): imitation of the better completion plus b times an odds-ratio loss.

        w [ p (l_left - b log s(o)) + (1 - p) (l_right - b log s(-o)) ]

    with l = -logp / n, the loss per token, and o the difference of log odds, log P / (1 - P) at P = e^-l.
    Reads `logps`, `scored` [R]. Raises ValueError without them.
    """
    means = mean_logps(inputs).clamp(max=-1e-6)  # at certainty the odds are infinite
    odds = means - torch.log(-torch.expm1(means))
    o, p = _difference(inputs, odds), _probability(inputs, options, means)
    left, right = means[inputs.edges.left], means[inputs.edges.right]
    loss = p * (-left - options.beta * logsigmoid(o)) + (1 - p) * (-right - options.beta * logsigmoid(-o))
    return _answer(inputs, loss, options.beta * means)


def mean_logps(inputs: Inputs) -> Tensor:
    """Log-probability per scored token of each completion [R]."""
    return required(inputs.logps, "logps") / required(inputs.scored, "scored").clamp(min=1)


def log_ratios(inputs: Inputs) -> Tensor:
    """ρ of each completion [R]."""
    return required(inputs.logps, "logps") - required(inputs.ref_logps, "ref_logps")


def _against_reference(inputs: Inputs, options: Options, *, per_token: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Rewards b ρ [R], their difference h [E] and p [E]."""
    ratios = log_ratios(inputs)
    if per_token:
        ratios = ratios / required(inputs.scored, "scored").clamp(min=1)
    rewards = options.beta * ratios
    return rewards, _difference(inputs, rewards), _probability(inputs, options, rewards)


def _difference(inputs: Inputs, values: Tensor) -> Tensor:
    return values[inputs.edges.left] - values[inputs.edges.right]


def _probability(inputs: Inputs, options: Options, like: Tensor) -> Tensor:
    return smoothed(inputs.edges.probability.to(like.dtype), options.label_smoothing)


def _answer(inputs: Inputs, loss: Tensor, rewards: Tensor) -> Loss:
    weights = inputs.edges.weight.to(loss.dtype)
    return Loss(weights * loss, weights, inputs.edges.group, rewards.detach())
