"""Hashed embeddings: a text as signed counts of words and character n-grams, for when no encoder is installed.

Feature hashing (Weinberger et al. 2009) with our own 32-bit mixing, as Python's `hash` differs between processes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from routing.features.texts import tokens_of

FORMAT_DIMS = 8
MOST_EMBEDDED_CHARS = 3000
CHARS_PER_BATCH = 1_000_000
CHAR_GRAMS = (4,)
MULTIPLIER, SECOND_MULTIPLIER = np.uint32(0x7FEB352D), np.uint32(0x846CA68B)


def hashed_embedding(texts: Sequence[str], dim: int = 256, seed: int = 0) -> NDArray[np.float32]:
    """float32 [N, dim]: dim − 8 hashed columns of unit length per row, then 8 of length and format.

    Words, word pairs and character 4-grams are hashed with a sign, their counts damped by sign(c)·√|c|. The same
    texts, dim and seed give the same numbers in every process. An empty text is all zeros. Raises ValueError if dim <
    16.
    """
    if dim < 2 * FORMAT_DIMS:
        raise ValueError(f"An embedding needs at least {2 * FORMAT_DIMS} dimensions.")
    hashed = dim - FORMAT_DIMS
    out = np.zeros((len(texts), dim), dtype=np.float32)
    words = _WordHashes(seed)
    for rows in _batches(texts):
        part = [text[:MOST_EMBEDDED_CHARS] for text in texts[rows]]
        counts = _char_counts(part, hashed, seed) + _word_counts(part, hashed, words)
        damped = np.sign(counts) * np.sqrt(np.abs(counts))
        norms = np.linalg.norm(damped, axis=1, keepdims=True)
        out[rows, :hashed] = damped / np.maximum(norms, 1e-12)
    out[:, hashed:] = format_columns(texts)
    return out


def format_columns(texts: Sequence[str]) -> NDArray[np.float32]:
    """float32 [N, 8] of length and format, with which every embedding ends."""
    values = np.array([_format_values(text) for text in texts], dtype=np.float32)
    return values.reshape(len(texts), FORMAT_DIMS)


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine similarity per row of embeddings (their format columns are left out), clipped to 0…1."""
    worded = a.shape[1] - FORMAT_DIMS
    products = np.einsum("nd,nd->n", a[:, :worded], b[:, :worded])
    return np.asarray(np.clip(products, 0.0, 1.0), dtype=np.float32)


def _batches(texts: Sequence[str]) -> Iterator[slice]:
    start, chars = 0, 0
    for index, text in enumerate(texts):
        chars += min(len(text), MOST_EMBEDDED_CHARS)
        if chars >= CHARS_PER_BATCH:
            yield slice(start, index + 1)
            start, chars = index + 1, 0
    if start < len(texts):
        yield slice(start, len(texts))


def _mix(values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """A 32-bit finaliser: every input bit reaches the high bits, which choose the column, and the low one, the sign."""
    mixed = values ^ (values >> np.uint32(16))
    mixed *= MULTIPLIER
    mixed ^= mixed >> np.uint32(15)
    mixed *= SECOND_MULTIPLIER
    mixed ^= mixed >> np.uint32(16)
    return mixed


def _scatter(rows: NDArray[np.int64], hashes: NDArray[np.uint32], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Signed counts: the lowest bit of a hash is its sign, the rest chooses the column."""
    sign = (hashes & np.uint32(1)).astype(np.float64)
    sign *= 2.0
    sign -= 1.0
    column = ((hashes >> np.uint32(1)).astype(np.int64) * shape[1]) >> 31
    column += rows * shape[1]
    flat = np.bincount(column, weights=sign, minlength=shape[0] * shape[1])
    return np.asarray(flat.reshape(shape), dtype=np.float64)


def _char_counts(texts: Sequence[str], dim: int, seed: int) -> NDArray[np.float64]:
    """Character n-grams of all texts at once; a NUL between texts keeps n-grams from crossing."""
    lowered = [text.lower() for text in texts]
    codes = np.frombuffer("\x00".join(lowered).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    lengths = np.array([len(text) + 1 for text in lowered], dtype=np.int64)
    owner = np.repeat(np.arange(len(texts)), lengths)[: codes.size]
    total = np.zeros((len(texts), dim))
    for size in CHAR_GRAMS:
        if codes.size < size:
            continue
        gram = np.full(codes.size - size + 1, (seed + size) & 0xFFFFFFFF, dtype=np.uint32)
        inside = np.ones(gram.size, dtype=bool)
        for offset in range(size):
            window = codes[offset : offset + gram.size]
            gram *= np.uint32(1_000_003)
            gram += window
            inside &= window != 0
        total += _scatter(owner[: gram.size][inside], _mix(gram[inside]), (len(texts), dim))
    return total


class _WordHashes(dict[str, int]):
    """CRC-32 of a word with the seed, computed once per word."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._start = seed & 0xFFFFFFFF

    def __missing__(self, word: str) -> int:
        value = zlib.crc32(word.encode("utf-8", "surrogatepass"), self._start)
        self[word] = value
        return value


def _word_counts(texts: Sequence[str], dim: int, hashes: _WordHashes) -> NDArray[np.float64]:
    """Words (weight 2) and pairs of neighbouring words."""
    tokens = [tokens_of(text) for text in texts]
    lengths = np.array([len(words) for words in tokens], dtype=np.int64)
    owner = np.repeat(np.arange(len(texts)), lengths)
    flat = np.fromiter((hashes[word] for words in tokens for word in words), dtype=np.uint32, count=int(lengths.sum()))
    shape = (len(texts), dim)
    total = 2.0 * _scatter(owner, _mix(flat), shape)
    if flat.size > 1:
        same = owner[1:] == owner[:-1]
        pairs = flat[:-1] * np.uint32(31) + flat[1:] + np.uint32(0x9E3779B9)
        total += _scatter(owner[1:][same], _mix(pairs[same]), shape)
    return total


def _format_values(text: str) -> list[float]:
    """Log length, then lines, list marks, fences, bold, questions, exclamations, commas; all about 0…1."""
    size = len(text)
    if not size:
        return [0.0] * FORMAT_DIMS
    lines = text.count("\n")
    return [
        float(np.log1p(size)) / 10.0,
        min(lines / 40.0, 1.0),
        min((text.count("\n- ") + text.count("\n* ") + text.count("\n1")) / 10.0, 1.0),
        min(text.count("```") / 4.0, 1.0),
        min(text.count("**") / 10.0, 1.0),
        min(text.count("?") / 5.0, 1.0),
        min(text.count("!") / 5.0, 1.0),
        min(text.count(",") * 20.0 / size, 1.0),
    ]
