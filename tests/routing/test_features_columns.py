"""A team's own tags and metadata as features; keys by content."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from routing.features.columns import ColumnClashError, own_columns, source_of, with_columns, without_sources
from routing.features.table import FeatureTable, describe_pairs, fit_bins, tag_matrix, tag_names
from routing.features.texts import PairText, content_key
from routing.features.wording import words_of

SIZE = 60


def columns(**fields: list[object]) -> FeatureTable:
    rows = [{name: values[n] for name, values in fields.items() if values[n] is not None} for n in range(SIZE)]
    return own_columns([[] for _ in range(SIZE)], rows)


def test_tags_become_columns_of_yes_and_no() -> None:
    table = own_columns(
        [["hard"] if n % 3 == 0 else ["easy", "rare"] if n < 5 else [] for n in range(SIZE)], [{}] * SIZE
    )
    assert table.names == ("tag:hard",)  # "easy" and "rare" are carried by too few
    assert table.values[:, 0].tolist() == [float(n % 3 == 0) for n in range(SIZE)]


def test_a_field_with_few_values_has_a_column_for_each_and_an_id_none() -> None:
    table = columns(category=["law" if n % 2 else "art" for n in range(SIZE)], id=[f"x{n}" for n in range(SIZE)])
    assert set(table.names) == {"meta:category=law", "meta:category=art"}
    assert (table.values.sum(axis=1) == 1).all()


def test_numbers_are_thirds_of_the_pool_and_a_missing_one_is_in_none() -> None:
    scores: list[object] = [float(n) for n in range(SIZE - 3)] + [None, None, None]
    table = columns(score=scores)
    assert set(table.names) == {"meta:score=low", "meta:score=middle", "meta:score=high"}
    assert table.values.sum(axis=1).tolist() == [1.0] * (SIZE - 3) + [0.0] * 3
    assert table.column("meta:score=low")[:19].all()


def test_what_everybody_carries_tells_nothing_and_is_left_out() -> None:
    assert own_columns([["all"]] * SIZE, [{"set": "one"}] * SIZE).names == ()


def test_odd_values_are_words_and_no_error() -> None:
    odd: list[object] = [[1, 2], {"a": 1}, True, float("nan"), "x" * 500, 10**30] * 10
    assert all(len(name) < 100 for name in columns(odd=odd).names)


def test_more_than_sixty_columns_keep_the_commonest() -> None:
    tags = [[f"t{k}" for k in range(70) if n % (2 + k % 5) == 0] for n in range(SIZE)]
    assert len(own_columns(tags, [{}] * SIZE).names) == 60


def test_own_columns_are_counted_beside_the_others_and_change_the_version() -> None:
    features = describe_pairs([PairText(f"p{n}", "one text", "another one") for n in range(SIZE)], 64)
    own = own_columns([["hard"] if n % 2 else [] for n in range(SIZE)], [{}] * SIZE)
    joined = with_columns(features, own)
    bins = fit_bins(joined.table)
    names = tag_names(bins, joined.table.names)
    assert tag_matrix(joined.table, bins)[:, names.index("tag:hard")].sum() == SIZE // 2
    assert joined.version != features.version
    assert with_columns(features, own_columns([[]] * SIZE, [{}] * SIZE)) is features
    assert words_of("tag:hard") == "hard"
    assert words_of("meta:category=law") == "category: law"


def test_a_name_that_is_taken_and_rows_that_do_not_fit_are_refused() -> None:
    features = describe_pairs([PairText("p", "a", "b")], 64)
    with pytest.raises(ColumnClashError, match="english"):
        with_columns(features, FeatureTable(("english",), np.zeros((1, 1), dtype=np.float32)))
    with pytest.raises(ValueError, match="same instances"):
        with_columns(features, FeatureTable(("x",), np.zeros((2, 1), dtype=np.float32)))
    with pytest.raises(ValueError, match="same instances"):
        own_columns([[]], [])


def test_a_key_follows_the_texts_and_nothing_else() -> None:
    one = PairText("p", "a", "b")
    assert content_key(one) == content_key(PairText("p", "a", "b"))
    others = [PairText("q", "a", "b"), PairText("p", "b", "a"), PairText("p", "a", "b", turns=2)]
    assert len({content_key(pair) for pair in [one, *others]}) == 4
    assert content_key(PairText("ab", "c", "d")) != content_key(PairText("a", "bc", "d"))


def test_what_is_left_out_is_named_by_tag_or_field() -> None:
    meta: list[dict[str, object]] = [{"category": "law" if n % 2 else "art", "k=v": n % 3} for n in range(SIZE)]
    own = own_columns([["hard=1"] if n % 3 == 0 else [] for n in range(SIZE)], meta)
    assert {source_of(name) for name in own.names} == {"tag:hard=1", "meta:category", "meta:k"}
    kept = without_sources(own, ["meta:category", "tag:hard=1", "tag:unknown"])
    assert {source_of(name) for name in kept.names} == {"meta:k"}
    assert kept.values.shape == (SIZE, 3)


def test_as_many_tags_as_instances_take_no_more_memory_than_they_are_words() -> None:
    size = 100_000
    tracemalloc.start()
    table = own_columns([[f"only-{n}"] for n in range(size)], [{f"field-{n}": n} for n in range(size)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert table.names == ()
    assert peak < 300 * 2**20
