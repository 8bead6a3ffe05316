"""Reward models that doubt their labels: votes of other reward models say how sure each preference is."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid, normalize

from training.objectives.reward import uniform
from training.objectives.terms import Completions, Edges, Inputs, Loss, Options, required, smoothed

Floats = NDArray[np.float64]

_KEPT = 0.9  # of the parts of a direction, in each view


@dataclass(frozen=True, slots=True)
class Doubted:
    """Labels after the votes, [E] each: P(left better), margin, and whether the label was turned round or softened."""

    probability: Floats
    margin: Floats
    flipped: NDArray[np.bool_]
    softened: NDArray[np.bool_]


def doubted(
    strengths: Floats, probabilities: Floats, *, flip_share: float, soften_share: float, vote_margin: float
) -> Doubted:
    """Labels as the votes leave them (Secrets of RLHF II, arXiv:2401.06080, section 2).

    `strengths` [E] is the mean over the votes of (r_left - r_right), `probabilities` [E] P(left better) by the labels.
    Strength towards the label is |.| with its sign turned where the label leans right. Of the labels that lean at all,
    the weakest `flip_share` are turned round, if the votes are against them; the next `soften_share` become
    σ(strength); the others keep their label with a margin of `vote_margin` × strength, at least 0. Shares in [0, 1].
    """
    lean = np.sign(probabilities - 0.5)
    towards = strengths * lean
    decided = np.flatnonzero(lean)
    order = decided[np.argsort(towards[decided], kind="stable")]
    flips, softs = round(flip_share * len(order)), round(soften_share * len(order))
    flipped, softened = np.zeros(len(lean), dtype=bool), np.zeros(len(lean), dtype=bool)
    flipped[order[:flips]] = towards[order[:flips]] < 0
    softened[order[flips : flips + softs]] = True
    probability = np.where(flipped, 1 - probabilities, np.where(softened, 1 / (1 + np.exp(-strengths)), probabilities))
    sure = (lean != 0) & ~flipped & ~softened
    return Doubted(probability, np.where(sure, vote_margin * np.maximum(towards, 0), 0.0), flipped, softened)


def strength_voting(inputs: Inputs, options: Options) -> Loss:
    """Bradley-Terry on labels that were voted on, with a contrastive term (arXiv:2401.06080, sections 2 and 3).

        w [ -p log s(d - m) - (1 - p) log s(-d - m)  +  c × -log( e^{z·z'/T} / sum_j e^{z·z'_j/T} ) ]

    z and z' are two views, with some parts left out, of the direction from the rejected to the chosen completion's
    state (SimCSE, arXiv:2104.08821); z'_j are those of all pairs of the step, without gradient, so that cutting the
    step into micro-batches changes nothing. p and m are those that `doubted` gave. Reads `scores` [R, 1], and with
    c > 0 `features` [R, d] and `peers`. Raises ValueError without.
    """
    scores = required(inputs.scores, "scores")[:, 0]
    edges = inputs.edges
    weights, margin = edges.weight.to(scores.dtype), edges.margin.to(scores.dtype)
    p = smoothed(edges.probability.to(scores.dtype), options.label_smoothing)
    apart = scores[edges.left] - scores[edges.right]
    loss = -p * logsigmoid(apart - margin) - (1 - p) * logsigmoid(-apart - margin)
    if options.contrast_weight and len(apart):
        features, peers = required(inputs.features, "features"), required(inputs.peers, "peers")
        own = _view(features, edges, inputs.completions, 1)
        likeness = own @ peers.directions.to(own.dtype).T / options.temperature
        loss = loss + options.contrast_weight * cross_entropy(likeness, peers.own, reduction="none")
    return Loss(weights * loss, weights, edges.group, scores.detach())


def second_view(features: Tensor, edges: Edges, completions: Completions) -> Tensor:
    """z' [E, d] of each edge; see `strength_voting`."""
    return _view(features, edges, completions, 2)


def _view(features: Tensor, edges: Edges, completions: Completions, number: int) -> Tensor:
    """Unit vectors [E, d] of the edges with some parts left out, which ones following from prompt and view alone."""
    lean = torch.sign(edges.probability.to(features.dtype) - 0.5)[:, None]
    direction = torch.where(lean < 0, -1.0, 1.0) * (features[edges.left] - features[edges.right])
    kept = uniform(completions.key[edges.left] * 4 + number, features.shape[1]) < _KEPT
    return normalize(direction * kept.to(direction.dtype), dim=1)
