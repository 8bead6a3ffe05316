"""Attention over packed group trees.

A pack is one row of tokens: for each group its shared prefix, then the rest of each completion. A token sees its
group's prefix and the earlier tokens of its own completion, nothing else:

    allowed(q, k)  =  group[q] = group[k]  and  k <= q  and  (branch[k] = 0 or branch[k] = branch[q])

with branch 0 for the prefix and 1, 2, ... for the completions. Four implementations of that one rule: `segments`
(a scaled-dot-product call per piece, no work wasted; the CPU's), `varlen` (all pieces in one flash-attention call;
CUDA's in bf16), `flex` (block-sparse; CUDA's in fp32) and `dense` (one masked call, for any device). They are
registered with transformers, so that the model's own code runs unchanged.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

NAME = "tiebreak_tree"

Implementation = Literal["segments", "dense", "flex", "varlen"]


@dataclass(frozen=True, slots=True)
class Sequences:
    """The pieces of a pack as N sequences of their own: each completion's keys are its prefix and itself.

    `key` [Tk] are positions in the pack; `starts_q` and `starts_k` [N + 1] say where each sequence's queries and keys
    begin; causal attention aligns both at their ends.
    """

    key: Tensor
    starts_q: Tensor
    starts_k: Tensor
    longest_q: int
    longest_k: int


@dataclass(frozen=True)
class Tree:
    """Shape of a pack: for each group the length of its prefix and of each completion's own part."""

    groups: tuple[tuple[int, tuple[int, ...]], ...]
    implementation: Implementation
    device: torch.device

    @cached_property
    def lengths(self) -> list[int]:
        """Lengths of all pieces in order: prefix, completions, next group's prefix, ..."""
        return [length for prefix, parts in self.groups for length in (prefix, *parts)]

    @cached_property
    def ids(self) -> tuple[Tensor, Tensor]:
        """(group, branch) of each token, int32 [T] each."""
        groups, branches = [], []
        for number, (prefix, parts) in enumerate(self.groups):
            for branch, length in enumerate((prefix, *parts)):
                groups += [number] * length
                branches += [branch] * length
        as_tensor = [torch.tensor(values, dtype=torch.int32, device=self.device) for values in (groups, branches)]
        return as_tensor[0], as_tensor[1]

    @cached_property
    def mask(self) -> Tensor:
        """The rule as booleans [1, 1, T, T], true where attention is allowed."""
        group, branch = self.ids
        same = group[:, None] == group[None, :]
        visible = (branch[None, :] == 0) | (branch[None, :] == branch[:, None])
        return (same & visible).tril()[None, None]

    @cached_property
    def block_mask(self) -> Any:
        """The rule as a FlexAttention block mask."""
        from torch.nn.attention.flex_attention import create_block_mask

        group, branch = self.ids

        def rule(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
            visible = (branch[key] == 0) | (branch[key] == branch[query])
            return (group[query] == group[key]) & visible & (key <= query)

        total = len(group)
        return create_block_mask(rule, None, None, total, total, device=str(self.device))

    @cached_property
    def sequences(self) -> Sequences:
        """For `varlen`."""
        keys: list[int] = []
        queries, seen = [], []
        start = 0
        for prefix, parts in self.groups:
            shared = range(start, start + prefix)
            for branch, length in enumerate((prefix, *parts)):
                if length:
                    own = range(start, start + length)
                    keys += (*shared, *own) if branch else own
                    queries.append(length)
                    seen.append(length + (prefix if branch else 0))
                start += length
        starts = [
            torch.tensor([0, *accumulate(each)], dtype=torch.int32, device=self.device) for each in (queries, seen)
        ]
        key = torch.tensor(keys, dtype=torch.long, device=self.device)
        return Sequences(key, starts[0], starts[1], max(queries), max(seen))

    @cached_property
    def branch_masks(self) -> dict[tuple[int, int], Tensor]:
        """For `segments`: additive masks [C, P + C], causal and aligned to the bottom right, by (P, C)."""
        shapes = {(prefix, part) for prefix, parts in self.groups for part in parts if prefix}
        return {(prefix, part): _bottom_right(prefix, part, self.device) for prefix, part in shapes}


def _bottom_right(prefix: int, part: int, device: torch.device) -> Tensor:
    closed = torch.full((part, prefix + part), float("-inf"), device=device)
    return closed.triu_(diagonal=prefix + 1)


def tree_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    tree: Tree | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of one pack, in the shape that transformers' attention interface asks for.

    `query` is [1, H, T, D]; `key` and `value` [1, H or fewer, T, D]; the answer [1, T, H, D].
    Raises ValueError without a tree: a plain forward of a model set to this attention would not be causal.
    """
    if tree is None:
        raise ValueError("Packed attention needs the tree of its pack.")
    del module, attention_mask, dropout, kwargs  # the tree is the mask; dropout is off while preferences are learned
    if torch.is_autocast_enabled(query.device.type):  # rotary embeddings leave queries and keys in another type
        kind = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(kind), key.to(kind), value.to(kind)
    if tree.implementation == "varlen":
        return _varlen(query, key, value, tree.sequences, scaling), None
    if tree.implementation == "flex":
        return _flex(query, key, value, tree, scaling).transpose(1, 2), None
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:
        key, value = key.repeat_interleave(repeats, dim=1), value.repeat_interleave(repeats, dim=1)
    if tree.implementation == "dense":
        packed = scaled_dot_product_attention(query, key, value, attn_mask=tree.mask, scale=scaling)
        return packed.transpose(1, 2), None
    return _segments(query, key, value, tree, scaling).transpose(1, 2), None


def _segments(query: Tensor, key: Tensor, value: Tensor, tree: Tree, scaling: float | None) -> Tensor:
    # split, not slices: its backward is one concatenation instead of a full-size zero tensor per piece
    queries, keys, values = (torch.split(tensor, tree.lengths, dim=2) for tensor in (query, key, value))
    outputs: list[Tensor] = []
    place = 0
    for prefix, parts in tree.groups:
        if prefix:
            whole = (queries[place], keys[place], values[place])
            outputs.append(scaled_dot_product_attention(*whole, is_causal=True, scale=scaling))
        for offset, part in enumerate(parts, place + 1):
            if not prefix:
                own = (queries[offset], keys[offset], values[offset])
                outputs.append(scaled_dot_product_attention(*own, is_causal=True, scale=scaling))
                continue
            mask = tree.branch_masks[prefix, part].to(query.dtype)
            seen_keys = torch.cat((keys[place], keys[offset]), dim=2)
            seen_values = torch.cat((values[place], values[offset]), dim=2)
            outputs.append(
                scaled_dot_product_attention(queries[offset], seen_keys, seen_values, attn_mask=mask, scale=scaling)
            )
        place += 1 + len(parts)
    return torch.cat(outputs, dim=2)


def _varlen(query: Tensor, key: Tensor, value: Tensor, sequences: Sequences, scaling: float | None) -> Tensor:
    """[1, T, H, D] from [1, H, T, D]."""
    # [T, H, D] each; the keys of a prefix come once for itself and once for each completion
    queries, keys, values = (tensor.squeeze(0).transpose(0, 1) for tensor in (query, key, value))
    keys, values = keys.index_select(0, sequences.key), values.index_select(0, sequences.key)
    call = _flash if query.is_cuda else _one_by_one
    return call(queries.contiguous(), keys, values, sequences, scaling).unsqueeze(0)


def _flash(query: Tensor, key: Tensor, value: Tensor, sequences: Sequences, scaling: float | None) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    answer: Tensor = varlen_attn(  # type: ignore[assignment]
        query,
        key,
        value,
        sequences.starts_q,
        sequences.starts_k,
        sequences.longest_q,
        sequences.longest_k,
        scale=scaling,
        window_size=(-1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return answer


def _one_by_one(query: Tensor, key: Tensor, value: Tensor, sequences: Sequences, scaling: float | None) -> Tensor:
    """What the flash kernel computes, where there is none: [Tq, H, D] of N sequences, aligned at their ends."""
    lengths = [starts.diff().tolist() for starts in (sequences.starts_q, sequences.starts_k)]
    repeats = query.shape[1] // key.shape[1]
    pieces = (torch.split(query, lengths[0]), torch.split(key, lengths[1]), torch.split(value, lengths[1]))
    outputs = []
    for q, k, v in zip(*pieces, strict=True):
        mask = _bottom_right(len(k) - len(q), len(q), q.device).to(q.dtype)
        # [H, length, D] each
        q, k, v = q.transpose(0, 1), *(one.repeat_interleave(repeats, dim=1).transpose(0, 1) for one in (k, v))
        outputs.append(scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scaling).transpose(0, 1))
    return torch.cat(outputs)


def _flex(query: Tensor, key: Tensor, value: Tensor, tree: Tree, scaling: float | None) -> Tensor:
    grouped = query.shape[1] != key.shape[1]
    call = _compiled_flex() if query.is_cuda else _plain_flex()
    answer: Tensor = call(query, key, value, block_mask=tree.block_mask, scale=scaling, enable_gqa=grouped)
    return answer


@cache
def _compiled_flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)


def _plain_flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return flex_attention


def register() -> None:
    """Make `NAME` a choice of `attn_implementation`; doing it again changes nothing."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, tree_attention)
