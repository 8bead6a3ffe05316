"""The files of a dataset version as the engine wants them."""

from __future__ import annotations

from typing import Any

from feedback.exceptions import WrongState
from feedback.models import DatasetVersion
from feedback.services.datasets import folder_of

SPLITS = ("train", "validation", "test")
SHAPES = ("preference-conversational", "preference")  # messages first: they keep who said what
FORMATS = ("parquet", "jsonl")


def preference_files(version: DatasetVersion, held_out: DatasetVersion | None = None) -> dict[str, list[str]]:
    """Absolute paths of a version's preference files by split; with ``held_out``, its test split replaces the own one.

    Raises WrongState when there is nothing to train on, or nothing held out where that was asked for.
    """
    found = _by_split(version, "train")
    if held_out is not None:
        found["test"] = _by_split(held_out, "test")["test"]
    if not found["test"] and held_out is not None:
        raise WrongState("The held-out version has no preferences in its test split.")
    if not found["train"]:
        raise WrongState(
            "This dataset version has no preferences to train on; freeze one in the shape preference with at least "
            "one pair in its train split."
        )
    return found


def _by_split(version: DatasetVersion, needed: str) -> dict[str, list[str]]:
    files = [file for file in version.manifest.get("files", []) if file.get("split") in SPLITS]
    folder, kind = folder_of(version), _one_kind(files, needed)
    return {split: [str(folder / file["path"]) for file in kind if file["split"] == split] for split in SPLITS}


def _one_kind(files: list[dict[str, Any]], needed: str) -> list[dict[str, Any]]:
    """The files of one shape in one format: a version may hold the same rows several times."""
    for shape in SHAPES:
        for file_format in FORMATS:
            kind = [file for file in files if (file.get("shape"), file.get("format")) == (shape, file_format)]
            if any(file["split"] == needed and file["rows"] for file in kind):
                return kind
    return []
