"""Models and data small enough for tests: random weights, saved as real transformers folders."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from training.base_model import conversations, preference_pairs, train_tokenizer
from training.engine.config import RunConfig, parse_config
from training.engine.records import Preference
from training.engine.tokens import TokenGroup

VOCABULARY = 300
ARCHITECTURES = [
    *("llama", "qwen2", "qwen3", "mistral", "gemma", "gemma3_text", "gpt2", "gpt_neox", "opt", "olmo2", "smollm3"),
]

_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
_OTHER_NAMES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256, "n_inner": 48},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
}


@cache
def tokenizer_texts() -> tuple[str, ...]:
    return tuple("\n".join(message["content"] for message in talk) for talk in conversations(200, seed=3))


def make_tokenizer(*, template: bool = True) -> Any:
    """A real byte-level BPE over the planted text; ids 0 and 1 are pad and end."""
    tokenizer = train_tokenizer(list(tokenizer_texts()))
    if not template:
        tokenizer.chat_template = None
    return tokenizer


def make_config(model_type: str = "llama", **changes: Any) -> Any:
    from transformers import AutoConfig

    return AutoConfig.for_model(model_type, **{**_SHAPE, **_OTHER_NAMES.get(model_type, {}), **changes})


def save_tiny(folder: Path, model_type: str = "llama", *, seed: int = 0, scale: float = 1.0, **changes: Any) -> Path:
    """A folder with a random model (weights × `scale`, so that attention is not near uniform) and a tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    tokenizer = make_tokenizer()
    torch.manual_seed(seed)
    config = make_config(model_type, **{"vocab_size": len(tokenizer), **changes})
    model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2 and "norm" not in name:
                parameter.mul_(scale)
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return folder


def random_groups(count: int, *, seed: int = 0, vocabulary: int = VOCABULARY, longest: int = 12) -> list[TokenGroup]:
    """Pairs of random tokens; every third pair shares the start of its completions."""
    generator = np.random.default_rng(seed)

    def ids(low: int) -> tuple[int, ...]:
        return tuple(int(token) for token in generator.integers(5, vocabulary, size=generator.integers(low, longest)))

    groups = []
    for number in range(count):
        common = ids(2) if number % 3 == 0 else ()
        completions = ((*common, *ids(1), 1), (*common, *ids(1), 1))
        groups.append(TokenGroup(f"row-{number}", f"p-{number}", "test", ids(1), completions, (Preference(0, 1),)))
    return groups


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def settings(folder: Path, objective: str = "bt", *, train: int = 40, test: int = 12, **changes: Any) -> dict[str, Any]:
    """A `run.json` over planted pairs; the data and a tiny base model are written into the folder where missing."""
    base = folder / "base"
    if not base.exists():
        save_tiny(base)
    rows = preference_pairs(train + test, seed=5)
    return {
        "schema": 1,
        "objective": objective,
        "base_model": str(base),
        "data": {
            "train": [write_rows(folder / "train.jsonl", rows[:train])],
            "test": [write_rows(folder / "test.jsonl", rows[train:])],
        },
        "tokens_per_batch": 512,
        "learning_rate": 1e-3,
        "checkpoint_every": 3,
        "threads": 1,
        "device": "cpu",
        **changes,
    }


def plain_config(objective: str = "bt", **changes: Any) -> RunConfig:
    """Settings for a loop that is driven directly; the data file named is this one and never read."""
    return parse_config(
        {
            "schema": 1,
            "objective": objective,
            "base_model": "/",
            "data": unread(),
            **changes,
        }
    )


def unread() -> dict[str, Any]:
    """Data of a run that is never read."""
    return {"train": [str(_any_jsonl())]}


@cache
def _any_jsonl() -> Path:
    import tempfile

    path = Path(tempfile.mkdtemp()) / "empty.jsonl"
    path.touch()
    return path
