"""Which groups go into which batch: by token budget, shuffled by seed and epoch, the same on every start."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from training.engine.config import Order
from training.engine.errors import RunError
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


def mismatched(groups: Sequence[TokenGroup], spare: Sequence[TokenGroup], max_length: int) -> list[TokenGroup]:
    """Each group's prompt with the completions of the next group that has another prompt, cut where they do not fit;
    of `spare` groups where all have one prompt.

    Raises RunError where there is no other prompt at all.
    """
    if not groups:
        return []
    partners: list[TokenGroup] = []
    following = next((group for group in (*groups, *spare) if group.prompt_id != groups[-1].prompt_id), None)
    for number in reversed(range(len(groups))):
        group = groups[number]
        after = groups[(number + 1) % len(groups)]
        if after.prompt_id != group.prompt_id:
            following = after
        if following is None:
            raise RunError("This objective compares completions of different prompts; the data has only one prompt.")
        room = max(1, max_length - len(group.prompt))
        cut = tuple(completion[:room] for completion in following.completions)
        partners.append(replace(group, completions=cut, preferences=(), labels=()))
    return partners[::-1]


def ease(group: TokenGroup) -> float:
    """How plain a group's labels are: the widest gap of its preferences, each times how sure it is (0 for a tie)."""
    return max((edge.gap * abs(2 * edge.probability - 1) for edge in group.preferences), default=0.0)


@dataclass(frozen=True)
class Plan:
    """Batches of every epoch; batch `n` of an epoch depends on the seed, the epoch and the data only.

    The order is drawn; `easy-first` then sorts it by `ease`, equals staying as drawn (Curri-DPO, arXiv:2403.07230).
    Raises RunError for `easy-first` where all groups are equally plain.
    """

    groups: Sequence[TokenGroup]
    budget: int
    accumulation: int
    seed: int
    padded: bool
    order: Order = "shuffled"

    def __post_init__(self) -> None:
        if self.order == "easy-first" and len({ease(group) for group in self.groups}) < 2:
            raise RunError("The data do not say how far apart completions are; choose the order shuffled.")

    def epoch(self, number: int) -> list[list[list[int]]]:
        """Steps of an epoch; each is a list of micro-batches, each a list of group indices."""
        order = [int(index) for index in np.random.default_rng([self.seed, number]).permutation(len(self.groups))]
        if self.order == "easy-first":
            order.sort(key=lambda index: -ease(self.groups[index]))
        batches = fill(order, self.groups, self.budget, padded=self.padded)
        return [batches[at : at + self.accumulation] for at in range(0, len(batches), self.accumulation)]

    def lengths(self, epochs: int) -> list[int]:
        """Steps in each epoch."""
        return [len(self.epoch(number)) for number in range(epochs)]
