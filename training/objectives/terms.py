"""What every objective is given and what it answers: flat tensors over the groups of a batch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor

from training.objectives.options import ObjectiveOptions

Options = ObjectiveOptions
T = TypeVar("T")


class Edges(Protocol):
    """Preferences as flat arrays [E]: completion `left` against `right` of group `group`, P(left better), margin and
    loss weight."""

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
    @property
    def group(self) -> Tensor: ...


class Completions(Protocol):
    """What was said of each completion, flat arrays [R]: its group, a number that stands for its prompt
    (`key`), its place from 1 (0 for none), its gain in [0, 1] (1 the best, for an unpaired completion good or bad),
    loss weight, and `values` [R, A] in [0, 1] of A attributes (NaN for one that was not rated)."""

    @property
    def group(self) -> Tensor: ...
    @property
    def key(self) -> Tensor: ...
    @property
    def rank(self) -> Tensor: ...
    @property
    def gain(self) -> Tensor: ...
    @property
    def weight(self) -> Tensor: ...
    @property
    def values(self) -> Tensor: ...


class Segments(Protocol):
    """Segments of completions, flat arrays: the completion of each [M], and the marks of K error types [M, K] (1 for
    marked, 0 for not, NaN where nobody looked)."""

    @property
    def completion(self) -> Tensor: ...
    @property
    def labels(self) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Tokens:
    """Scored tokens of all completions [T]: the completion of each, its log π, and its reward."""

    completion: Tensor
    logps: Tensor
    rewards: Tensor


@dataclass(frozen=True, slots=True)
class Peers:
    """What the pairs of a whole step look like: directions [P, d], and the place of each edge's own among them [E]."""

    directions: Tensor
    own: Tensor


@dataclass(frozen=True, slots=True)
class Inputs:
    """What an objective may read: `needs` in the catalogue says which of the optional ones a run provides.

    `scores` [R, K] of K heads; `logps` and `ref_logps` [R] summed over the `scored` [R] tokens of each completion;
    `divergence` [] the estimate of KL(policy, reference) over the whole step. `segment_scores` [M, K + 1] of K error
    types, `segments` with their marks; `rewards` [R] as the model itself combines its scores; `tokens` one by one;
    `features` [R, d] the last hidden state of each completion, and `peers` what those of the step are held against.
    """

    edges: Edges
    completions: Completions
    scores: Tensor | None = None
    logps: Tensor | None = None
    ref_logps: Tensor | None = None
    scored: Tensor | None = None
    divergence: Tensor | None = None
    segment_scores: Tensor | None = None
    segments: Segments | None = None
    rewards: Tensor | None = None
    tokens: Tokens | None = None
    features: Tensor | None = None
    peers: Peers | None = None


@dataclass(frozen=True, slots=True)
class Loss:
    """An objective's answer: the loss of a step is sum of `terms` / sum of `weights`, over all its micro-batches.

    `terms` [N] are already weighted; `groups` [N] says which group of the batch each is of. `rewards` [R] is what the
    model says of each completion in the objective's own unit.
    """

    terms: Tensor
    weights: Tensor
    groups: Tensor
    rewards: Tensor


Function = Callable[[Inputs, Options], Loss]


def required(value: T | None, name: str) -> T:
    """The value, or ValueError naming what the caller left out."""
    if value is None:
        raise ValueError(f"This objective needs {name}.")
    return value


def smoothed(probability: Tensor, label_smoothing: float) -> Tensor:
    """P(left better) if each label is wrong with chance e: p (1 - e) + (1 - p) e. Shape as given."""
    return probability * (1 - label_smoothing) + (1 - probability) * label_smoothing
