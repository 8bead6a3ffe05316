"""Rewards of single tokens, from how a policy answers when it is asked for a good and for a bad answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from training.engine.batches import fill
from training.engine.forward import Precision, run_model
from training.engine.memory import within_memory
from training.engine.pack import Path as AttentionPath
from training.engine.pack import by_completion, make_batch
from training.engine.records import Text, continued
from training.engine.render import Renderer
from training.engine.tokens import TokenGroup, prompt_ids
from training.objectives.tokenwise import token_rewards

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

GOOD = "Answer in a way that is helpful, correct, coherent and concise."
BAD = "Answer in a way that is unhelpful, incorrect, incoherent and verbose."

Rewards = list[tuple[tuple[float, ...], ...]]


def asked_for(
    line: str,
    groups: Sequence[TokenGroup],
    prompts: Mapping[str, Text],
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
) -> list[TokenGroup]:
    """The groups with a line more in their prompts (by prompt id), whose starts are cut where they do not fit. The
    completions' tokens stay the same."""
    renderer = Renderer(tokenizer)
    asked = []
    for group in groups:
        text = renderer.prompt_text(continued(prompts[group.prompt_id], line))
        ids = prompt_ids(tokenizer, text, template=renderer.has_template)
        room = max(1, max_length - max(len(completion) for completion in group.completions))
        asked.append(replace(group, prompt=ids[-room:], preferences=(), labels=()))
    return asked


def rewards_of_tokens(
    model: "PreTrainedModel",
    good: Sequence[TokenGroup],
    bad: Sequence[TokenGroup],
    *,
    path: AttentionPath,
    budget: int,
    precision: Precision,
    after_batch: Callable[[int], None],
) -> Rewards:
    """The reward of each token of each completion of each group, see `tokenwise.token_rewards`. `after_batch` hears how
    many groups of the one or the other kind are done."""
    found = []
    for number, groups in enumerate((good, bad)):

        def logps(indices: list[int], groups: Sequence[TokenGroup] = groups) -> list[tuple[torch.Tensor, ...]]:
            batch = make_batch([groups[index] for index in indices], path, model.device)
            with torch.inference_mode():
                logps = run_model(model, batch, precision).token_logps
            assert logps is not None
            split = iter(torch.split(logps[by_completion(batch)[0]], batch.scored.tolist()))
            return [tuple(next(split) for _ in group.completions) for group in batch.groups]

        values: list[tuple[torch.Tensor, ...]] = []
        batches = fill(range(len(groups)), groups, budget, padded=path == "padded")
        for _, part in within_memory(batches, groups, logps):
            values += part
            after_batch(number * len(groups) + len(values))
        found.append(values)
    return [
        tuple(tuple(token_rewards(better, worse).tolist()) for better, worse in zip(*pair, strict=True))
        for pair in zip(*found, strict=True)
    ]
