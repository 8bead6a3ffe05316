"""What a reward model of several attributes learns after its body: its last layer, and its gate."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.engine.gate import Gate
from training.engine.learner import Learner, Split
from training.engine.measuring import observed
from training.objectives.attributes import decorrelation, gated, pair_loss, ridge

_RATE = 0.003


@dataclass(frozen=True, slots=True)
class _Seen:
    """States and labels of a split, flat over completions [R] and pairs [E]."""

    features: Tensor
    asked: Tensor
    lengths: Tensor
    values: Tensor
    left: Tensor
    right: Tensor
    weight: Tensor
    probability: Tensor


def settle(learner: Learner, split: Split, seed: int) -> None:
    """Solve the last layer by ridge, take verbosity out of the attributes, and teach the gate by the pairs.

    The body stays as it is. Everything follows from the weights, the split and the seed.
    """
    options, gate, head = learner.config.objective_options, learner.model.gate, learner.model.score
    assert isinstance(gate, Gate)
    assert isinstance(head, nn.Linear)
    seen = _see(learner, split, head.out_features)
    weights = ridge(seen.features, seen.values - 0.5, options.ridge_penalty).to(head.weight)
    with torch.no_grad():
        head.weight.copy_(weights)
        scores = seen.features.float() @ weights.float().T
        if options.verbosity == "removed":
            gate.verbosity.copy_(decorrelation(scores, seen.lengths))
    _teach(gate, seen, scores, options.gate_steps, seed)


def _teach(gate: Gate, seen: _Seen, scores: Tensor, steps: int, seed: int) -> None:
    """AdamW on all pairs at once. With one attribute there is nothing to weigh, and only the scale is learned."""
    taught = [gate.inner.weight, gate.inner.bias, gate.outer.weight, gate.outer.bias, gate.scale]
    with torch.random.fork_rng(), _learning(taught):
        torch.manual_seed(seed)
        optimizer = torch.optim.AdamW(taught, lr=_RATE, weight_decay=0.01)
        total = seen.weight.sum().clamp(min=1e-9)
        for _ in range(steps if len(seen.left) else 0):
            rewards = gate.scale * gated(scores, gate.weights(seen.asked), gate.verbosity.detach(), seen.lengths)
            loss = (seen.weight * pair_loss(rewards[seen.left] - rewards[seen.right], seen.probability)).sum() / total
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()


@contextmanager
def _learning(parameters: list[Tensor]) -> Iterator[None]:
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(False)
            parameter.grad = None


def _see(learner: Learner, split: Split, attributes: int) -> _Seen:
    parts: list[tuple[Tensor, ...]] = []
    rows = 0
    for batch, outputs in observed(learner, split):
        assert outputs.features is not None
        assert outputs.asked is not None
        edges, values = batch.edges, batch.completions.values
        if not values.shape[1]:
            values = torch.full((len(batch.last), attributes), float("nan"), device=values.device)
        own = (outputs.features.float(), outputs.asked.float(), batch.scored, values)
        parts.append((*own, edges.left + rows, edges.right + rows, edges.weight, edges.probability))
        rows += len(batch.last)
    return _Seen(*(torch.cat(column) for column in zip(*parts, strict=True)))
