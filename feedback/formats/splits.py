"""Which split a prompt belongs to: by its hash, so that one prompt is never in two splits, in no version."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Literal

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def prompt_hash(prompt: Sequence[Mapping[str, str]]) -> str:
    """SHA-256 (64 hex digits) of a prompt's messages, each as role and content; other keys do not count.

    White space at the ends of a content and its Unicode code points count as they are: equal means equal text.
    """
    canonical = [[message["role"], message["content"]] for message in prompt]
    return sha256(json.dumps(canonical, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def split_of(prompt_id: str, fractions: Sequence[float] = (0.9, 0.05, 0.05), seed: int = 0) -> Split:
    """``train``, ``validation`` or ``test`` for a prompt hash, by ``fractions`` of the hash space.

    ``u = SHA-256(seed ":" prompt_id) / 2^64`` (its first 8 bytes) is compared with the cumulated fractions. Raising
    the first fraction only ever moves prompts towards ``train``. Raises ValueError unless there are three fractions,
    none negative, that sum to 1 (±1e-9).
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        raise ValueError("fractions needs three numbers of 0 or more that sum to 1")
    u = int.from_bytes(sha256(f"{seed}:{prompt_id}".encode()).digest()[:8], "big") / 2**64
    if u < fractions[0]:
        return "train"
    # without a test fraction the rounding of a sum must not send anything there
    return "validation" if u < fractions[0] + fractions[1] or fractions[2] == 0 else "test"
