"""The files of a dataset version as the engine wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from feedback.exceptions import WrongState
from feedback.models import DatasetVersion
from feedback.services.datasets import folder_of

from .objectives.catalogue import Objective

SPLITS = ("train", "validation", "test")
FORMATS = ("parquet", "jsonl")


def data_files(version: DatasetVersion, objective: Objective, held_out: DatasetVersion | None = None) -> dict[str, Any]:
    """The shape that an objective reads of a version, and absolute paths of its files by split; with ``held_out``, its
    test split replaces the own one.

    Raises WrongState when the version has nothing that the objective learns from, or the other nothing held out.
    """
    shape = next((name for name in objective.consumes if _files(version, name, "train")), None)
    if shape is None:
        raise WrongState(f"This dataset version has {objective.lacking}, with at least one row in its train split.")
    found = _paths(version, shape, "train")
    if held_out is not None:
        alike = [name for name, reader in objective.consumes.items() if reader == objective.consumes[shape]]
        other = next((name for name in (shape, *alike) if _files(held_out, name, "test")), None)
        if other is None:
            raise WrongState(f"The held-out version has no rows of the shape {shape} in its test split.")
        found["test"] = _paths(held_out, other, "test")["test"]
    beside = _beside(version, objective, held_out)
    return {"shape": shape, **found} | ({"beside": beside} if beside else {})


def _beside(version: DatasetVersion, objective: Objective, held_out: DatasetVersion | None) -> dict[str, Any] | None:
    """The shape that an objective reads as well, with its files. Raises WrongState where it cannot do without."""
    shape = next((name for name in objective.beside if _files(version, name, "train")), None)
    if shape is None:
        if objective.lacking_beside:
            raise WrongState(f"This dataset version has {objective.lacking_beside}.")
        return None
    found = _paths(version, shape, "train")
    if held_out is not None:
        found["test"] = _paths(held_out, shape, "test")["test"]
    return {"shape": shape, **found}


def split_files(version: DatasetVersion, shape: str, split: str) -> list[Path]:
    """Where the files of one shape and split lie; none when that split has no rows of the shape."""
    return [Path(path) for path in _paths(version, shape, split)[split]] if _files(version, shape, split) else []


def _paths(version: DatasetVersion, shape: str, needed: str) -> dict[str, list[str]]:
    folder, files = folder_of(version), _files(version, shape, needed)
    return {split: [str(folder / file["path"]) for file in files if file["split"] == split] for split in SPLITS}


def _files(version: DatasetVersion, shape: str, needed: str) -> list[dict[str, Any]]:
    """The files of one shape in one format that has rows in the split that is needed: a version may hold the same rows
    in several formats."""
    for file_format in FORMATS:
        files = [
            file
            for file in version.manifest.get("files", [])
            if (file.get("shape"), file.get("format")) == (shape, file_format) and file.get("split") in SPLITS
        ]
        if any(file["split"] == needed and file["rows"] for file in files):
            return files
    return []
