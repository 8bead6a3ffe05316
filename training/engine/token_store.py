"""Token ids of rows, kept by content: the same texts and the same tokenizer are never encoded twice."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np

from training.engine.files import fsync_path
from training.engine.records import Group


@dataclass(frozen=True, slots=True)
class Encoded:
    """A group as token ids; `moved`: the boundary between prompt and completion is not where it was in text."""

    prompt: tuple[int, ...]
    completions: tuple[tuple[int, ...], ...]
    moved: bool


@dataclass(frozen=True, slots=True)
class TokenStore:
    """A folder shared by runs, with one file for each list of texts and tokenizer (`tokenizer` is its hash)."""

    folder: Path
    tokenizer: str

    def load(self, groups: Sequence[Group]) -> list[Encoded] | None:
        """The groups' tokens, or None where they are not stored, or not readable (they are then encoded again)."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            arrays = load_file(self._path(groups))
            ids, lengths, moved = (arrays[name].tolist() for name in ("ids", "lengths", "moved"))
        except (OSError, SafetensorError, KeyError):
            return None
        if len(moved) != len(groups) or sum(lengths) != len(ids):
            return None
        starts = [0, *accumulate(lengths)]
        parts = (tuple(ids[start:end]) for start, end in pairwise(starts))
        return [
            Encoded(next(parts), tuple(next(parts) for _ in group.completions), bool(flag))
            for group, flag in zip(groups, moved, strict=True)
        ]

    def save(self, groups: Sequence[Group], encoded: Sequence[Encoded]) -> None:
        """Store the groups' tokens so that the file appears whole."""
        from safetensors.numpy import save_file

        parts = [part for one in encoded for part in (one.prompt, *one.completions)]
        arrays: dict[str, np.ndarray[Any, Any]] = {
            "ids": np.array([token for part in parts for token in part], dtype=np.int32),
            "lengths": np.array([len(part) for part in parts], dtype=np.int32),
            "moved": np.array([one.moved for one in encoded], dtype=np.uint8),
        }
        path = self._path(groups)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        save_file(arrays, temporary)
        fsync_path(temporary)
        os.replace(temporary, path)

    def _path(self, groups: Sequence[Group]) -> Path:
        digest = hashlib.sha256(self.tokenizer.encode())
        for group in groups:
            digest.update(json.dumps([group.prompt, group.completions]).encode())
        return self.folder / f"{digest.hexdigest()}.safetensors"
