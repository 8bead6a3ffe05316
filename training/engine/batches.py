"""Which groups go into which batch: by token budget, shuffled by seed and epoch, the same on every start."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.engine.tokens import TokenGroup


def fill(order: Sequence[int], groups: Sequence[TokenGroup], budget: int, *, padded: bool) -> list[list[int]]:
    """Cut `order` (indices of groups) into batches whose cost is at most `budget` tokens.

    The cost is what the forward computes: packed tokens, or rows × the longest row when `padded`. A group that alone
    exceeds the budget makes a batch of its own.
    """
    batches: list[list[int]] = []
    rows = longest = used = 0
    for index in order:
        group = groups[index]
        rows, longest = rows + len(group.completions), max(longest, group.longest)
        used = rows * longest if padded else used + group.packed_tokens
        if not batches or used > budget:
            batches.append([])
            rows, longest = len(group.completions), group.longest
            used = rows * longest if padded else group.packed_tokens
        batches[-1].append(index)
    return batches


@dataclass(frozen=True)
class Plan:
    """Batches of every epoch; batch `n` of an epoch depends on the seed, the epoch and the data only."""

    groups: Sequence[TokenGroup]
    budget: int
    accumulation: int
    seed: int
    padded: bool

    def epoch(self, number: int) -> list[list[list[int]]]:
        """Steps of an epoch; each is a list of micro-batches, each a list of group indices."""
        order = np.random.default_rng([self.seed, number]).permutation(len(self.groups))
        batches = fill([int(index) for index in order], self.groups, self.budget, padded=self.padded)
        return [batches[at : at + self.accumulation] for at in range(0, len(batches), self.accumulation)]

    def lengths(self, epochs: int) -> list[int]:
        """Steps in each epoch."""
        return [len(self.epoch(number)) for number in range(epochs)]
