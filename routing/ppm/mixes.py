"""Preference mixes to learn from.

Masks of the instances whose label comes from people (1) rather than the judge (0).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Masks = NDArray[np.uint8]
Ints = NDArray[np.int64]
Members = NDArray[np.bool_]

LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.02, 1.0


def tag_members(tags: Masks) -> list[Members]:
    """For each tag of [N, F] whether each instance carries it [N]; contiguous, so that unions are cheap."""
    return [np.ascontiguousarray(tags[:, column]) != 0 for column in range(tags.shape[1])]


def knapsack_mix(members: Sequence[Members], size: int, budget: int, rng: np.random.Generator) -> Masks:
    """One mix [N] with exactly `budget` ones: walk shuffled tags, adding each tag's instances until it is full.

    The last tag is cut at random; if every tag together is not enough, the rest is drawn at random
    (Hybrid Preferences, Miranda et al. 2025). Raises ValueError unless 0 ≤ budget ≤ N.
    """
    if not 0 <= budget <= size:
        raise ValueError("A mix cannot route more instances than there are.")
    mask, count = np.zeros(size, dtype=bool), 0
    for tag in rng.permutation(len(members)):
        if count == budget:
            break
        wider = mask | members[tag]
        more = int(np.count_nonzero(wider))
        if more > budget:
            return _cut(mask, wider, budget - count, rng)
        mask, count = wider, more
    if count < budget:
        return _cut(mask, np.ones(size, dtype=bool), budget - count, rng)
    return mask.view(np.uint8)


def _cut(mask: Members, wider: Members, most: int, rng: np.random.Generator) -> Masks:
    """The mask with `most` of what is only in the wider one, drawn at random."""
    new = np.flatnonzero(wider & ~mask)
    mask[rng.choice(new, most, replace=False)] = True
    return mask.view(np.uint8)


def random_mix(size: int, budget: int, rng: np.random.Generator) -> Masks:
    """One mix [N] with `budget` ones, uniformly drawn."""
    mask = np.zeros(size, dtype=np.uint8)
    mask[rng.choice(size, budget, replace=False)] = 1
    return mask


def gumbel_mix(score: NDArray[np.float64], budget: int, temperature: float, rng: np.random.Generator) -> Masks:
    """One mix [N]: the `budget` largest of score / temperature + Gumbel noise, i.e.

    drawn without replacement ∝ e^score/T.
    """
    # −log of an exponential draw is Gumbel noise; in single precision the draw can be exactly 0.
    draws = np.maximum(rng.standard_exponential(len(score), dtype=np.float32), np.finfo(np.float32).tiny)
    keys = (score / temperature).astype(np.float32) - np.log(draws)
    mask = np.zeros(len(score), dtype=np.uint8)
    if budget:
        mask[np.argpartition(-keys, budget - 1)[:budget]] = 1
    return mask


def draw_budgets(count: int, size: int, rng: np.random.Generator) -> Ints:
    """Budgets for `count` mixes: the two ends, then uniform on 1…N."""
    budgets = rng.integers(1, size + 1, count)
    budgets[: min(count, 2)] = [0, size][: min(count, 2)]
    return np.asarray(budgets, dtype=np.int64)


def draw_mixes(
    tags: Masks, budgets: Ints, rng: np.random.Generator, score: NDArray[np.float64] | None = None, guided: float = 0.5
) -> Masks:
    """uint8 [M, N], one mix per budget.

    Knapsack draws, or for a share `guided` Gumbel draws by score where one is given.
    """
    size, members = len(tags), tag_members(tags)
    masks = np.empty((len(budgets), size), dtype=np.uint8)
    by_score = rng.random(len(budgets)) < (guided if score is not None else 0.0)
    low, high = np.log(LOWEST_TEMPERATURE), np.log(HIGHEST_TEMPERATURE)
    for row, budget in enumerate(budgets):
        if by_score[row] and score is not None:
            masks[row] = gumbel_mix(score, int(budget), float(np.exp(rng.uniform(low, high))), rng)
        else:
            masks[row] = knapsack_mix(members, size, int(budget), rng)
    return masks
