"""Sampling completions from a policy."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from training.engine import attention
from training.engine.records import Text
from training.engine.render import Renderer
from training.engine.tokens import prompt_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to draw. Temperature 0 is greedy; `top_p` keeps the smallest set of tokens with that much probability."""

    max_new_tokens: int = 128
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Drawn:
    """A completion's text, its number of tokens, and whether it ended by itself before the limit."""

    text: str
    tokens: int
    ended: bool


class UnansweredError(ValueError):
    """A prompt to which nothing can be written, or whose completions cannot be scored."""


def sample(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerFast",
    prompt: Text,
    count: int = 1,
    sampling: Sampling | None = None,
) -> list[str]:
    """The texts of `draw`."""
    return [one.text for one in draw(model, tokenizer, prompt, count, sampling)]


def draw(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerFast",
    prompt: Text,
    count: int = 1,
    sampling: Sampling | None = None,
) -> list[Drawn]:
    """`count` completions of a prompt (text or chat messages), without their end token.

    A completion ends at the last position that the model has. The same seed gives the same completions on one machine.
    Raises ValueError for settings out of range, and UnansweredError for a prompt without tokens, or with as many as the
    model has positions.
    """
    settings = sampling or Sampling()
    if settings.temperature < 0 or not 0 < settings.top_p <= 1 or settings.max_new_tokens < 1 or count < 1:
        raise ValueError("temperature must be >= 0, top_p in (0, 1], max_new_tokens and count >= 1.")
    renderer = Renderer(tokenizer)
    ids = prompt_ids(tokenizer, renderer.prompt_text(prompt), template=renderer.has_template)
    if not ids:
        raise UnansweredError("its prompt has no tokens")
    positions = getattr(model.config, "max_position_embeddings", None) or len(ids) + settings.max_new_tokens
    most = min(settings.max_new_tokens, positions - len(ids))
    if most < 1:
        raise UnansweredError(f"its prompt is longer than the {positions} tokens that a model reads")
    rows = sample_ids(model, ids, count, replace(settings, max_new_tokens=most), tokenizer.eos_token_id)
    return [Drawn(str(tokenizer.decode(row, skip_special_tokens=True)), len(row), len(row) < most) for row in rows]


def sample_ids(
    model: "PreTrainedModel", prompt: Sequence[int], count: int, sampling: Sampling, eos: int | None
) -> list[list[int]]:
    """Token ids of `count` completions; each ends before its end token or at the length limit."""
    generator = torch.Generator(device=model.device).manual_seed(sampling.seed)
    own_attention = model.config._attn_implementation
    if own_attention == attention.NAME:
        model.set_attn_implementation("sdpa")  # tree attention is for packs, not for growing one row
    try:
        with torch.inference_mode():
            drawn = _draw(model, prompt, count, sampling, eos, generator)
    finally:
        if own_attention == attention.NAME:
            model.set_attn_implementation(own_attention)
    return [_until(row, eos) for row in drawn.tolist()]


def _draw(
    model: "PreTrainedModel",
    prompt: Sequence[int],
    count: int,
    sampling: Sampling,
    eos: int | None,
    generator: torch.Generator,
) -> Tensor:
    step = torch.tensor([list(prompt)] * count, device=model.device)
    ended = torch.zeros(count, dtype=torch.bool, device=model.device)
    drawn: list[Tensor] = []
    cache = None
    for _ in range(sampling.max_new_tokens):
        output = model(input_ids=step, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        token = choose(output.logits[:, -1].float(), sampling, generator)
        if eos is not None:
            token = torch.where(ended, eos, token)
            ended |= token == eos
        drawn.append(token)
        if bool(ended.all()):
            break
        step = token[:, None]
    return torch.stack(drawn, dim=1)


def choose(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """One token per row of `logits` [B, V] → [B].

    A token outside the nucleus is never drawn: tokens are sorted by probability, and one is kept while the
    probability before it is below `top_p` (arXiv:1904.09751).
    """
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    p = (logits / sampling.temperature).softmax(dim=-1)
    ordered, tokens = p.sort(dim=-1, descending=True)
    ordered = ordered.masked_fill(ordered.cumsum(dim=-1) - ordered >= sampling.top_p, 0.0)
    place = torch.multinomial(ordered, 1, generator=generator)
    return tokens.gather(1, place).squeeze(1)


def _until(row: list[int], eos: int | None) -> list[int]:
    return row[: row.index(eos)] if eos in row else row
