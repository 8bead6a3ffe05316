"""Saved state of a run: whole, verified and of this run, or not loaded at all."""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from training.engine.files import file_list, fsync_path, replace_json, sha256_file

_MANIFEST = "manifest.json"
_STATE = "state.json"
KEPT = 2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Named tensors by part (weights, optimizer, rng) and a JSON state (step, cursor, schedule, counters)."""

    step: int
    parts: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]


@dataclass(slots=True)
class Found:
    """The newest good checkpoint, if any, and one sentence for each that was passed over."""

    checkpoint: Checkpoint | None = None
    refused: list[str] = field(default_factory=list)


def save(root: Path, checkpoint: Checkpoint, fingerprint: str) -> Path:
    """Write `root/step-000050` so that it appears whole: temporary folder, fsync, manifest, rename. Keeps the last 2.

    `fingerprint` is the hash of all that decides the weights (`RunConfig.fingerprint`).
    """
    from safetensors.torch import save_file

    root.mkdir(parents=True, exist_ok=True)
    final = root / f"step-{checkpoint.step:06d}"
    temporary = root / f".{final.name}.{os.getpid()}.tmp"
    temporary.mkdir()
    for part, tensors in checkpoint.parts.items():
        save_file(
            {name: tensor.detach().contiguous() for name, tensor in tensors.items()}, temporary / f"{part}.safetensors"
        )
    replace_json(temporary / _STATE, {"step": checkpoint.step, **checkpoint.state})
    files = file_list(temporary, temporary)
    for entry in files:
        fsync_path(temporary / entry["path"])
    replace_json(temporary / _MANIFEST, {"schema": 1, "fingerprint": fingerprint, "files": files})
    publish(temporary, final)
    _prune(root)
    return final


def publish(temporary: Path, final: Path) -> None:
    """Make a finished folder appear under its name at once, in place of an older one."""
    for path in temporary.rglob("*"):
        fsync_path(path)
    fsync_path(temporary)
    if final.exists():
        old = final.with_name(f".{final.name}.{os.getpid()}.old")
        os.replace(final, old)
        os.replace(temporary, final)
        shutil.rmtree(old)
    else:
        os.replace(temporary, final)
    fsync_path(final.parent)


def find_latest(root: Path, fingerprint: str) -> Found:
    """The newest checkpoint that is whole and of this run; each refused one is named with the reason."""
    found = Found()
    for folder in sorted(root.glob("step-*"), reverse=True):
        fault = _fault(folder, fingerprint)
        if fault is None:
            found.checkpoint = _load(folder)
            return found
        found.refused.append(f"Checkpoint {folder.name} is not used: {fault}.")
    return found


def clear_leftovers(root: Path) -> None:
    """Remove what an interrupted save left behind."""
    for pattern in (".*.tmp", ".*.old"):
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _fault(folder: Path, fingerprint: str) -> str | None:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        files = {entry["path"]: (entry["sha256"], entry["bytes"]) for entry in manifest["files"]}
        its_fingerprint = manifest["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        return "its manifest is missing or torn"
    if its_fingerprint != fingerprint:
        return "it was made with other settings, data or starting weights"
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {_MANIFEST}
    if present != set(files):
        return "its files are not those of its manifest"
    for name, (digest, size) in files.items():
        if (folder / name).stat().st_size != size or sha256_file(folder / name) != digest:
            return f"{name} is torn"
    return None


def _load(folder: Path) -> Checkpoint:
    from safetensors.torch import load_file

    parts = {path.stem: load_file(path) for path in folder.glob("*.safetensors")}
    state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    return Checkpoint(step=state["step"], parts=parts, state=state)


def _prune(root: Path) -> None:
    for folder in sorted(root.glob("step-*"))[:-KEPT]:
        shutil.rmtree(folder)
