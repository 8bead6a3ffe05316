"""Losses over whole rankings."""

from collections.abc import Sequence
from itertools import combinations, groupby
from math import comb

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from training.objectives.pairwise import log_ratios, mean_logps
from training.objectives.terms import Completions, Inputs, Loss, Options, required

ALL_ORDERS = 6  # completions in a tie up to which all their orders are counted

Choices = list[tuple[float, tuple[int, ...]]]


def plackett_luce(inputs: Inputs, options: Options) -> Loss:
    """Plackett-Luce on a reward model's scores: each place is won by the best of those that remain.

        - sum_k log( e^{s_k} / sum_{j >= k} e^{s_j} )

    A tie is the mean over all orders of those that share it, so that a tie of two alone is Bradley-Terry at p = 1/2.
    (Plackett 1975, Luce 1959; as a loss: ListMLE, Xia et al. 2008.) Reads `scores` [R, 1]. Raises ValueError without.
    """
    scores = required(inputs.scores, "scores")[:, 0]
    loss = luce_loss(scores, inputs.completions)
    if options.centring:
        loss = loss + options.centring * _per_group(scores**2, inputs.completions, len(loss))
    return _answer(loss, scores)


def pro(inputs: Inputs, options: Options) -> Loss:
    """Preference ranking optimisation (arXiv:2306.17492, eq. 7 and 8).

    The Plackett-Luce loss of the mean log-probabilities per token, plus `sft_weight` times imitation of the best
    completion (the mean over those that share the first place). Reads `logps`, `scored` [R]. Raises ValueError without.
    """
    means = mean_logps(inputs)
    completions = inputs.completions
    first = (completions.rank == 1).to(means.dtype)
    ranking = luce_loss(means, completions)
    count = len(ranking)
    best = _per_group(-means * first, completions, count) / _per_group(first, completions, count).clamp(min=1)
    return _answer(ranking + options.sft_weight * best, means)


def lipo_lambda(inputs: Inputs, options: Options) -> Loss:
    """LiPO-lambda (arXiv:2402.01878, eq. 8 and 9): a logistic loss of each pair, weighted by what its order is worth.

        sum over gain_i > gain_j of
            |2^gain_i - 2^gain_j| |1 / log(1 + t_i) - 1 / log(1 + t_j)| log(1 + e^{-(s_i - s_j)})

    with s = b ρ and t the place of a completion by s in its list, from 1. Equal gains make no term.
    Reads `logps`, `ref_logps` [R]. Raises ValueError without them.
    """
    rewards = options.beta * log_ratios(inputs)
    edges, completions = inputs.edges, inputs.completions
    worth = 2 ** completions.gain.to(rewards.dtype)
    discount = 1 / torch.log1p(places(rewards.detach(), completions.group))
    delta = (worth[edges.left] - worth[edges.right]).abs() * (discount[edges.left] - discount[edges.right]).abs()
    pairs = -delta * logsigmoid(rewards[edges.left] - rewards[edges.right])
    count = int(completions.group.max()) + 1
    return _answer(pairs.new_zeros(count).index_add(0, edges.group, pairs), rewards)


def places(values: Tensor, group: Tensor) -> Tensor:
    """The place of each value in its group, from 1 for the greatest; equal values stand in the order given. [R]"""
    count = torch.arange(len(values), device=values.device)
    before = (values[None, :] > values[:, None]) | ((values[None, :] == values[:, None]) & (count < count[:, None]))
    ahead = before & (group[None, :] == group[:, None])
    return 1 + ahead.sum(dim=1).to(values.dtype)


def luce_loss(scores: Tensor, completions: Completions) -> Tensor:
    """Plackett-Luce loss of each group [G] under scores [R]; see `plackett_luce`."""
    ranks, owners = completions.rank.tolist(), completions.group.tolist()
    weights: list[float] = []
    members: list[int] = []
    sets: list[int] = []
    groups: list[int] = []
    rows = 0
    for owner, positions in groupby(range(len(owners)), key=owners.__getitem__):
        own = list(positions)
        for weight, chosen_from in choices([ranks[row] for row in own]):
            members += [own[one] for one in chosen_from]
            sets += [len(weights)] * len(chosen_from)
            weights.append(weight)
            groups.append(owner)
        rows = owner + 1
    place = torch.tensor([members, sets], dtype=torch.long, device=scores.device)
    rivals = logsumexp_by(scores[place[0]], place[1], len(weights))
    cost = scores.new_tensor(weights) * rivals
    total = scores.new_zeros(rows).index_add(0, torch.tensor(groups, device=scores.device), cost)
    return total - _per_group(scores, completions, rows)


def choices(ranks: Sequence[int]) -> Choices:
    """The sets that the places of a ranking are won from, as positions, each with its weight.

    A ranking without ties has one set for each place: those that are not placed before it. For a tie of t, a set of
    k of them (with all behind them) is what remains in 1 / (t choose k) of their orders. Above `ALL_ORDERS`, the t
    orders that are rotations of the given one stand for all.
    """
    found: Choices = []
    behind: tuple[int, ...] = ()
    for rank in sorted(set(ranks), reverse=True):
        tied = [position for position, one in enumerate(ranks) if one == rank]
        count = len(tied)
        if count <= ALL_ORDERS:
            sizes = range(1, count + 1)
            found += [(1 / comb(count, k), (*one, *behind)) for k in sizes for one in combinations(tied, k)]
        else:
            turned = [tied[start:] + tied[:start] for start in range(count)]
            found += [(1 / count, (*order[k:], *behind)) for order in turned for k in range(count)]
        behind = (*tied, *behind)
    return found


def logsumexp_by(values: Tensor, owner: Tensor, count: int) -> Tensor:
    """log sum exp of the values [M] of each owner [count]; every owner has one at least."""
    top = values.detach().new_full((count,), float("-inf")).scatter_reduce(0, owner, values.detach(), "amax")
    return top + torch.log(values.new_zeros(count).index_add(0, owner, torch.exp(values - top[owner])))


def _per_group(values: Tensor, completions: Completions, count: int) -> Tensor:
    return values.new_zeros(count).index_add(0, completions.group, values)


def _answer(per_group: Tensor, rewards: Tensor) -> Loss:
    groups = torch.arange(len(per_group), device=per_group.device)
    return Loss(per_group, torch.ones_like(per_group), groups, rewards.detach())
