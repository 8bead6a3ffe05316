"""Many mixes to choose one from, drawn and looked at a few at a time so that memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from routing.ppm.mixes import HIGHEST_TEMPERATURE, LOWEST_TEMPERATURE, gumbel_mix, knapsack_mix, tag_members
from routing.ppm.proxy import MOST_BYTES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Masks = NDArray[np.uint8]

MOST_PROPOSALS, LEAST_PROPOSALS = 1000, 100
INSTANCES_DRAWN = 2 * 10**7
KNAPSACK_SHARE = 0.3
GUMBEL_SD = float(np.pi / np.sqrt(6.0))


def in_chunks(count: int, size: int) -> Iterator[range]:
    """The numbers of `count` masks of `size` bytes each, at most 200 MB of them at a time."""
    step = max(1, MOST_BYTES // max(size, 1))
    for start in range(0, count, step):
        yield range(start, min(start + step, count))


def proposals_for(size: int) -> int:
    """How many mixes to propose: 1,000, fewer in a pool above 20,000 instances, at least 100."""
    return int(np.clip(INSTANCES_DRAWN // max(size, 1), LEAST_PROPOSALS, MOST_PROPOSALS))


def propose(
    tags: Masks,
    advantage: Floats,
    done: NDArray[np.bool_],
    worth: NDArray[np.bool_],
    most: int,
    count: int,
    rng: np.random.Generator,
    sd: float = 0.0,
) -> Iterator[Masks]:
    """`count` mixes in chunks [M, N], each with the done instances and `most` of those that are worth a person.

    Three of ten by the published knapsack walk over tags, the others by Gumbel draws of the advantage at temperatures
    to near uniform, from near greedy or, where the advantage has a standard error `sd`, from noise as large as that:
    a mix that is greedier than the advantage is known only looks better. Nobody is sent elsewhere, even with budget
    left.
    """
    open_to_people = np.flatnonzero(worth & ~done)
    most = min(most, len(open_to_people))
    members, low, high = (
        tag_members(tags[open_to_people]),
        np.log(max(LOWEST_TEMPERATURE, sd / GUMBEL_SD)),
        np.log(HIGHEST_TEMPERATURE),
    )
    by_tags = rng.random(count) < KNAPSACK_SHARE
    for rows in in_chunks(count, len(tags)):
        masks = np.tile(done.astype(np.uint8), (len(rows), 1))
        for row, place in enumerate(rows):
            if by_tags[place]:
                masks[row, open_to_people] = knapsack_mix(members, len(open_to_people), most, rng)
            else:
                temperature = float(np.exp(rng.uniform(low, high)))
                masks[row, open_to_people] = gumbel_mix(advantage[open_to_people], most, temperature, rng)
        yield masks
