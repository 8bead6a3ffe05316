"""Imitation: what is imitated is decided where rows are read, see `engine/readers/`."""

from training.objectives.pairwise import mean_logps
from training.objectives.terms import Inputs, Loss, Options, required


def imitation(inputs: Inputs, options: Options) -> Loss:
    """Negative log-likelihood per token of each completion: w (-log π), over w × its tokens.

    Every token of a step counts alike, however long its completion. Reads `logps`, `scored` [R]. Raises ValueError
    without them.
    """
    del options
    logps, scored = required(inputs.logps, "logps"), required(inputs.scored, "scored")
    weights = inputs.completions.weight.to(logps.dtype)
    return Loss(-weights * logps, weights * scored, inputs.completions.group, mean_logps(inputs).detach())
