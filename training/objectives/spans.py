"""Losses over marked spans: what kinds of errors each segment of a completion has."""

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from training.objectives.terms import Inputs, Loss, Options, required, smoothed


def fine_grained(inputs: Inputs, options: Options) -> Loss:
    """Fine-grained reward models (arXiv:2306.01693) on one body: a classifier of segments for each error type, and
    completeness by Bradley-Terry.

        segments:  mean over its known types of  -y log s(z_k) - (1 - y) log s(-z_k)
        pairs:     w [ -p log s(c_left - c_right) - (1 - p) log s(c_right - c_left) ]

    y says whether the type was marked in the segment; the score after the types' is the completeness c of the whole.
    The rewards are `segment_rewards`. Reads `scores` [R, K + 1], `segment_scores` [M, K + 1], `segments`, `rewards`
    [R]. Raises ValueError without.
    """
    scores = required(inputs.scores, "scores")
    segment_scores, rewards = required(inputs.segment_scores, "segment scores"), required(inputs.rewards, "rewards")
    segments = required(inputs.segments, "segments")
    labels = segments.labels.to(scores.dtype)
    known = ~torch.isnan(labels)
    wrong = binary_cross_entropy_with_logits(segment_scores[:, :-1], labels.nan_to_num(), reduction="none")
    count = known.sum(dim=1)
    of_segments = (wrong * known).sum(dim=1) / count.clamp(min=1)
    edges = inputs.edges
    apart = scores[edges.left, -1] - scores[edges.right, -1]
    p, weight = smoothed(edges.probability.to(scores.dtype), options.label_smoothing), edges.weight.to(scores.dtype)
    of_pairs = weight * (-p * logsigmoid(apart) - (1 - p) * logsigmoid(-apart))
    groups = torch.cat([inputs.completions.group[segments.completion], edges.group])
    weights = torch.cat([(count > 0).to(scores.dtype), weight])
    return Loss(torch.cat([of_segments, of_pairs]), weights, groups, rewards.detach())


def segment_rewards(scores: Tensor, segment_scores: Tensor, completion: Tensor, weights: Tensor) -> Tensor:
    """R [R] = w_c c - sum_k w_k (mean over its segments of P(error of type k)), from `scores` [R, K + 1],
    `segment_scores` [M, K + 1] of the segments of `completion` [M], `weights` [K + 1] with that of completeness last.

    A completion without segments has no errors.
    """
    chances = torch.sigmoid(segment_scores[:, :-1])
    sums = scores.new_zeros(len(scores), chances.shape[1]).index_add(0, completion, chances)
    counts = scores.new_zeros(len(scores)).index_add(0, completion, torch.ones_like(chances[:, 0]))
    errors = sums / counts.clamp(min=1)[:, None]
    return weights[-1] * scores[:, -1] - errors @ weights[:-1]
