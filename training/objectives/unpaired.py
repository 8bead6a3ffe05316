"""Losses over single completions that were called good or bad."""

import torch

from training.objectives.pairwise import log_ratios
from training.objectives.terms import Inputs, Loss, Options, required


def kto(inputs: Inputs, options: Options) -> Loss:
    """Kahneman-Tversky optimisation (arXiv:2402.01306, eq. 8).

        good: w l_good (1 - s(b (ρ - z)))        bad: w l_bad (1 - s(b (z - ρ)))

    z is the divergence of the policy from the reference, estimated over the whole step on prompts with completions of
    other prompts, at least 0 and without gradient. Of a pair, the chosen is good and the rejected bad; what is neither
    (a gain of 1/2) is left out. Reads `logps`, `ref_logps` [R], `divergence` []. Raises ValueError without them.
    """
    ratios, z = log_ratios(inputs), required(inputs.divergence, "divergence").clamp(min=0).detach()
    completions = inputs.completions
    lean = torch.sign(completions.gain.to(ratios.dtype) - 0.5)
    worth = torch.where(lean > 0, options.desirable_weight, options.undesirable_weight)
    weights = completions.weight.to(ratios.dtype) * lean.abs()
    terms = weights * worth * torch.sigmoid(-options.beta * lean * (ratios - z))
    return Loss(terms, weights, completions.group, (options.beta * ratios).detach())
