"""Losses of reward models."""

from torch.nn.functional import logsigmoid

from training.objectives.terms import Inputs, Loss, Options, required, smoothed


def bradley_terry(inputs: Inputs, options: Options) -> Loss:
    """Bradley-Terry with margin, soft labels and centring.

    With d = r_left - r_right, margin m >= 0, p = P(left better) after label smoothing:

        w [ -p log s(d - m) - (1 - p) log s(-d - m) + c (r_left + r_right)^2 ]

    so that swapping the two completions and p with 1 - p changes nothing; a tie is p = 1/2. At p = 1 this is the
    Llama 2 loss (arXiv:2307.09288, eq. 2); the centring term is that of arXiv:2312.09244. Reads `scores` [R, 1].
    Raises ValueError without scores.
    """
    scores = required(inputs.scores, "scores")[:, 0]
    edges = inputs.edges
    left, right = scores[edges.left], scores[edges.right]
    p = smoothed(edges.probability.to(scores.dtype), options.label_smoothing)
    margin = edges.margin.to(scores.dtype)
    loss = -p * logsigmoid(left - right - margin) - (1 - p) * logsigmoid(right - left - margin)
    if options.centring:
        loss = loss + options.centring * (left + right) ** 2
    weights = edges.weight.to(scores.dtype)
    return Loss(weights * loss, weights, edges.group, scores.detach())
