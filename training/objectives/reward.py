"""Losses of reward models."""

from torch.nn.functional import logsigmoid

from training.objectives.registry import Inputs, Loss, Objective, Options, required, smoothed


def bradley_terry(inputs: Inputs, options: Options) -> Loss:
    """Bradley-Terry with margin, soft labels and centring.

    With d = r_left - r_right, margin m >= 0, p = P(left better) after label smoothing:

        w [ -p log s(d - m) - (1 - p) log s(-d - m) + c (r_left + r_right)^2 ]

    so that swapping the two completions and p with 1 - p changes nothing; a tie is p = 1/2. At p = 1 this is the
    Llama 2 loss (arXiv:2307.09288, eq. 2); the centring term is that of arXiv:2312.09244. Reads `scores` [R].
    Raises ValueError without scores.
    """
    scores = required(inputs.scores, "scores")
    edges = inputs.edges
    left, right = scores[edges.left], scores[edges.right]
    p = smoothed(edges.probability.to(scores.dtype), options.label_smoothing)
    margin = edges.margin.to(scores.dtype)
    loss = -p * logsigmoid(left - right - margin) - (1 - p) * logsigmoid(right - left - margin)
    if options.centring:
        loss = loss + options.centring * (left + right) ** 2
    return Loss(per_edge=edges.weight.to(scores.dtype) * loss, rewards=scores.detach())


BT = Objective("bt", bradley_terry, frozenset({"scores"}), "pairs")
