"""Forwards that keep nothing for a gradient, in batches that memory has room for."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import torch

from training.engine.errors import RunError
from training.engine.tokens import TokenGroup

T = TypeVar("T")


def within_memory(
    batches: Iterable[list[int]], groups: Sequence[TokenGroup], forward: Callable[[list[int]], T]
) -> Iterator[tuple[list[int], T]]:
    """What `forward` gives of each batch of indices, with them, in order. Out of memory halves a batch and all that
    follow it, and goes on.

    Raises RunError naming a row that alone does not fit.
    """
    halvings = 0
    for batch in batches:
        waiting = split_batches([batch], halvings)
        while waiting:
            indices = waiting.pop(0)
            found = _tried(forward, indices)
            if found is not None:
                yield indices, found[0]
            elif len(indices) == 1:
                raise RunError("Not even one row at a time fits into memory.", [groups[indices[0]].id])
            else:
                halvings += 1
                waiting = split_batches([indices, *waiting], 1)


def _tried(forward: Callable[[list[int]], T], indices: list[int]) -> tuple[T] | None:
    """None where memory is short; by then what the attempt held is free again."""
    try:
        return (forward(indices),)
    except torch.OutOfMemoryError:
        return None


def split_batches(batches: Iterable[list[int]], halvings: int) -> list[list[int]]:
    """Each batch cut into 2^halvings nearly equal parts, none empty."""
    parts = 2**halvings
    cut = []
    for indices in batches:
        size = -(-len(indices) // parts)
        cut += [indices[at : at + size] for at in range(0, len(indices), size)]
    return cut
