"""How different the completions of one prompt are, and how a policy's completions look."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Drawing:
    """The completions that were drawn for one prompt: texts, tokens, and whether each ended by itself."""

    texts: tuple[str, ...]
    tokens: tuple[int, ...]
    ended: tuple[bool, ...]


def diversity(drawings: Sequence[Drawing]) -> dict[str, Any]:
    """Figures of drawn completions; None where there is nothing to count.

    `distinct_1`, `distinct_2`: different words and word pairs over all of them (Li et al. 2016, arXiv:1510.03055);
    they fall with the amount of text, so compare equal amounts. `self_similarity`: mean Jaccard overlap of the word
    pairs of two completions of one prompt; 1 says that they are the same. `repeated`: share of completions that
    another of the same prompt equals. `unfinished`: share that met the length limit. `empty`: share without a word.
    """
    texts = [text for drawing in drawings for text in drawing.texts]
    words = [text.split() for text in texts]
    similar = [
        jaccard(one.split(), other.split()) for drawing in drawings for one, other in combinations(drawing.texts, 2)
    ]
    several = [drawing for drawing in drawings if len(drawing.texts) > 1]
    repeated = [drawing.texts.count(text) > 1 for drawing in several for text in drawing.texts]
    return {
        "prompts": len(drawings),
        "completions": len(texts),
        "distinct_1": distinct(words, 1),
        "distinct_2": distinct(words, 2),
        "self_similarity": _mean(similar),
        "repeated": _mean(repeated),
        "mean_tokens": _mean([count for drawing in drawings for count in drawing.tokens]),
        "unfinished": _mean([not ended for drawing in drawings for ended in drawing.ended]),
        "empty": _mean([not one for one in words]),
    }


def distinct(texts: Sequence[Sequence[str]], size: int) -> float | None:
    """Different n-grams over all n-grams; None where no text is that long."""
    grams = [gram for words in texts for gram in zip(*(words[start:] for start in range(size)), strict=False)]
    return len(set(grams)) / len(grams) if grams else None


def jaccard(one: Sequence[str], other: Sequence[str]) -> float:
    """Overlap of the word pairs of two texts, of their words where one is shorter; 1 for two empty texts."""
    size = 2 if min(len(one), len(other)) > 1 else 1
    first, second = (set(zip(*(text[start:] for start in range(size)), strict=False)) for text in (one, other))
    return len(first & second) / len(first | second) if first | second else 1.0


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
