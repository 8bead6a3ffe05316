"""One forward of a model over a batch, and what the objectives need of it."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from training.engine.heads import completion_sums, token_logps
from training.engine.pack import Batch
from training.objectives.spans import segment_rewards

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a model says of the completions of a batch.

    A language model: `logps` [R], summed from `token_logps` [S]. A reward model: `scores` [R, K] of K heads,
    `segment_scores` [M, K] at the ends of segments, `rewards` [R] where it combines them itself, and `features` [R, d],
    the states that the scores were read from; `asked` [R, d] those at the ends of the prompts.
    """

    logps: Tensor | None = None
    scores: Tensor | None = None
    token_logps: Tensor | None = None
    segment_scores: Tensor | None = None
    rewards: Tensor | None = None
    features: Tensor | None = None
    asked: Tensor | None = None


def run_model(model: "PreTrainedModel", batch: Batch, precision: Precision = "fp32") -> Outputs:
    """Summed log-probability of each completion (language model), or its scores (reward model), in float32."""
    with casting(model.device, precision):
        hidden = hidden_states(model, batch)
        score = getattr(model, "score", None)
        if score is not None:
            return _scored(model, hidden, batch)
        values = _token_logps(model, hidden, batch, precision)
        logps = completion_sums(values, batch.member_token, batch.member_completion, len(batch.last))
        return Outputs(logps=logps, token_logps=values)


def _scored(model: "PreTrainedModel", hidden: Tensor, batch: Batch) -> Outputs:
    features, asked = hidden.index_select(0, batch.last), hidden.index_select(0, batch.asked)
    head = model.get_submodule("score")
    scores: Tensor = head(features).float()
    segment_scores: Tensor = head(hidden.index_select(0, batch.segments.position)).float()
    rewards = None
    if (gate := getattr(model, "gate", None)) is not None:
        rewards = gate(asked, scores, batch.scored)
    elif combination := getattr(model.config, "segment_rewards", None):
        weights = scores.new_tensor(combination["weights"])
        rewards = segment_rewards(scores, segment_scores, batch.segments.completion, weights)
    return Outputs(scores=scores, segment_scores=segment_scores, rewards=rewards, features=features, asked=asked)


def hidden_states(model: "PreTrainedModel", batch: Batch) -> Tensor:
    """Last hidden states [B * T, d] of the batch."""
    inputs: dict[str, Any] = {"input_ids": batch.input_ids, "use_cache": False}
    if batch.tree is None:
        inputs["attention_mask"] = batch.attention_mask
    else:
        inputs |= {"position_ids": batch.position_ids, "tree": batch.tree}
    states: Tensor = model.base_model(**inputs).last_hidden_state
    return states.flatten(0, 1)


def _token_logps(model: "PreTrainedModel", hidden: Tensor, batch: Batch, precision: Precision) -> Tensor:
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    scored = hidden.index_select(0, batch.source)
    if precision == "bf16":
        scored = scored.to(torch.bfloat16)
    return token_logps(scored, head.weight, batch.target)


def casting(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """bf16 mixed precision, or nothing."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
