"""Log-probabilities of the reference policy: computed once per sequence, found again by content."""

import hashlib
import os
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from training.engine.batches import fill
from training.engine.files import fsync_path
from training.engine.forward import Precision, run_model
from training.engine.memory import within_memory
from training.engine.pack import Path as AttentionPath
from training.engine.pack import make_batch
from training.engine.tokens import TokenGroup

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Values = dict[bytes, float]


def sequence_key(weights: str, precision: Precision, prompt: Sequence[int], completion: Sequence[int]) -> bytes:
    """Key of one sequence: SHA-256 over the model's weights, the precision, and the token ids with their boundary."""
    head = f"{weights} {precision} {len(prompt)} ".encode()
    return hashlib.sha256(head + array("q", (*prompt, *completion)).tobytes()).digest()


def group_keys(groups: Iterable[TokenGroup], weights: str, precision: Precision) -> list[tuple[bytes, ...]]:
    """Keys of each group's completions."""
    return [
        tuple(sequence_key(weights, precision, group.prompt, completion) for completion in group.completions)
        for group in groups
    ]


def load_values(path: Path) -> Values:
    """Values of one stored file; nothing where it is missing or unreadable (they are then computed again)."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = load_file(path)
        keys, logps = arrays["keys"], arrays["logps"]
    except (OSError, SafetensorError, KeyError):
        return {}
    return {bytes(key): float(value) for key, value in zip(keys, logps, strict=True)}


def store_values(path: Path, values: Mapping[bytes, float]) -> None:
    """Write values so that the file appears whole. Float32, as they were computed."""
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    keys = np.frombuffer(b"".join(values), dtype=np.uint8).reshape(-1, 32)
    save_file({"keys": keys.copy(), "logps": np.array(list(values.values()), dtype=np.float32)}, temporary)
    fsync_path(temporary)
    os.replace(temporary, path)


class ReferenceCache:
    """A folder of values shared by runs: one sub-folder per model, one file per run that added any."""

    def __init__(self, folder: Path, weights: str) -> None:
        self._folder = folder / weights[:32]

    def load(self) -> Values:
        """All values of this model."""
        values: Values = {}
        for path in sorted(self._folder.glob("*.safetensors")):
            values.update(load_values(path))
        return values

    def add(self, values: Mapping[bytes, float]) -> None:
        """Store new values under a name of their content, so that concurrent runs do not collide."""
        if values:
            name = hashlib.sha256(b"".join(sorted(values))).hexdigest()
            store_values(self._folder / f"{name}.safetensors", values)


def compute_values(
    model: "PreTrainedModel",
    groups: Sequence[TokenGroup],
    keys: Sequence[tuple[bytes, ...]],
    *,
    path: AttentionPath,
    budget: int,
    precision: Precision,
    after_batch: Callable[[int], None],
) -> Values:
    """Reference log-probabilities of the groups, by key. `after_batch` hears the number of groups done so far."""

    def logps(indices: list[int]) -> list[float]:
        with torch.inference_mode():
            found = run_model(model, make_batch([groups[index] for index in indices], path, model.device), precision)
        assert found.logps is not None
        return list(found.logps.tolist())

    values: Values = {}
    done = 0
    batches = fill(range(len(groups)), groups, budget, padded=path == "padded")
    for indices, found in within_memory(batches, groups, logps):
        values.update(zip((key for index in indices for key in keys[index]), found, strict=True))
        done += len(indices)
        after_batch(done)
    return values
