"""Every character that a rendered text shows is traced to the same character of its source, or to a stated stand-in."""

from __future__ import annotations

import gzip
import html as entities
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import NamedTuple

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from annotate.markdown import _clean, _clean_placed, raw_placed
from feedback.text import fault_of
from tests.conftest import shared_data


class Shown(NamedTuple):
    """One shown character: ``[start, end)`` of the source; both None between blocks."""

    char: str
    start: int | None
    end: int | None
    whole: bool


class Reader(HTMLParser):
    """The characters of placed HTML in order, and its tags without the places."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.shown: list[Shown] = []
        self.tags: list[str] = []
        self.stack: list[tuple[int, int | None] | None] = []
        self.passed = 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        placed = "data-at" in found
        if not placed and tag != "span":
            self.tags.append(tag)
        if tag in ("br", "hr"):
            return
        start = int(found["data-at"] or "") if placed else None
        end = int(found["data-to"] or "") if "data-to" in found else None
        self.stack.append(None if start is None else (start, end))
        if placed:
            self.passed = 0

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("br", "hr"):
            self.stack.pop()

    def handle_data(self, data: str) -> None:
        place = next((one for one in reversed(self.stack) if one), None)
        for char in data:
            if place is None:
                self.shown.append(Shown(char, None, None, False))
            elif place[1] is None:
                at = place[0] + self.passed
                self.shown.append(Shown(char, at, at + 1, False))
                self.passed += 1
            else:
                self.shown.append(Shown(char, *place, True))

    @property
    def text(self) -> str:
        return "".join(one.char for one in self.shown)


def assert_faithful(source: str) -> Reader:
    """The text is that of the plain rendering, and each character is the source's where it is said to stand."""
    html = _clean_placed(source)
    reader = Reader(html)
    assert reader.text == Reader(_clean(source)).text
    if "<span data-at=" not in html:
        return reader
    for one in reader.shown:
        if one.start is None or one.end is None:
            assert one.char.isspace(), one
        elif one.whole:
            written = source[one.start : one.end]
            assert written.startswith("!") or one.char in entities.unescape(written), (one, written)
        else:
            assert one.char in _shown_as(source[one.start]), one
    starts = [one.start for one in reader.shown if one.start is not None]
    assert starts == sorted(starts)
    exact = [one.start for one in reader.shown if one.start is not None and not one.whole]
    assert len(exact) == len(set(exact))
    return reader


def _shown_as(char: str) -> str:
    """A line break in `code` is shown as a space."""
    return "\n " if char in "\r\n" else char


PIECES = [
    *(
        "a",
        "b ",
        " ",
        "  ",
        "\n",
        "\n\n",
        "\r\n",
        "\r\n\r\n",
        "\t",
        "x\ty",
        "é",
        "e\u0301",
        "한",
        "日本語",
        "مرحبا ",
        "😀",
        "👩‍👩‍👧",
        "\u200f",
    ),
    *(
        "*",
        "**",
        "***",
        "_",
        "__",
        "~~",
        "~~~",
        "`",
        "``",
        "```",
        "\n```\n",
        "\n```python\n",
        "\n~~~js\n",
        "\\",
        "\\*",
        "\\\n",
        "\\|",
        "  \n",
    ),
    *(
        "&amp;",
        "&lt;",
        "&#x1F600;",
        "&nbsp;",
        "&notanentity;",
        "&",
        "<b>",
        "<",
        ">",
        '"',
        "'",
        "<http://a.b>",
        "<me@a.b>",
    ),
    *(
        "[",
        "]",
        "](u)",
        "](http://a.b/c)",
        "](<http://a.b> 'ab')",
        "[a]",
        "[ab](http://ab)ab",
        "![",
        "![alt *x*](http://i.j/k)",
        "![](http://i.j)",
    ),
    *(
        "\n[r]: http://r.s\n\n",
        "[r]",
        "[x][r]",
        "http://a.b/c",
        "https://a.b/%41é*",
        "see http://a.b.",
        "mailto:a@b.cd",
    ),
    *(
        "\n# ",
        " #\n",
        "\n## a ##  \n",
        "\n---\n",
        "\n===\n",
        "\n> ",
        ">",
        "\n>  ",
        "\n- ",
        "\n* ",
        "\n1. ",
        "\n  - ",
        "\n    ",
        "\n\t",
    ),
    *(
        "\n| a | b |\n|---|:-:|\n",
        "| c \\| d | **e** |\n",
        "|",
        "a|b\n-|-\n",
        "def f(x):\n    return 'y'",
        "$x^2$",
        "\u00a0",
        "\u3000",
        "\ufeff",
    ),
]
MARKDOWN = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
MARKS = st.text(alphabet=st.sampled_from("ab *_`~[]()!<>&;#|\\-+1.:/\n\r\t é\u0301😀"), max_size=60)
SOURCES = st.one_of(MARKDOWN, MARKS, st.text(max_size=80)).filter(lambda text: fault_of(text) is None)


@given(SOURCES)
def test_every_shown_character_is_the_one_of_the_source(source: str) -> None:
    assert_faithful(source)


@given(SOURCES, st.data())
def test_another_letter_in_the_source_is_another_letter_in_its_place(source: str, data: st.DataObject) -> None:
    """An independent witness: exchange one letter, render again, and see which shown character changed."""
    letters = [i for i, char in enumerate(source) if char.isalpha()]
    assume(letters)
    i = data.draw(st.sampled_from(letters))
    before, after = assert_faithful(source), Reader(_clean(source[:i] + "ѫ" + source[i + 1 :]))
    assume(any(one.start is not None for one in before.shown))
    assume(before.tags == after.tags and len(before.text) == len(after.text))
    changed = [n for n, (one, other) in enumerate(zip(before.text, after.text, strict=True)) if one != other]
    placed = [n for n, one in enumerate(before.shown) if one.start is not None and one.end and one.start <= i < one.end]
    if not any(before.shown[n].whole for n in placed):
        assert changed == placed


@given(SOURCES, st.data())
def test_what_is_selected_is_what_is_painted(source: str, data: st.DataObject) -> None:
    shown = assert_faithful(source).shown
    placed = [n for n, one in enumerate(shown) if one.start is not None]
    assume(placed)
    first = data.draw(st.sampled_from(placed))
    last = data.draw(st.sampled_from([n for n in placed if n >= first]))
    start, end = shown[first].start, shown[last].end
    assert start is not None
    assert end is not None
    assert 0 <= start < end <= len(source)
    painted = [n for n in placed if (shown[n].start or 0) < end and (shown[n].end or 0) > start]
    selected = [n for n in placed if first <= n <= last]
    # the characters of one entity are selected together
    assert [n for n in painted if not shown[n].whole] == [n for n in selected if not shown[n].whole]
    assert set(selected) <= set(painted)


TYPICAL = {
    "emphasis": "**a** a *b* __c__ ~~d~~ ***e***",
    "the words of a link and its address": "[ab](http://ab)ab [x][r] [r]\n\n[r]: http://r.s 'r'",
    "entities and escapes": "a &amp; b &lt;c&gt; \\*d\\* &copy;\\\\",
    "headings": "# a #\n\n## b\n\nc\n===\n\nd  \n---",
    "lists and quotes": "1. a\n   b\n\n   - c\n     d\n> e\nlazy\n> > f\n",
    "tables": "| a | b \\| c |\n|:-|-:|\n| *d* | `e \\| f` |\n\n- x | y\n  -|-\n  1 | 2 | 3\n\n> |a|\n> |-|\n> |b|",
    "code": "`a  b` `` c`d `` ` e ` `f\n g`\n\n    h\n\n    i\n\n```python\ndef f():\n\treturn '''x\n  y'''\n```",
    "code in lists": "- ~~~\n  j\n\n   k",
    "windows line ends": "a  \r\nb\\\r\nc\r\n\r\n```\r\nd\r\ne\r\n```\r\n\r\n`f\r\ng`\r\n",
    "tabs": "-\ta\n\n\t```\n\tb\n\t```\n\n>\tc\n\n\td\n1.\te\n\n\t\tf",
    "images": "![a *b*](http://c.d) ![](http://e.f)",
    "addresses": "http://a.b/%C3%A9 <http://c.d/%41> <me@e.f> (https://xn--nxasmq6b/x*y)",
    "other scripts": "  مرحبا **بالعالم** 日本*語* e\u0301**\u0301** 👩‍👩‍👧 क्षि\u200d\u00a0",
}


@pytest.mark.parametrize("source", TYPICAL.values(), ids=TYPICAL.keys())
def test_typical_markdown_is_placed(source: str) -> None:
    reader = assert_faithful(source)
    assert all(one.start is not None for one in reader.shown if not one.char.isspace())


def test_a_text_too_long_for_markdown_is_placed_as_it_is_written() -> None:
    reader = assert_faithful("*a* <b>\r\n" * 20_000)
    assert reader.shown[-1].start == 20_000 * 9 - 1


@given(st.text(alphabet=st.sampled_from("a<&\n\r\t é😀"), max_size=40))
def test_the_raw_view_is_placed_as_browsers_read_it(source: str) -> None:
    reader = Reader(raw_placed(source).replace("\r\n", "\n").replace("\r", "\n"))
    assert reader.text == source.replace("\r\n", "\n").replace("\r", "\n")
    for one in reader.shown:
        assert one.start is not None
        assert one.char == source[one.start].replace("\r", "\n")


def real_texts() -> Iterator[str]:
    with gzip.open(shared_data("qa-feedback-finegrained") / "dev_feedback.json.gz", "rt", encoding="utf-8") as file:
        for row in json.load(file):
            yield from (row["question"], *(row[f"prediction {n}"] for n in range(1, 5)))


def test_every_real_answer_is_placed() -> None:
    for source in real_texts():
        reader = assert_faithful(source)
        assert all(one.start is not None for one in reader.shown if not one.char.isspace()), source
