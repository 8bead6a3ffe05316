"""Search finds the same before an instance is indexed and after, on either database."""

from __future__ import annotations

from typing import Any

import pytest

from feedback.models import Instance
from feedback.services import searching
from tests.conftest import Cast, make_cast

pytestmark = [pytest.mark.django_db, pytest.mark.database]

TEXTS = [
    "The quick-brown fox (v3.14) jumps",
    "Größenwahn über alles",
    "中文的句子没有空格",
    "हिन्दी में एक वाक्य",
    "an apple; a pear",
    'O\'Brien said "no" & left | right: *all* <b>',
]


@pytest.fixture
def found(db: None) -> Any:
    cast = make_cast(instances=0)
    Instance.objects.bulk_create(
        Instance(
            task=cast.task,
            external_id=f"row-{n}",
            prompt=[{"role": "user", "content": text}],
            completions=[{"content": f"answer {n}", "model": None}, {"content": {"call": "tool"}, "model": "m"}],
            prompt_hash=f"{n:064x}",
        )
        for n, text in enumerate(TEXTS)
    )
    return lambda text: sorted(int(one.external_id[4:]) for one in searching.matching(cast.task.instances.all(), text))


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("fox", [0]),
        ("FOX quick", [0]),
        ("quick-brown", [0]),
        ("größenwahn", [1]),
        ("größen", [1]),
        ("没有", [2]),
        ("हिन्दी", [3]),
        ('"a pear"', [4]),
        ("answer 3", [3]),
        ("row-5", [5]),
        ("O'Brien", [5]),
        ("& | !", []),
        ("nothing", []),
        ("model", []),
    ],
)
def test_words_are_found(found: Any, text: str, rows: list[int]) -> None:
    assert set(found(text)) >= set(rows)  # read as stored: nothing is missed
    assert searching.index() == len(TEXTS)
    assert not Instance.objects.filter(searchable=False).exists()
    assert found(text) == rows


def test_words_in_quotes_stand_in_this_order(found: Any) -> None:
    searching.index()
    assert found("pear apple") == [4]
    assert found('"pear apple"') == []
    assert found('"fox v3') == [0]


def test_indexing_again_changes_nothing(found: Any) -> None:
    assert searching.index() == len(TEXTS)
    assert searching.index() == 0
    assert found("fox") == [0]


def test_a_very_long_text_is_indexed(cast: Cast) -> None:
    first = cast.task.instances.order_by("pk")[0]
    first.completions = [{"content": " ".join(f"wörd{n}" for n in range(100_000)), "model": None}] * 2
    first.save(update_fields=["completions"])
    assert searching.index() == 5
    assert [one.pk for one in searching.matching(cast.task.instances.all(), "wörd17")] == [first.pk]
