"""Which folders with a model are safe to load: safetensors and JSON only, known architectures, no code. Pure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

# Each is tested: packed equals padded where it can be packed, and both equal the model's own forward.
ARCHITECTURES = frozenset(
    {"llama", "qwen2", "qwen3", "mistral", "gemma", "gemma3_text", "gpt2", "gpt_neox", "opt", "olmo2", "smollm3"}
)

# sentence encoders, whose embeddings are features of routing
ENCODERS = frozenset({"bert", "roberta", "xlm-roberta", "distilbert", "mpnet", "camembert", "electra", "albert"})

_CODE_SUFFIXES = {
    ".bin",
    ".pt",
    ".pth",
    ".pkl",
    ".pickle",
    ".ckpt",
    ".joblib",
    ".npy",
    ".npz",
    ".h5",
    ".msgpack",
    ".py",
}
# what transformers' trainers leave beside a model; nothing here ever opens it
_LEFT_ALONE = "training_args.bin"


class UnsafeFolder(ValueError):
    """A folder that is no model, or none that is loaded. ``str(error)`` is one sentence for its owner."""


def check_folder(folder: Path, architectures: frozenset[str] = ARCHITECTURES) -> dict[str, Any]:
    """The folder's ``config.json``, if the folder is safe to load.

    Raises UnsafeFolder for a folder that is missing, holds files that could run code, asks for code of its own
    (``auto_map``), has no safetensors weights or quantised ones, holds adapters alone, or is of an architecture that
    is not on the list.
    """
    if not folder.is_dir():
        raise UnsafeFolder(f"There is no model folder {folder}.")
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _CODE_SUFFIXES and path != folder / _LEFT_ALONE:
            raise UnsafeFolder(f"The model folder holds {path.name}: only safetensors and JSON are loaded.")
        if path.suffix == ".json":
            _check_json(path)
    if (folder / "adapter_config.json").exists():
        raise UnsafeFolder(
            f"The folder {folder} holds adapters and no whole model; merge them into their base model first."
        )
    config = read_json(folder / "config.json")
    architecture = config.get("model_type")
    if architecture not in architectures:
        known = ", ".join(sorted(architectures))
        raise UnsafeFolder(f"The architecture {architecture!r} is not supported; supported are {known}.")
    if config.get("quantization_config"):
        raise UnsafeFolder("This model is stored quantised and cannot be trained on; choose its unquantised form.")
    if not list(folder.glob("*.safetensors")):
        raise UnsafeFolder(f"The model folder {folder} holds no safetensors weights.")
    return config


def _check_json(path: Path) -> None:
    if path.name.endswith(("config.json", "tokenizer.json")) and _mentions(_json(path), "auto_map"):
        raise UnsafeFolder(f"{path.name} asks to run code of its own (auto_map): this is refused.")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a model folder. Raises UnsafeFolder when there is none."""
    value = _json(path)
    if not isinstance(value, dict):
        raise UnsafeFolder(f"{path.name} of the model folder is not a JSON object.")
    return value


def _json(path: Path) -> Any:
    """Any JSON value: sentence encoders come with lists of what they were trained on, which nothing here reads."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UnsafeFolder(f"The model folder has no {path.name}.") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise UnsafeFolder(f"{path.name} of the model folder is not valid JSON.") from error


def _mentions(value: Any, key: str) -> bool:
    """Whether any object outside a tokenizer's vocabulary has the key, at any depth (without recursion)."""
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if isinstance(current, dict):
            if key in current:
                return True
            waiting.extend(inner for name, inner in current.items() if name not in {"vocab", "merges"})
        elif isinstance(current, list):
            waiting.extend(current)
    return False
