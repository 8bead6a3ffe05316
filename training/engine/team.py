"""Several processes that train one model together, each on its share of every batch (`accelerate launch`).

Every process holds the whole model and reads all rows, so that all decide alike; what each learns from its share is
summed before every update. The first process alone writes files and hears a wish to stop.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import nn

from training.engine.errors import RunError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Team:
    """This process's place among `size` processes. Alone, every method answers at once with what it was given."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def share(self, indices: Sequence[int], costs: Sequence[int]) -> list[int]:
        """This process's part of some groups, in order: each, the costliest first, goes to who has least so far.

        `costs[index]` is the cost of a group. The parts of all processes together are `indices`.
        """
        if self.size == 1:
            return list(indices)
        held, mine = [0] * self.size, set()
        for index in sorted(indices, key=lambda one: (-costs[one], one)):
            rank = held.index(min(held))
            held[rank] += costs[index]
            if rank == self.rank:
                mine.add(index)
        return [index for index in indices if index in mine]

    def gather(self, value: T) -> list[T]:
        """Every process's value, by rank."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        torch.distributed.all_gather_object(values, value)
        return values

    def outcomes(self, work: Callable[[], T]) -> list[T]:
        """What some work gave in every process, by rank. What one cannot do, none has done: its RunError is raised in
        all of them."""
        done: list[T] = []
        fault = None
        try:
            done = [work()]
        except RunError as error:
            fault = (str(error), error.rows)
        ends = self.gather((done, fault))
        for _, found in ends:
            if found is not None:
                raise RunError(*found)
        return [value for values, _ in ends for value in values]

    def first(self, value: T) -> T:
        """The first process's value."""
        if self.size == 1:
            return value
        values: list[Any] = [value]
        torch.distributed.broadcast_object_list(values, src=0)
        return values[0]  # type: ignore[no-any-return]

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Sum the gradients of all processes; a parameter that none of them has a gradient of keeps none."""
        if self.size == 1:
            return
        has = self.gather([parameter.grad is not None for parameter in parameters])
        used = [parameter for parameter, *flags in zip(parameters, *has, strict=True) if any(flags)]
        for parameter in used:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            torch.distributed.all_reduce(parameter.grad)


ALONE = Team()


def join(device: torch.device) -> tuple[Team, torch.device]:
    """The team that the launcher's environment names, and this process's own device; alone without a launcher."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ALONE, device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Team(torch.distributed.get_rank(), size), device


def leave() -> None:
    """End what `join` began."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
