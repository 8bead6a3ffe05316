"""What a model's `config.json` says of its scores, read without the model."""

from typing import Any


def score_heads(raw: dict[str, Any]) -> int:
    """How many scores a reward model gives; 0 of a model that writes text."""
    if not any(str(name).endswith("ForSequenceClassification") for name in raw.get("architectures") or []):
        return 0
    return len(raw.get("id2label") or "ab")  # two labels are left unsaid


def heads_fault(found: int, wanted: int | None) -> str:
    """Why a base model of `found` score heads is none for a run of `wanted` (None where the data will say); empty where
    it is one."""
    if found in (0, wanted) or wanted is None:  # a model without scores gets its heads from the run
        return ""
    return f"This reward model has {found} heads and the run asks for {wanted}; choose another base model."
