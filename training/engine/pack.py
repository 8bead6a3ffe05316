"""Token groups → batches: packed trees or padded rows, with the same index arrays over both."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import torch
from torch import Tensor

from training.engine.attention import Implementation, Tree
from training.engine.records import Label
from training.engine.tokens import TokenGroup

Path = Literal["segments", "dense", "flex", "varlen", "padded"]


@dataclass(frozen=True)
class Edges:
    """The preferences of a batch as flat arrays [E]: completion `left` against `right`, see `records.Preference`."""

    left: Tensor
    right: Tensor
    weight: Tensor
    margin: Tensor
    probability: Tensor
    group: Tensor


@dataclass(frozen=True)
class Completions:
    """What was said of the completions of a batch, flat arrays [R], see `records.Label`; the group of each, and a
    number that stands for its prompt. `values` [R, A] of A attributes, [R, 0] where a batch has none."""

    group: Tensor
    key: Tensor
    rank: Tensor
    gain: Tensor
    weight: Tensor
    values: Tensor


@dataclass(frozen=True)
class Segments:
    """The segments of a batch: position of the last token of each [M], its completion [M], and the marks of K error
    types [M, K], see `segments.Segment`."""

    position: Tensor
    completion: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Batch:
    """Inputs of one forward, and where in its output the numbers of each of R completions are.

    Positions are flat indices into the [B * T, d] hidden states. S scored tokens: `source` predicts `target`.
    `member` lists (scored token, completion) pairs, since a token in a shared prefix belongs to several completions.
    `asked` and `last` [R] are the positions of the last tokens of each completion's prompt and of itself.
    """

    groups: tuple[TokenGroup, ...]
    input_ids: Tensor
    position_ids: Tensor | None
    attention_mask: Tensor | None
    tree: Tree | None
    source: Tensor
    target: Tensor
    member_token: Tensor
    member_completion: Tensor
    last: Tensor
    asked: Tensor
    scored: Tensor
    edges: Edges
    completions: Completions
    segments: Segments
    tokens: int


@dataclass(slots=True)
class _Index:
    """Index arrays under construction."""

    source: list[int]
    target: list[int]
    token: list[int]
    completion: list[int]
    last: list[int]
    asked: list[int]
    scored: list[int]
    segment: list[int]

    @classmethod
    def empty(cls) -> "_Index":
        return cls([], [], [], [], [], [], [], [])

    def score(self, sources: Sequence[int], targets: Sequence[int], completions: Sequence[int]) -> None:
        for completion in completions:
            self.token += range(len(self.source), len(self.source) + len(sources))
            self.completion += [completion] * len(sources)
        self.source += sources
        self.target += targets


def best_path(device: torch.device, precision: str) -> Path:
    """The implementation that suits a device: on CUDA flash attention, which knows no fp32."""
    if device.type != "cuda":
        return "segments"
    return "varlen" if precision == "bf16" else "flex"


def make_batch(groups: Sequence[TokenGroup], path: Path, device: torch.device, pad: int = 0) -> Batch:
    """One forward's inputs for the groups, on `device`.

    `path` is an attention implementation over packed trees, or `padded`: one row per completion, padded right with
    the token `pad` (masked by length, so that any token will do).
    """
    if path == "padded":
        return _padded(groups, device, pad)
    return _packed(groups, path, device)


def _packed(groups: Sequence[TokenGroup], implementation: Implementation, device: torch.device) -> Batch:
    ids: list[int] = []
    positions: list[int] = []
    shape: list[tuple[int, tuple[int, ...]]] = []
    index = _Index.empty()
    for group in groups:
        shared = group.shared
        own = [(*group.prompt, *completion)[shared:] for completion in group.completions]
        first, start = len(index.last), len(ids)
        rows = range(first, first + len(own))
        common = group.completions[0][: shared - len(group.prompt)]
        index.score(range(start + len(group.prompt) - 1, start + shared - 1), common, rows)
        ids += (*group.prompt, *common)
        positions += range(shared)
        for row, part in zip(rows, own, strict=True):
            begin = len(ids)
            index.score((start + shared - 1, *range(begin, begin + len(part) - 1)), part, (row,))
            ids += part
            positions += range(shared, shared + len(part))
            index.last.append(len(ids) - 1)
            index.asked.append(start + len(group.prompt) - 1)
            index.scored.append(len(common) + len(part))
            index.segment += [
                start + len(group.prompt) + token if token < len(common) else begin + token - len(common)
                for token in _segment_tokens(group, row - first)
            ]
        shape.append((shared, tuple(len(part) for part in own)))
    tree = Tree(tuple(shape), implementation, device)
    return _batch(groups, _row(ids, device), _row(positions, device), None, tree, index)


def _padded(groups: Sequence[TokenGroup], device: torch.device, pad: int) -> Batch:
    width = max(group.longest for group in groups)
    rows: list[list[int]] = []
    masks: list[list[int]] = []
    index = _Index.empty()
    for group in groups:
        for number, completion in enumerate(group.completions):
            start, row = len(rows) * width, len(rows)
            length = len(group.prompt) + len(completion)
            index.score(range(start + len(group.prompt) - 1, start + length - 1), completion, (row,))
            index.last.append(start + length - 1)
            index.asked.append(start + len(group.prompt) - 1)
            index.scored.append(len(completion))
            index.segment += [start + len(group.prompt) + token for token in _segment_tokens(group, number)]
            rows.append([*group.prompt, *completion] + [pad] * (width - length))
            masks.append([1] * length + [0] * (width - length))
    tensors = [torch.tensor(values, dtype=torch.long, device=device) for values in (rows, masks)]
    return _batch(groups, tensors[0], None, tensors[1], None, index)


def _batch(
    groups: Sequence[TokenGroup],
    input_ids: Tensor,
    position_ids: Tensor | None,
    attention_mask: Tensor | None,
    tree: Tree | None,
    index: _Index,
) -> Batch:
    device = input_ids.device
    source, target, token, completion, last, asked, scored, segment = (
        _whole(values, device)
        for values in (
            *(index.source, index.target, index.token, index.completion),
            *(index.last, index.asked, index.scored, index.segment),
        )
    )
    tokens = input_ids.numel() if attention_mask is None else int(attention_mask.sum())
    return Batch(
        groups=tuple(groups),
        input_ids=input_ids,
        position_ids=position_ids,
        attention_mask=attention_mask,
        tree=tree,
        source=source,
        target=target,
        member_token=token,
        member_completion=completion,
        last=last,
        asked=asked,
        scored=scored,
        edges=make_edges(groups, device),
        completions=make_completions(groups, device),
        segments=_segments(groups, segment),
        tokens=tokens,
    )


def _segment_tokens(group: TokenGroup, completion: int) -> list[int]:
    return [segment.token for segment in group.segments[completion]] if group.segments else []


def _segments(groups: Sequence[TokenGroup], position: Tensor) -> Segments:
    starts = [0, *accumulate(len(group.completions) for group in groups)]
    found = [
        (start + number, segment.labels)
        for start, group in zip(starts, groups, strict=False)
        for number, segments in enumerate(group.segments)
        for segment in segments
    ]
    width = len(found[0][1]) if found else 0
    labels = torch.tensor([labels for _, labels in found], dtype=torch.float32, device=position.device)
    return Segments(position, _whole([row for row, _ in found], position.device), labels.reshape(len(found), width))


def by_completion(batch: Batch) -> tuple[Tensor, Tensor]:
    """Scored tokens in the order of the completions [T]: their places in the scored tokens, and their completions."""
    order = torch.argsort(batch.member_completion, stable=True)
    return batch.member_token[order], batch.member_completion[order]


def make_edges(groups: Sequence[TokenGroup], device: torch.device) -> Edges:
    """All preferences of the groups, with completions numbered through the batch."""
    starts = [0, *accumulate(len(group.completions) for group in groups)]
    edges = [(start, edge) for start, group in zip(starts, groups, strict=False) for edge in group.preferences]
    return Edges(
        left=_whole([start + edge.left for start, edge in edges], device),
        right=_whole([start + edge.right for start, edge in edges], device),
        weight=_real([edge.weight for _, edge in edges], device),
        margin=_real([edge.margin for _, edge in edges], device),
        probability=_real([edge.probability for _, edge in edges], device),
        group=_whole([number for number, group in enumerate(groups) for _ in group.preferences], device),
    )


def make_completions(groups: Sequence[TokenGroup], device: torch.device) -> Completions:
    """What was said of each completion of the groups; a group without labels says nothing of its completions."""
    labels = [label for group in groups for label in group.labels or [Label()] * len(group.completions)]
    return Completions(
        group=_whole([number for number, group in enumerate(groups) for _ in group.completions], device),
        key=_whole([key for group in groups for key in [prompt_key(group.prompt_id)] * len(group.completions)], device),
        rank=_whole([label.rank for label in labels], device),
        gain=_real([label.gain for label in labels], device),
        weight=_real([label.weight for label in labels], device),
        values=_values(labels, device),
    )


def _values(labels: Sequence[Label], device: torch.device) -> Tensor:
    """Ratings [R, A]; NaN for what was not rated."""
    width = max((len(label.values) for label in labels), default=0)
    rows = [label.values or (math.nan,) * width for label in labels]
    return torch.tensor(rows, dtype=torch.float32, device=device).reshape(len(labels), width)


def prompt_key(prompt_id: str) -> int:
    """64 bits that stand for a prompt, as a signed number."""
    return int.from_bytes(hashlib.sha256(prompt_id.encode()).digest()[:8], "big", signed=True)


def _whole(values: list[int], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.long, device=device)


def _real(values: list[float], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device)


def _row(values: list[int], device: torch.device) -> Tensor:
    return torch.tensor([values], dtype=torch.long, device=device)
