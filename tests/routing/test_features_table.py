from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routing.features.descriptive import FLAG_NAMES, SUBJECT_NAMES, flags_of, language_of, subjects_of
from routing.features.embedding import FORMAT_DIMS, cosine, hashed_embedding
from routing.features.similarity import entities_of, length_adjusted, longest_common_subsequence, overlap, rouge_l
from routing.features.table import (
    BIN_NAMES,
    CONTINUOUS_NAMES,
    LENGTH_NAMES,
    FeatureTable,
    TagBins,
    describe_pairs,
    fit_bins,
    tag_matrix,
    tag_names,
)
from routing.features.texts import PairText, tokens_of
from routing.features.wording import words_of

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=12)


def slow_lcs(a: list[str], b: list[str]) -> int:
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


@settings(max_examples=300, deadline=None)
@given(WORDS, WORDS)
def test_the_bit_parallel_subsequence_equals_dynamic_programming(a: list[str], b: list[str]) -> None:
    assert longest_common_subsequence(a, b) == slow_lcs(a, b)


def test_rouge_l_respects_order_and_is_not_rouge_1() -> None:
    forwards, backwards = ["the", "cat", "sat", "down"], ["down", "sat", "cat", "the"]
    assert rouge_l(forwards, forwards) == 1.0
    assert rouge_l(forwards, backwards) == pytest.approx(2 * 1 / 8)
    assert rouge_l(["police", "killed", "the", "gunman"], ["police", "kill", "the", "gunman"]) == pytest.approx(0.75)
    assert rouge_l([], forwards) == 0.0


def test_entity_overlap_divides_by_the_union_of_both_sides() -> None:
    a, b = frozenset({"Paris", "1789"}), frozenset({"Paris", "London", "Rome"})
    assert overlap(a, b) == overlap(b, a) == pytest.approx(1 / 4)
    assert overlap(frozenset(), frozenset()) == 0.0


def test_entities_are_names_and_numbers_and_not_sentence_starts() -> None:
    text = "The siege began in 1789. People in New York met Marie Curie at 10:30."
    assert entities_of(text) == {"1789", "New York", "Marie Curie", "10:30"}


def test_similarity_is_lowered_by_the_length_ratio() -> None:
    assert length_adjusted(0.8, 10, 40) == length_adjusted(0.8, 40, 10) == pytest.approx(0.2)
    assert length_adjusted(0.8, 0, 0) == 0.0


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What is the best way to learn to swim?", "english"),
        ("Was ist der beste Weg und wie lange dauert es?", "german"),
        ("Quelle est la meilleure façon pour apprendre le chant dans une école ?", "french"),
        ("¿Cuál es la mejor manera para aprender a nadar en el mar?", "spanish"),
        ("如何学习游泳？", "chinese"),
        ("どうやって泳ぎますか", "japanese"),
        ("Как научиться плавать?", "russian"),
        ("2 + 2 = 4", "unknown"),
        ("", "unknown"),
    ],
)
def test_languages_are_told_apart(text: str, language: str) -> None:
    assert language_of(text, tokens_of(text)) == language


def flags(prompt: str, a: str = "x", b: str = "y", turns: int = 1) -> set[str]:
    values = flags_of(PairText(prompt, a, b, turns), tokens_of(prompt))
    assert len(values) == len(FLAG_NAMES)
    return {name for name, value in zip(FLAG_NAMES, values, strict=True) if value}


def test_flags_are_raised_by_what_they_name() -> None:
    assert "code" in flags("def f(x):\n    return x")
    assert "format_constraint" in flags("Summarise in at most three sentences.")
    assert "mathematics_notation" in flags("Solve 3x = 4 and 2 + 2 = 5")
    assert "in_context_material" in flags("Summarise the following text: long ago")
    assert "role_play" in flags("Pretend you are a pirate")
    assert "sensitive" in flags("How do I build a bomb?")
    assert "multi_turn" in flags("Hi", turns=2)
    assert "one_refuses" in flags("Hi", a="I'm sorry, but I cannot help with that.")
    assert "both_refuse" in flags("Hi", a="I cannot do that.", b="As an AI language model, no.")
    assert "completion_code" in flags("Hi", a="```python\n1\n```")
    assert flags("Hello there, friend") == set()


def test_subjects_come_from_keywords_and_none_is_a_subject_too() -> None:
    def named(prompt: str) -> set[str]:
        return {name for name, on in zip(SUBJECT_NAMES, subjects_of(tokens_of(prompt)), strict=True) if on}

    assert named("Explain the theorem about triangles") == {"subject_mathematics"}
    assert {"subject_medicine", "subject_law"} <= named("Which symptoms can a patient take to court?")
    assert named("Well?") == {"subject_none"}
    assert len(SUBJECT_NAMES) >= 13


def test_an_embedding_is_the_same_in_another_process() -> None:
    code = (
        "from routing.features.embedding import hashed_embedding as h;"
        "print(h(['Hello wörld, 123', '日本'], 64, 3).astype('float64').sum(axis=1).tolist())"
    )
    outputs = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    here = hashed_embedding(["Hello wörld, 123", "日本"], 64, 3).astype("float64").sum(axis=1).tolist()
    assert outputs == {f"{here}\n"}


def test_an_embedding_does_not_depend_on_its_neighbours() -> None:
    texts = ["one text", "", "another text with more words", "x" * 5000, "\ud800", "İstanbul ẞ"]
    together = hashed_embedding(texts, 64)
    apart = np.concatenate([hashed_embedding([text], 64) for text in texts])
    assert np.allclose(together, apart)
    assert np.all(together[1] == 0)
    assert np.allclose(np.linalg.norm(together[[0, 2, 3], :-FORMAT_DIMS], axis=1), 1.0)


def test_texts_that_share_words_are_closer() -> None:
    phi = hashed_embedding(["the cat sat on the mat", "a cat sat on a mat", "quantum field theory lectures"], 256)
    near, far = cosine(phi[:1], phi[1:2])[0], cosine(phi[:1], phi[2:])[0]
    assert near > 0.4 > 0.2 > far


def test_an_embedding_needs_room_for_its_format_columns() -> None:
    with pytest.raises(ValueError, match="16"):
        hashed_embedding(["a"], 8)


PAIRS = [
    PairText("What is the capital of France?", "Paris.", "The capital of France is Paris, on the Seine."),
    PairText("Write a poem about the sea in four lines", "Waves\nroll\nand\nfall", "I'm sorry, I can't."),
    PairText("Solve 2 + 2 = x", "4", "It is 4, since 2 + 2 = 4."),
    PairText("Was ist das und wie ist es?", "", "Ein Ding."),
    PairText("", "", ""),
    PairText("Compare Java and Python code", "Java is typed. Python is not.", "Python is typed dynamically. Java is."),
]


def test_swapping_the_completions_changes_only_signed_columns() -> None:
    swapped = [PairText(pair.prompt, pair.b, pair.a, pair.turns) for pair in PAIRS]
    one, other = describe_pairs(PAIRS, 64), describe_pairs(swapped, 64)
    for name in one.table.names:
        sign = -1.0 if name == "signed_length_gap" else 1.0
        assert np.allclose(one.table.column(name), sign * other.table.column(name)), name
    assert np.allclose(one.difference, -other.difference)


def test_all_values_are_finite_even_for_empty_texts() -> None:
    described = describe_pairs(PAIRS, 64)
    assert np.isfinite(described.table.values).all()
    assert np.isfinite(described.difference).all()
    assert described.table.values.dtype == np.float32


def test_an_unknown_column_is_an_error_and_not_zeros() -> None:
    with pytest.raises(KeyError, match="complexity"):
        describe_pairs(PAIRS, 64).table.column("complexity")


def table_of(lengths: list[float]) -> FeatureTable:
    names = (*CONTINUOUS_NAMES, "code")
    values = np.zeros((len(lengths), len(names)), dtype=np.float32)
    values[:, 0] = lengths
    values[:, names.index("rouge_l")] = np.linspace(0, 1, len(lengths))
    return FeatureTable(names, values)


def test_length_bins_are_thirds_of_the_pool() -> None:
    pool = table_of([float(value) for value in range(1, 10)])
    bins = fit_bins(pool)
    tags = tag_matrix(pool, bins)
    names = tag_names(bins, pool.names)
    counts = {name: int(tags[:, column].sum()) for column, name in enumerate(names)}
    assert [counts[f"prompt_length={part}"] for part in ("low", "middle", "high")] == [3, 3, 3]


def test_bins_fixed_on_the_pool_do_not_move_with_a_subset() -> None:
    pool = table_of([float(value) for value in range(1, 31)])
    bins = fit_bins(pool)
    whole = tag_matrix(pool, bins)
    part = tag_matrix(FeatureTable(pool.names, pool.values[20:]), bins)
    assert np.array_equal(part, whole[20:])
    assert part[:, 2].all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 1000, width=32), min_size=1, max_size=40))
def test_every_instance_is_in_exactly_one_bin_and_no_bin_is_dead(lengths: list[float]) -> None:
    pool = table_of(lengths)
    bins = fit_bins(pool)
    tags, names = tag_matrix(pool, bins), tag_names(bins, pool.names)
    assert tags.shape == (len(lengths), len(names))
    assert tags.dtype == np.uint8
    for feature in CONTINUOUS_NAMES:
        columns = [index for index, name in enumerate(names) if name.startswith(f"{feature}=")]
        assert (tags[:, columns].sum(axis=1) == 1).all()
        if feature in LENGTH_NAMES:
            assert (tags[:, columns].sum(axis=0) > 0).all()


def test_a_value_on_an_edge_is_counted_once() -> None:
    pool = table_of([1.0, 2.0, 3.0])
    bins = TagBins((("prompt_length", (2.0, 3.0)), *((name, ()) for name in CONTINUOUS_NAMES[1:])))
    assert tag_matrix(pool, bins)[:, :3].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_the_version_of_bins_follows_their_edges() -> None:
    one, other = fit_bins(table_of([1.0, 2.0, 3.0])), fit_bins(table_of([1.0, 2.0, 4.0]))
    assert one.version == fit_bins(table_of([1.0, 2.0, 3.0])).version != other.version


def test_every_tag_has_words_of_its_own() -> None:
    names = [f"{name}={level}" for name in CONTINUOUS_NAMES for level in BIN_NAMES]
    names += [*FLAG_NAMES, *SUBJECT_NAMES]
    words = [words_of(name) for name in names]
    assert len(set(words)) == len(words)
    assert all("_" not in one and "=" not in one and "rouge" not in one for one in words)
    assert words_of("my_column=x") == "my column: x"


def test_an_empty_pool_has_tags_of_no_rows() -> None:
    described = describe_pairs([], 64)
    bins = fit_bins(described.table)
    assert tag_matrix(described.table, bins).shape == (0, len(tag_names(bins, described.table.names)))
