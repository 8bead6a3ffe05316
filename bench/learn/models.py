"""Random Llama-shaped models with a tokenizer made from the data itself; nothing is downloaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from training.base_model import rendered, train_tokenizer


@dataclass(frozen=True, slots=True)
class Shape:
    """Size of a model. A vocabulary larger than the tokenizer's costs what it would cost in a real model."""

    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int


# 5M and 30M parameters
TINY = Shape(hidden=256, inner=688, layers=4, heads=4, kv_heads=4, vocabulary=8192)
SMALL = Shape(hidden=512, inner=1376, layers=8, heads=8, kv_heads=8, vocabulary=8192)
# the shape of Qwen2.5-0.5B
HALF_BILLION = Shape(hidden=896, inner=4864, layers=24, heads=14, kv_heads=2, vocabulary=151_936)


def make_model(folder: Path, shape: Shape, rows: list[dict[str, Any]]) -> Path:
    """A folder with a random model of a shape, and a tokenizer that knows the words of the rows."""
    from transformers import LlamaConfig, LlamaForCausalLM

    said = [[*row["prompt"], *({"role": "assistant", "content": text} for text in row["completions"])] for row in rows]
    tokenizer = train_tokenizer([rendered(talk) for talk in said], shape.vocabulary)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder
