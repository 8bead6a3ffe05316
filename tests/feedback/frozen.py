"""Reading what a dataset version froze."""

from __future__ import annotations

import json
from typing import Any

from feedback.models import DatasetVersion
from feedback.services import datasets


def rows_of(version: DatasetVersion, shape: str) -> list[dict[str, Any]]:
    """The rows of one shape, from its JSON lines."""
    found = []
    for file in datasets.files_of(version):
        if file.shape == shape and file.split and file.path.endswith(".jsonl"):
            text = (datasets.folder_of(version) / file.path).read_text()
            found += [json.loads(line) for line in text.splitlines()]
    return found
