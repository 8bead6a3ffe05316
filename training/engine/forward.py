"""One forward of a model over a batch, and what the objectives need of it."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from training.engine.heads import completion_sums, token_logps
from training.engine.pack import Batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, slots=True)
class Outputs:
    """`logps` [R], `scores` [R, K] of K heads; the one that the model's head does not give is None."""

    logps: Tensor | None
    scores: Tensor | None


def run_model(model: "PreTrainedModel", batch: Batch, precision: Precision = "fp32") -> Outputs:
    """Summed log-probability of each completion (language model), or its scores (reward model), in float32."""
    with casting(model.device, precision):
        hidden = hidden_states(model, batch)
        score = getattr(model, "score", None)
        if score is not None:
            scores: Tensor = score(hidden.index_select(0, batch.last))
            return Outputs(None, scores.float())
        return Outputs(_logps(model, hidden, batch, precision), None)


def hidden_states(model: "PreTrainedModel", batch: Batch) -> Tensor:
    """Last hidden states [B * T, d] of the batch."""
    inputs: dict[str, Any] = {"input_ids": batch.input_ids, "use_cache": False}
    if batch.tree is None:
        inputs["attention_mask"] = batch.attention_mask
    else:
        inputs |= {"position_ids": batch.position_ids, "tree": batch.tree}
    states: Tensor = model.base_model(**inputs).last_hidden_state
    return states.flatten(0, 1)


def _logps(model: "PreTrainedModel", hidden: Tensor, batch: Batch, precision: Precision) -> Tensor:
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    scored = hidden.index_select(0, batch.source)
    if precision == "bf16":
        scored = scored.to(torch.bfloat16)
    values = token_logps(scored, head.weight, batch.target)
    return completion_sums(values, batch.member_token, batch.member_completion, len(batch.last))


def casting(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """bf16 mixed precision, or nothing."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
