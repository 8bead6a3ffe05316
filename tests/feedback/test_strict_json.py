"""The strict JSON parser and the text validator."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.strict_json import InvalidJSON, parse
from feedback.text import InvalidText, check_text, check_texts, fault_of

STORABLE = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n\t\r"))
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | STORABLE,
    lambda child: st.lists(child, max_size=4) | st.dictionaries(STORABLE, child, max_size=4),
    max_leaves=20,
)


@given(TREES, st.booleans())
def test_parses_what_json_writes(value: object, ascii_only: bool) -> None:
    assert parse(json.dumps(value, ensure_ascii=ascii_only), max_depth=200) == value


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("NaN", "holds NaN, which is not JSON"),
        ("[-Infinity]", "holds -Infinity, which is not JSON"),
        ("[1e999]", "holds the number 1e999, which is too large"),
        ('{"a": 1, "a": 2}', "has the key 'a' twice in one object"),
        ("{} x", "is not JSON: Extra data (line 1, column 4)"),
        ("", "is not JSON: Expecting value (line 1, column 1)"),
        (b'"\xff"', "is not UTF-8 (byte 1)"),
        ("[" * 100_000, "nests deeper than 40 levels"),
        ("[" * 41 + "]" * 41, "nests deeper than 40 levels"),
        ("[" + "9" * 5000 + "]", "holds a number with too many digits"),
        ('"\ud800"', "holds a lone surrogate at character 1"),
        (json.dumps({str(i): 0 for i in range(10_001)}), "has an object of 10,001 keys; the limit is 10,000"),
    ],
)
def test_refuses_with_a_reason(raw: str | bytes, reason: str) -> None:
    with pytest.raises(InvalidJSON) as caught:
        parse(raw)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("raw", "path", "reason"),
    [
        (r'{"a": [{"b": "x\u0000"}]}', "a.0.b", "holds a control character U+0000 at character 1"),
        (r'{"a": "\ud83d"}', "a", "holds a lone surrogate U+D83D at character 0"),
        (r'{"a": "\f"}', "a", "holds a control character U+000C at character 0"),
        ('{"a": "\x7f"}', "a", "holds a control character U+007F at character 0"),
        ('{"a": "\x92"}', "a", "holds a control character U+0092 at character 0"),
        (r'{"\u0001": 1}', "key", "holds a control character U+0001 at character 0"),
        (r'{"a": "\u0085"}', "a", "holds a control character U+0085 at character 0"),
    ],
)
def test_names_the_place_of_a_text_that_cannot_be_stored(raw: str, path: str, reason: str) -> None:
    with pytest.raises(InvalidJSON) as caught:
        parse(raw)
    assert (caught.value.path, caught.value.reason) == (path, reason)


def test_a_refusal_is_a_sentence_about_what_was_sent() -> None:
    assert InvalidJSON("", "is not UTF-8 (byte 3)").said_of("The body") == "The body is not UTF-8 (byte 3)."
    assert InvalidJSON("a.0", "is long").said_of("This") == "This has a bad value at a.0: it is long."


def test_a_surrogate_pair_is_a_character() -> None:
    assert parse(r'"\ud83d\ude00"') == "\U0001f600"


def test_forty_levels_are_fine_and_size_is_bounded() -> None:
    assert parse("[" * 40 + "]" * 40)
    with pytest.raises(InvalidJSON, match="has 12 bytes; the limit is 11"):
        parse('"0123456789"', max_bytes=11)


@given(st.text())
def test_fault_is_found_exactly_where_a_character_is_refused(text: str) -> None:
    refused = any(
        (ord(c) < 32 and c not in "\n\t\r") or 0x7F <= ord(c) <= 0x9F or 0xD800 <= ord(c) <= 0xDFFF for c in text
    )
    assert (fault_of(text) is not None) == refused


def test_text_limits_and_paths() -> None:
    assert check_text("a\n\t\r\u202e\u00a0", "x", 6) == "a\n\t\r\u202e\u00a0"
    with pytest.raises(InvalidText, match=r"^x: has 7 characters; the limit is 6$"):
        check_text("1234567", "x", 6)
    with pytest.raises(InvalidText, match=r"^a\.b\.1: holds a control character U\+0007 at character 0$"):
        check_texts({"a": {"b": ["fine", "\a"]}})
    nested: list[object] = []
    for _ in range(70):
        nested = [nested]
    with pytest.raises(InvalidText, match="nests too deeply"):
        check_texts(nested)
