"""Objectives by name: the function, what it needs of the model, and the data it consumes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor


class Edges(Protocol):
    """Preferences as flat arrays [E]: completion `left` against `right`, P(left better), margin and loss weight."""

    @property
    def left(self) -> Tensor: ...
    @property
    def right(self) -> Tensor: ...
    @property
    def weight(self) -> Tensor: ...
    @property
    def margin(self) -> Tensor: ...
    @property
    def probability(self) -> Tensor: ...


class Options(Protocol):
    """The numbers of a run that objectives read."""

    @property
    def beta(self) -> float: ...
    @property
    def label_smoothing(self) -> float: ...
    @property
    def centring(self) -> float: ...
    @property
    def loss_type(self) -> Literal["sigmoid", "hinge", "ipo"]: ...


@dataclass(frozen=True, slots=True)
class Inputs:
    """What an objective may read, per completion [R]: `needs` says which of these a run provides."""

    edges: Edges
    scores: Tensor | None = None
    logps: Tensor | None = None
    ref_logps: Tensor | None = None
    scored: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Loss:
    """An objective's answer.

    `per_edge` [E] is weighted: the loss of a step is the sum over all its edges / the sum of their weights, over all
    micro-batches. `rewards` [R] is what the model says of each completion in the objective's own unit.
    """

    per_edge: Tensor
    rewards: Tensor


@dataclass(frozen=True, slots=True)
class Objective:
    """A training loss with the kind of data that it consumes."""

    name: str
    function: Callable[[Inputs, Options], Loss]
    needs: frozenset[Literal["scores", "logps", "ref_logps"]]
    consumes: Literal["pairs"]


def required(value: Tensor | None, name: str) -> Tensor:
    """The tensor, or ValueError naming what the caller left out."""
    if value is None:
        raise ValueError(f"This objective needs {name}.")
    return value


def smoothed(probability: Tensor, label_smoothing: float) -> Tensor:
    """P(left better) if each label is wrong with chance e: p (1 - e) + (1 - p) e. Shape as given."""
    return probability * (1 - label_smoothing) + (1 - probability) * label_smoothing


def objectives() -> Mapping[str, Objective]:
    """All objectives by name."""
    from training.objectives.pairwise import DPO
    from training.objectives.reward import BT

    return {objective.name: objective for objective in (BT, DPO)}
