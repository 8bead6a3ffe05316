"""From hidden states to numbers per completion: log-probabilities, or scores."""

from typing import Any

import torch
from torch import Tensor

# Log-probabilities of a chunk are kept for the backward up to this size; beyond it they are computed again.
KEEP_BYTES = 256 * 2**20
CHUNK_BYTES = 32 * 2**20


class _TokenLogps(torch.autograd.Function):
    """log softmax(hidden @ weight.T)[target], without ever holding logits of unscored positions.

    With p = softmax(logits) and g the incoming gradient: d/dlogits = g (onehot - p), in place on one stored copy.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, target: Tensor, chunk: int, keep: bool) -> Tensor:
        pieces: list[Tensor] = []
        kept: list[Tensor] = []
        for rows, wanted in zip(torch.split(hidden, chunk), torch.split(target, chunk), strict=True):
            logits = _logits(rows, weight)
            total = logits.logsumexp(dim=-1, keepdim=True)
            pieces.append((logits.gather(1, wanted[:, None]) - total).squeeze(1))
            if keep:
                kept.append(logits.sub_(total).exp_())
        ctx.save_for_backward(hidden, weight, target)
        ctx.chunk, ctx.kept = chunk, kept
        return torch.cat(pieces)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, target = ctx.saved_tensors
        kept, ctx.kept = ctx.kept, []
        to_hidden = torch.empty_like(hidden)
        to_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        splits = zip(
            *(torch.split(tensor, ctx.chunk) for tensor in (hidden, target, gradients[0], to_hidden)), strict=True
        )
        for number, (rows, wanted, gradient, out) in enumerate(splits):
            p = kept[number] if kept else _logits(rows, weight).softmax(dim=-1)
            if kept:
                kept[number] = None
            slope = p.mul_(-gradient[:, None])
            slope.scatter_add_(1, wanted[:, None], gradient[:, None].to(slope.dtype))
            slope = slope.to(rows.dtype)
            torch.mm(slope, weight.to(rows.dtype), out=out)
            if to_weight is not None:
                to_weight += slope.T @ rows
        return to_hidden, to_weight, None, None, None


def _logits(rows: Tensor, weight: Tensor) -> Tensor:
    logits = rows @ weight.to(rows.dtype).T
    return logits if logits.dtype == torch.float64 else logits.float()


def token_logps(hidden: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """Log-probability of each target token under softmax(hidden @ weight.T).

    `hidden` [S, d], `weight` [V, d], `target` [S]; the answer is [S] in at least float32. Computed in chunks of
    `CHUNK_BYTES` of logits.
    """
    vocabulary = weight.shape[0]
    chunk = max(1, CHUNK_BYTES // (4 * vocabulary))
    keep = torch.is_grad_enabled() and 4 * vocabulary * len(target) <= KEEP_BYTES
    answer: Tensor = _TokenLogps.apply(hidden, weight, target, chunk, keep)  # type: ignore[no-untyped-call]
    return answer


def completion_sums(values: Tensor, member_token: Tensor, member_completion: Tensor, completions: int) -> Tensor:
    """Sum of `values` [S] over the tokens of each completion: [R]. Arguments as in `pack.Batch`."""
    sums = values.new_zeros(completions)
    return sums.index_add(0, member_completion, values.index_select(0, member_token))
