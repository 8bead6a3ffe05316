"""Frozen versions of planted preferences, the quick base model, and jobs run as a worker runs them."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.environment import VAR

QUICK: dict[str, Any] = {
    "epochs": 2,
    "max_length": 256,
    "tokens_per_batch": 512,
    "learning_rate": 1e-3,
    "checkpoint_every": 10,
    "evaluate_every": 10,
}


@functools.cache
def quick_base() -> Path:
    """The small base model in its quick size, made once per test process by its own script."""
    folder = Path(VAR) / "quick-base"
    command = [sys.executable, "-m", "training.base_model", str(folder), "--quick"]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return folder


def install_quick_base(models: Path) -> str:
    """Put the quick base model among an installation's models; returns its key."""
    models.mkdir(parents=True, exist_ok=True)
    if not (models / "quick").exists():
        shutil.copytree(quick_base(), models / "quick")
    return "folder:quick"


def freeze_planted(task: Any, owner: Any, *, train: int = 60, test: int = 20, mix: Any = None) -> Any:
    """A ready version of planted preferences, its files written as freezing writes them."""
    from training.base_model import preference_pairs

    rows = preference_pairs(train + test)
    return freeze_rows(task, owner, {"train": rows[:train], "test": rows[train:]}, mix=mix)


def freeze_rows(task: Any, owner: Any, splits: dict[str, list[dict[str, Any]]], *, mix: Any = None) -> Any:
    from django.utils import timezone

    from feedback.models import DatasetVersion
    from feedback.services.datasets import folder_of

    version = DatasetVersion(
        task=task,
        number=task.dataset_versions.count() + 1,
        spec={},
        mix=mix,
        state="ready",
        frozen_at=timezone.now(),
        rows=sum(len(rows) for rows in splits.values()),
        created_by=owner,
    )
    folder = folder_of(version)
    files = [_write(folder, split, rows) for split, rows in splits.items() if rows]
    version.manifest, version.sha256 = {"files": files}, hashlib.sha256(json.dumps(files).encode()).hexdigest()
    version.save()
    return version


def _write(folder: Path, split: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    path = folder / "preference-conversational" / "jsonl" / "data" / f"{split}-00000-of-00001.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(data)
    return {
        "path": path.relative_to(folder).as_posix(),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "rows": len(rows),
        "split": split,
        "shape": "preference-conversational",
        "format": "jsonl",
    }
