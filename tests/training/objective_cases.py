"""Groups as tensors in float64, for the tests of objectives."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import torch

from training.engine.pack import Completions, Edges, Segments
from training.objectives.catalogue import OBJECTIVES
from training.objectives.options import ObjectiveOptions
from training.objectives.registry import FUNCTIONS
from training.objectives.terms import Inputs, Loss, Peers, Tokens

Array = Any


def tensor(values: Any) -> torch.Tensor:
    return torch.as_tensor(np.asarray(values), dtype=torch.float64)


def options(name: str, **given: Any) -> ObjectiveOptions:
    """The options as a run of the objective would have them."""
    return ObjectiveOptions.model_validate(OBJECTIVES[name].filled(given))


def run(name: str, inputs: Inputs, **given: Any) -> Loss:
    return FUNCTIONS[name](inputs, options(name, **given))


def value(loss: Loss) -> float:
    """The loss of a step that is this one batch."""
    return float(loss.terms.sum() / loss.weights.sum())


def lists(ranks: list[list[int]], seed: int = 0, heads: int = 1, **changes: Any) -> Inputs:
    """One group for each list of ranks, all of its pairs as edges, everything else drawn."""
    generator = np.random.default_rng(seed)
    starts = np.cumsum([0, *(len(one) for one in ranks)])
    pairs = [
        (number, int(start) + i, int(start) + j, one[i], one[j])
        for number, (start, one) in enumerate(zip(starts, ranks, strict=False))
        for i, j in combinations(range(len(one)), 2)
    ]
    better = [(g, i, j, a, b) if a <= b else (g, j, i, b, a) for g, i, j, a, b in pairs]
    count = int(starts[-1])
    flat = [rank for one in ranks for rank in one]
    last = [max(one) for one in ranks for _ in one]
    gains = [(top - rank) / (top - 1) if top > 1 else 0.5 for rank, top in zip(flat, last, strict=True)]
    edges = Edges(
        left=torch.tensor([left for _, left, _, _, _ in better], dtype=torch.long),
        right=torch.tensor([right for _, _, right, _, _ in better], dtype=torch.long),
        weight=torch.ones(len(better), dtype=torch.float64),
        margin=torch.zeros(len(better), dtype=torch.float64),
        probability=tensor([0.5 if a == b else 1.0 for *_, a, b in better]),
        group=torch.tensor([number for number, *_ in better], dtype=torch.long),
    )
    completions = Completions(
        group=torch.tensor([number for number, one in enumerate(ranks) for _ in one], dtype=torch.long),
        key=torch.as_tensor(generator.integers(-(2**62), 2**62, len(ranks)))[
            torch.tensor([number for number, one in enumerate(ranks) for _ in one], dtype=torch.long)
        ],
        rank=torch.tensor(flat, dtype=torch.long),
        gain=tensor(gains),
        weight=torch.ones(count, dtype=torch.float64),
        values=tensor(np.where(generator.uniform(size=(count, 3)) < 0.3, np.nan, generator.uniform(size=(count, 3)))),
    )
    per_completion = torch.as_tensor(generator.integers(1, 4, count))
    owners = torch.repeat_interleave(torch.arange(count), per_completion)
    marks = np.where(generator.uniform(size=(len(owners), 2)) < 0.2, np.nan, generator.integers(0, 2, (len(owners), 2)))
    drawn = Inputs(
        edges=edges,
        completions=completions,
        scores=tensor(generator.normal(size=(count, heads))),
        logps=tensor(-generator.uniform(5, 50, count)),
        ref_logps=tensor(-generator.uniform(5, 50, count)),
        scored=torch.as_tensor(generator.integers(3, 20, count)),
        divergence=tensor(generator.uniform(0, 2)),
        segment_scores=tensor(generator.normal(size=(len(owners), 3))),
        segments=Segments(torch.zeros(len(owners), dtype=torch.long), owners, tensor(marks)),
        rewards=tensor(generator.normal(size=count)),
        tokens=Tokens(
            owners, tensor(-generator.uniform(0.1, 3, len(owners))), tensor(generator.uniform(-0.5, 0.5, len(owners)))
        ),
        features=tensor(generator.normal(size=(count, 8))),
        peers=Peers(tensor(generator.normal(size=(len(better), 8))), torch.arange(len(better))),
    )
    return replace(drawn, **changes)


def pairs(seed: int = 0, count: int = 6, **edge_changes: Any) -> Inputs:
    """Pairs with drawn weights, margins and probabilities; `edge_changes` replace arrays of the edges."""
    generator = np.random.default_rng(seed + 100)
    given = lists([[1, 2]] * count, seed)
    drawn: dict[str, Any] = {
        "weight": tensor(generator.uniform(0.1, 2, count)),
        "margin": tensor(generator.uniform(0, 1, count)),
        "probability": tensor(generator.uniform(0, 1, count)),
    }
    return replace(given, edges=replace(given.edges, **{**drawn, **edge_changes}))


def certain(count: int = 6) -> dict[str, Any]:
    """Arrays of edges that are sure, of weight 1 and without margin."""
    ones, zeros = torch.ones(count, dtype=torch.float64), torch.zeros(count, dtype=torch.float64)
    return {"weight": ones, "margin": zeros, "probability": ones}


def swapped(inputs: Inputs) -> Inputs:
    """The same preferences told from the other side."""
    e = inputs.edges
    return replace(inputs, edges=Edges(e.right, e.left, e.weight, e.margin, 1 - e.probability, e.group))


def part(inputs: Inputs, groups: list[int]) -> Inputs:
    """The batch of only these groups, as splitting a batch would make it."""
    e, c = inputs.edges, inputs.completions
    rows = torch.cat([(c.group == group).nonzero().flatten() for group in groups])
    edges = torch.cat([(e.group == group).nonzero().flatten() for group in groups])
    s, t = inputs.segments, inputs.tokens
    assert isinstance(s, Segments)
    assert t is not None
    assert inputs.peers is not None
    assert inputs.segment_scores is not None
    pieces, tokens = (torch.isin(of.completion, rows).nonzero().flatten() for of in (s, t))
    place = {int(row): number for number, row in enumerate(rows)}
    number = {group: position for position, group in enumerate(groups)}

    def moved(values: torch.Tensor, to: dict[int, int]) -> torch.Tensor:
        return torch.tensor([to[int(one)] for one in values], dtype=torch.long)

    def of_rows(values: torch.Tensor | None) -> torch.Tensor | None:
        return None if values is None else values[rows]

    return Inputs(
        edges=Edges(
            left=moved(e.left[edges], place),
            right=moved(e.right[edges], place),
            weight=e.weight[edges],
            margin=e.margin[edges],
            probability=e.probability[edges],
            group=moved(e.group[edges], number),
        ),
        completions=Completions(
            moved(c.group[rows], number), c.key[rows], c.rank[rows], c.gain[rows], c.weight[rows], c.values[rows]
        ),
        scores=of_rows(inputs.scores),
        logps=of_rows(inputs.logps),
        ref_logps=of_rows(inputs.ref_logps),
        scored=of_rows(inputs.scored),
        divergence=inputs.divergence,
        segment_scores=inputs.segment_scores[pieces],
        segments=Segments(s.position[pieces], moved(s.completion[pieces], place), s.labels[pieces]),
        rewards=of_rows(inputs.rewards),
        tokens=Tokens(moved(t.completion[tokens], place), t.logps[tokens], t.rewards[tokens]),
        features=of_rows(inputs.features),
        peers=replace(inputs.peers, own=inputs.peers.own[edges]),
    )


def log_sigmoid(x: Any) -> Any:
    return -np.logaddexp(0, -x)


def arrays(inputs: Inputs) -> dict[str, Array]:
    """Everything as numpy, by short names: l, r edges; p, w, m of edges; s scores, lp, ref, n of completions."""
    e = inputs.edges
    assert inputs.scores is not None
    assert inputs.logps is not None
    assert inputs.ref_logps is not None
    assert inputs.scored is not None
    return {
        "l": e.left.numpy(),
        "r": e.right.numpy(),
        "p": e.probability.numpy(),
        "w": e.weight.numpy(),
        "m": e.margin.numpy(),
        "s": inputs.scores[:, 0].numpy(),
        "lp": inputs.logps.numpy(),
        "ref": inputs.ref_logps.numpy(),
        "n": inputs.scored.numpy(),
    }
