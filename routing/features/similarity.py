"""How alike two completions are, without a model. Every function is symmetric in its two texts and returns 0…1."""

from __future__ import annotations

import re
from collections.abc import Sequence

ENTITY = re.compile(r"\b(?:[A-Z][\w'’-]*(?:\s+[A-Z][\w'’-]*)*|\d[\d.,:%/-]*\d|\d)")
SENTENCE_START = re.compile(r"(?:\A|[.!?:]\s+|\n\s*(?:[-*•#>]+\s*|\d+[.)]\s*)?)([A-Z][\w'’-]*)")
MOST_TOKENS = 1024


def longest_common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence, bit-parallel (Hyyrö 2004): O(|b|) operations on |a|-bit integers."""
    if not a or not b:
        return 0
    masks: dict[str, int] = {}
    for index, token in enumerate(a):
        masks[token] = masks.get(token, 0) | (1 << index)
    full = (1 << len(a)) - 1
    row = full
    for token in b:
        mask = masks.get(token)
        if mask is not None:
            matched = row & mask
            row = ((row + matched) | (row - matched)) & full
    return len(a) - row.bit_count()


def rouge_l(a: Sequence[str], b: Sequence[str]) -> float:
    """ROUGE-L F1: 2·LCS / (|a| + |b|) over tokens (Lin 2004, β = 1); 0 when either is empty. Reads 1,024 tokens."""
    a, b = a[:MOST_TOKENS], b[:MOST_TOKENS]
    if not a or not b:
        return 0.0
    return 2.0 * longest_common_subsequence(a, b) / (len(a) + len(b))


def entities_of(text: str) -> frozenset[str]:
    """Runs of capitalised words, and numbers. A word capitalised only because it starts a sentence is left out."""
    starts = set(SENTENCE_START.findall(text))
    found = (match.strip() for match in ENTITY.findall(text))
    return frozenset(entity for entity in found if entity not in starts)


def overlap(a: frozenset[str], b: frozenset[str]) -> float:
    """|a ∩ b| / |a ∪ b|, with the union over both sides; 0 when both are empty."""
    union = len(a | b)
    return len(a & b) / union if union else 0.0


def length_adjusted(similarity: float, length_a: int, length_b: int) -> float:
    """similarity · shorter / longer, after the length penalty of BERTScore's adjusted form; 0 when one is empty."""
    longer = max(length_a, length_b)
    return similarity * min(length_a, length_b) / longer if longer else 0.0
