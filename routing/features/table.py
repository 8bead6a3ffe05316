"""Instances → named feature values, and from those the tags that a preference mix counts.

Bins are fixed once on the whole pool and travel with the tags: recomputed inside a routed subset, a percentile says
only how large the subset is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from routing.features.descriptive import FLAG_NAMES, SUBJECT_NAMES, flags_of, subjects_of
from routing.features.embedding import cosine, format_columns, hashed_embedding
from routing.features.similarity import entities_of, length_adjusted, overlap, rouge_l
from routing.features.texts import PairText, tokens_of

LENGTH_NAMES = ("prompt_length", "shorter_length", "longer_length", "length_gap")
SIMILARITY_NAMES = (
    "rouge_l",
    "entity_overlap",
    "cosine_similarity",
    "length_adjusted_cosine",
    "length_adjusted_rouge_l",
)
CONTINUOUS_NAMES = LENGTH_NAMES + SIMILARITY_NAMES
SIGNED_NAME = "signed_length_gap"
BIN_NAMES = ("low", "middle", "high")
ENCODED_NAMES = ("bert_score", "length_adjusted_bert_score")
"""What a sentence encoder adds; a table made without one does not have them."""
PAIR_NAMES = (*CONTINUOUS_NAMES, SIGNED_NAME, *FLAG_NAMES, *SUBJECT_NAMES)
FORMAT_VERSION = "features-1"
"""Raise it whenever the same texts get other values: what is kept under an older one is then described anew."""
EMBEDDED, SEED = 256, 0


class Encoder(Protocol):
    """A sentence encoder (:class:`routing.features.encoder.SentenceEncoder`)."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of unit length [N, width]."""
        ...

    def compare(
        self, pairs: Sequence[tuple[str, str]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Vectors of the first and of the second texts [N, width], and BERTScore F1 [N]."""
        ...


@dataclass(frozen=True)
class FeatureTable:
    """Named values per instance: `values` is float32 [N, F], column f named `names[f]`.

    Lengths are in tokens, similarities in 0…1, flags and subjects 0 or 1. `signed_length_gap` = (|a|−|b|) / (|a|+|b|)
    is the only column that changes when the completions change sides.
    """

    names: tuple[str, ...]
    values: NDArray[np.float32]

    def column(self, name: str) -> NDArray[np.float32]:
        """One column [N]. Raises KeyError for a name that the table does not have: no column is silently dead."""
        if name not in self.names:
            raise KeyError(f"No feature is called {name!r}.")
        return np.asarray(self.values[:, self.names.index(name)], dtype=np.float32)

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits over names and values."""
        digest = hashlib.sha256(repr(self.names).encode())
        digest.update(np.ascontiguousarray(self.values).tobytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class FeatureSet:
    """What the pool looks like: the table, the embeddings' difference φ(a) − φ(b) [N, d], and their recipe."""

    table: FeatureTable
    difference: NDArray[np.float32]
    version: str


@dataclass(frozen=True)
class TagBins:
    """Bin edges per continuous feature, ascending, fixed on the pool. A value x falls in bin #{edges e : x ≥ e}."""

    edges: tuple[tuple[str, tuple[float, ...]], ...]

    @property
    def version(self) -> str:
        """16 hexadecimal digits over names and edges; stored with every mix score, as counts depend on it."""
        return hashlib.sha256(repr((FORMAT_VERSION, self.edges)).encode()).hexdigest()[:16]


def recipe(dim: int = EMBEDDED, seed: int = SEED, encoder: str = "") -> str:
    """The name of how texts are described, with its version: what was described under another name is not the same.

    `encoder` names a sentence encoder and its weights; without one, embeddings are hashed.
    """
    return f"{FORMAT_VERSION}-encoder-{encoder}" if encoder else f"{FORMAT_VERSION}-hashed-{dim}-{seed}"


def describe_pairs(
    pairs: Sequence[PairText],
    dim: int = EMBEDDED,
    seed: int = SEED,
    *,
    encoder: Encoder | None = None,
    encoder_name: str = "",
) -> FeatureSet:
    """All features of a pool, computed once. Deterministic across processes; about 0.6 ms a pair without an encoder.

    With one, embeddings are its vectors followed by the eight columns of length and format, and BERTScore is a column,
    also adjusted by lengths.
    """
    a, b = [pair.a for pair in pairs], [pair.b for pair in pairs]
    scores: NDArray[np.float32] | None = None
    if encoder is None:
        phi_a, phi_b = hashed_embedding(a, dim, seed), hashed_embedding(b, dim, seed)
    else:
        first, second, scores = encoder.compare(list(zip(a, b, strict=True)))
        phi_a, phi_b = _with_format(first, a), _with_format(second, b)
    similar = cosine(phi_a, phi_b)
    rows = [_values_of(pair, float(similar[index])) for index, pair in enumerate(pairs)]
    values = np.array(rows, dtype=np.float32).reshape(len(pairs), len(PAIR_NAMES))
    table = FeatureTable(PAIR_NAMES, values)
    if scores is not None:
        table = _with_bert_scores(table, scores)
    return FeatureSet(table, phi_a - phi_b, recipe(dim, seed, encoder_name))


def embeddings_of(texts: Sequence[str], dim: int, seed: int, encoder: Encoder | None) -> NDArray[np.float32]:
    """φ [N, d], by the encoder or hashed; the last eight columns are length and format either way."""
    if encoder is None:
        return hashed_embedding(texts, dim, seed)
    return _with_format(encoder.embed(texts), texts)


def _with_format(vectors: NDArray[np.float32], texts: Sequence[str]) -> NDArray[np.float32]:
    return np.concatenate([vectors, format_columns(texts)], axis=1)


def _with_bert_scores(table: FeatureTable, scores: NDArray[np.float32]) -> FeatureTable:
    shorter, longer = table.column("shorter_length"), table.column("longer_length")
    adjusted = [length_adjusted(*row) for row in zip(scores.tolist(), shorter.tolist(), longer.tolist(), strict=True)]
    columns = np.column_stack([scores, np.array(adjusted, dtype=np.float32)]).astype(np.float32)
    return FeatureTable((*table.names, *ENCODED_NAMES), np.concatenate([table.values, columns], axis=1))


def continuous(names: Sequence[str]) -> tuple[str, ...]:
    """Which of a table's columns are binned: lengths and similarities, in a fixed order."""
    return tuple(name for name in (*CONTINUOUS_NAMES, *ENCODED_NAMES) if name in names)


def yes_or_no(names: Sequence[str]) -> tuple[str, ...]:
    """Which of a table's columns are 0 or 1, in its order."""
    return tuple(name for name in names if name not in (*CONTINUOUS_NAMES, *ENCODED_NAMES, SIGNED_NAME))


def _values_of(pair: PairText, similar: float) -> list[float]:
    prompt, a, b = tokens_of(pair.prompt), tokens_of(pair.a), tokens_of(pair.b)
    size_a, size_b = len(a), len(b)
    rouge = rouge_l(a, b)
    return [
        len(prompt),
        min(size_a, size_b),
        max(size_a, size_b),
        abs(size_a - size_b),
        rouge,
        overlap(entities_of(pair.a[:8000]), entities_of(pair.b[:8000])),
        similar,
        length_adjusted(similar, size_a, size_b),
        length_adjusted(rouge, size_a, size_b),
        (size_a - size_b) / max(size_a + size_b, 1),
        *map(float, flags_of(pair, prompt)),
        *map(float, subjects_of(prompt)),
    ]


def fit_bins(pool: FeatureTable) -> TagBins:
    """Edges on the full pool: lengths at the 1/3 and 2/3 quantiles (equal bins of the percentile rank), similarities at
    1/3 and 2/3 of their range on the pool. Equal edges collapse, so that a constant feature has one bin, not dead ones.
    """
    edges: list[tuple[str, tuple[float, ...]]] = []
    for name in continuous(pool.names):
        values = pool.column(name).astype(np.float64)
        if values.size == 0:
            edges.append((name, ()))
            continue
        if name in LENGTH_NAMES:
            marks = np.quantile(values, [1 / 3, 2 / 3])
        else:
            low, high = float(values.min()), float(values.max())
            marks = np.array([low + (high - low) * third for third in (1 / 3, 2 / 3)])
        edges.append((name, _without_empty_bins(values, marks)))
    return TagBins(tuple(edges))


def _without_empty_bins(values: NDArray[np.float64], marks: NDArray[np.float64]) -> tuple[float, ...]:
    used = np.unique(np.searchsorted(marks, values, side="right"))
    return tuple(float(marks[number - 1]) for number in used[1:])


def tag_names(bins: TagBins, names: Sequence[str]) -> tuple[str, ...]:
    """Names of the tag columns: one per bin of each continuous feature, then every flag and subject of the table."""
    binned = [f"{name}={label}" for name, marks in bins.edges for label in _labels(len(marks) + 1)]
    return (*binned, *yes_or_no(names))


def _labels(count: int) -> tuple[str, ...]:
    return {1: ("any",), 2: ("low", "high")}.get(count, BIN_NAMES)


def tag_matrix(table: FeatureTable, bins: TagBins) -> NDArray[np.uint8]:
    """uint8 [N, F] of 0 and 1, columns as in `tag_names`; exactly one bin per instance and continuous feature."""
    columns: list[NDArray[np.uint8]] = []
    for name, marks in bins.edges:
        place = np.searchsorted(np.array(marks), table.column(name).astype(np.float64), side="right")
        columns += [(place == number).astype(np.uint8) for number in range(len(marks) + 1)]
    columns += [(table.column(name) > 0.5).astype(np.uint8) for name in yes_or_no(table.names)]
    return np.column_stack(columns) if columns else np.zeros((len(table.values), 0), dtype=np.uint8)
