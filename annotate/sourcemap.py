"""Where each shown character of a markdown text stands in its source, in code points of the stored text.

:func:`place` walks markdown-it's tokens along the source. Each token says what it consumed: its marker, its content as
written, or the end that :func:`ending` recorded while parsing. So the walk knows at every step what must come next,
and checks it: a text is placed entirely and provably, or :class:`Unplaced` is raised and it is marked in its raw view.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from markdown_it.common.utils import MD_TRIM_CHARS
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

InlineRule = Callable[[StateInline, bool], bool]
BlockRule = Callable[[StateBlock, int, int, bool], bool]

_NEWLINE = re.compile(r"\r\n?|\n")
_BREAK = re.compile(r"(?: *|\\)\n[ \t]*")
_PIPE = re.compile(r"(?<!\\)\|")
_NOWHERE = -1


class Unplaced(ValueError):
    """Some shown characters cannot be traced to the source with certainty."""


class Place(NamedTuple):
    """Shown ``text``. Its k-th character is the source's ``start + k``-th, or (``end`` set) all of it stands for
    ``[start, end)``, as ``&`` does for ``&amp;``. Without ``start`` it is indentation that a tab was expanded to.
    """

    text: str
    start: int | None
    end: int | None = None


def ending(rule: InlineRule) -> InlineRule:
    """The same rule, recording in ``meta["end"]`` of the last token it made where in the block's content it ended."""

    def run(state: StateInline, silent: bool) -> bool:
        before = len(state.tokens)
        done = rule(state, silent)
        if done and len(state.tokens) > before:
            state.tokens[-1].meta["end"] = state.pos
        return done

    return run


def columns(rule: BlockRule) -> BlockRule:
    """The table rule, recording in ``meta["column"]`` of each row where it starts in its line."""

    def run(state: StateBlock, first: int, last: int, silent: bool) -> bool:
        before = len(state.tokens)
        done = rule(state, first, last, silent)
        for token in state.tokens[before:]:
            if token.type == "tr_open" and token.map:
                start = state.bMarks[token.map[0]] + state.tShift[token.map[0]]
                token.meta["column"] = start - (state.src.rfind("\n", 0, start) + 1)
        return done

    return run


def place(tokens: Sequence[Token], source: str) -> None:
    """Give every token that shows text its ``meta["places"]`` (code blocks: ``meta["lines"]``). Raises Unplaced."""
    blocks = _Blocks(source)
    for token in tokens:
        blocks.take(token)
    starts = [found.start for token in tokens for found in _places_of(token) if found.start is not None]
    if any(start >= after for start, after in pairwise(starts)):
        raise Unplaced("the order on screen is not the order of the source")


def _places_of(token: Token) -> list[Place]:
    lines = token.meta.get("lines") or [child.meta.get("places", []) for child in token.children or []]
    return [found for line in lines for found in line]


def raw_places(source: str) -> list[Place]:
    """The text as it is written. A browser reads ``\\r\\n`` as one newline, so a run ends before each ``\\r``."""
    ends = [match.start() for match in re.finditer("\r\n", source)]
    starts = [0, *(end + 1 for end in ends)]
    return [Place(source[a:b], a) for a, b in zip(starts, [*ends, len(source)], strict=True) if a < b]


class _Blocks:
    """Block tokens in order: which lines hold their content, and which part of each line."""

    def __init__(self, source: str) -> None:
        self.lines = _Lines(source)
        self.marker = ""
        self.row: list[tuple[str, list[int]]] = []
        self.in_cell = False

    def take(self, token: Token) -> None:
        if token.type.startswith("heading_"):
            self.marker = token.markup if token.nesting > 0 else ""
        elif token.type == "tr_open":
            self.row = self.lines.cells(_first(token), token.meta["column"])
        elif token.type in ("th_open", "td_open", "th_close", "td_close"):
            self.in_cell = token.nesting > 0
        elif token.type == "inline":
            _Walk(token.content, self.positions(token)).along(token.children or [])
        elif token.type in ("fence", "code_block"):
            _place_code(token, self.lines)
        elif token.content:
            raise Unplaced(token.type)

    def positions(self, token: Token) -> list[int]:
        if self.in_cell:
            return self.cell(token.content)
        if self.marker.startswith("#"):
            return self.lines.heading(_first(token), token.content)
        return self.lines.positions(_first(token), token.content)

    def cell(self, content: str) -> list[int]:
        text, positions = self.row.pop(0) if self.row else ("", [])
        if text != content:
            raise Unplaced("table cell")
        return positions


def _first(token: Token) -> int:
    """The first source line of a block."""
    if token.map is None:
        raise Unplaced(token.type)
    return token.map[0]


class _Lines:
    """The lines of a source, and where each begins."""

    def __init__(self, source: str) -> None:
        breaks = list(_NEWLINE.finditer(source))
        self.starts = [0, *(found.end() for found in breaks)]
        ends = [*(found.start() for found in breaks), len(source)]
        self.texts = [source[a:b].replace("\0", "\ufffd") for a, b in zip(self.starts, ends, strict=True)]

    def positions(self, first: int, content: str) -> list[int]:
        """The source offset of each character of ``content``, whose lines are ends of the lines from ``first`` on.

        -1 for a character that is not in the source: indentation from a tab, a newline after the last line.
        """
        found: list[int] = []
        for number, text in enumerate(content.split("\n"), first):
            if number > first:
                found.append(self.newline(number - 1))
            found += self.line(number, text)
        return found

    def newline(self, number: int) -> int:
        return self.starts[number + 1] - 1 if number + 1 < len(self.starts) else _NOWHERE

    def line(self, number: int, text: str) -> list[int]:
        if not text:
            return []
        source = self.text(number)
        body = source if source.endswith(text) else source.rstrip(MD_TRIM_CHARS)
        shown = text if body.endswith(text) else text.lstrip(" ")
        if not body.endswith(shown):
            raise Unplaced(f"line {number}")
        start = self.starts[number] + len(body) - len(shown)
        return [_NOWHERE] * (len(text) - len(shown)) + list(range(start, start + len(shown)))

    def heading(self, number: int, content: str) -> list[int]:
        """``## content ##``: the closing marks and the space before them are no content."""
        line = self.text(number).rstrip(" \t")
        without = line.rstrip("#")
        body = (without if without.endswith((" ", "\t")) else line).rstrip(MD_TRIM_CHARS)
        if content and not body.endswith(content):
            raise Unplaced(f"heading in line {number}")
        start = self.starts[number] + len(body) - len(content)
        return list(range(start, start + len(content)))

    def cells(self, number: int, column: int) -> list[tuple[str, list[int]]]:
        """The cells of a table row that starts at ``column``: content with ``\\|`` as ``|``, and its positions."""
        line = self.text(number)[column:]
        left = len(line) - len(line.lstrip(MD_TRIM_CHARS))
        line, start = line.strip(MD_TRIM_CHARS), self.starts[number] + column + left
        bars = [found.start() for found in _PIPE.finditer(line)]
        pieces = [
            (line[a:b], start + a) for a, b in zip([0, *(at + 1 for at in bars)], [*bars, len(line)], strict=True)
        ]
        if pieces and not pieces[0][0]:
            pieces.pop(0)
        if pieces and not pieces[-1][0]:
            pieces.pop()
        return [_cell(text, at) for text, at in pieces]

    def text(self, number: int) -> str:
        if number >= len(self.texts):
            raise Unplaced(f"line {number}")
        return self.texts[number]


def _cell(raw: str, start: int) -> tuple[str, list[int]]:
    kept = [i for i in range(len(raw)) if raw[i : i + 2] != "\\|"]
    text = "".join(raw[i] for i in kept)
    left = len(text) - len(text.lstrip(MD_TRIM_CHARS))
    right = len(text.rstrip(MD_TRIM_CHARS))
    return text[left:right], [start + i for i in kept[left:right]]


class _Walk:
    """A cursor in the content of one block, moved by its inline tokens."""

    def __init__(self, content: str, positions: list[int]) -> None:
        self.content, self.positions, self.at = content, positions, 0

    def along(self, tokens: Sequence[Token]) -> None:
        for token in tokens:
            self.step(token)
        if self.at != len(self.content):
            raise Unplaced("some of the source was not reached")

    def step(self, token: Token) -> None:
        match token.type:
            case "text":
                token.meta["places"] = self.verbatim(token.content)
            case "text_special":
                token.meta["places"] = self.special(token)
            case "softbreak" | "hardbreak":
                self.line_break()
            case "code_inline":
                token.meta["places"] = self.code(token)
            case "link_open":
                self.pass_over({"autolink": "<", "linkify": ""}.get(token.markup, "["))
            case "link_close":
                self.pass_over({"autolink": ">", "linkify": ""}.get(token.markup, "]"))
                self.at = token.meta.get("end", self.at)
            case "image":
                token.meta["places"] = self.image(token)
            case "em_open" | "em_close" | "strong_open" | "strong_close" | "s_open" | "s_close":
                self.pass_over(token.markup)
            case _:
                raise Unplaced(token.type)

    def pass_over(self, text: str) -> int:
        """Move behind ``text``, which must come next; answers where it began."""
        if not self.content.startswith(text, self.at):
            raise Unplaced(f"{text!r} is not at {self.at}")
        self.at += len(text)
        return self.at - len(text)

    def verbatim(self, text: str) -> list[Place]:
        return self.runs(self.pass_over(text), text)

    def special(self, token: Token) -> list[Place]:
        start = self.pass_over(token.markup)
        if token.info == "escape":
            return self.runs(self.at - len(token.content), token.content)
        return [self.whole(start, token.content)]

    def line_break(self) -> None:
        found = _BREAK.match(self.content, self.at)
        if found is None:
            raise Unplaced(f"no line break at {self.at}")
        self.at = found.end()

    def code(self, token: Token) -> list[Place]:
        start = self.pass_over(token.markup)
        end = token.meta["end"] - len(token.markup)
        inner = self.content[start + len(token.markup) : end].replace("\n", " ")
        stripped = (len(inner) - len(token.content)) // 2
        if inner[stripped : stripped + len(token.content)] != token.content:
            raise Unplaced("code")
        self.at = end
        self.pass_over(token.markup)
        return self.runs(start + len(token.markup) + stripped, token.content)

    def image(self, token: Token) -> list[Place]:
        """The description as written; without one the shown address stands for the whole image."""
        start = self.pass_over("![")
        if token.content:
            places = self.verbatim(token.content)
            self.at = token.meta["end"]
            return places
        self.at = token.meta["end"]
        return [self.whole(start, str(token.attrs.get("src", "")))]

    def whole(self, start: int, text: str) -> Place:
        """``text`` for all of the content from ``start`` to the cursor."""
        first, last = self.positions[start], self.positions[self.at - 1]
        if _NOWHERE in (first, last):
            raise Unplaced("a character that is not in the source")
        return Place(text, first, last + 1)

    def runs(self, start: int, text: str) -> list[Place]:
        return _runs(text, self.positions[start : start + len(text)])


def _runs(text: str, positions: list[int]) -> list[Place]:
    """``text`` cut where its positions do not follow one another."""
    if not text:
        return []
    cuts = [i for i, (one, other) in enumerate(pairwise(positions), 1) if not _follows(one, other)]
    return [
        Place(text[a:b], None if positions[a] == _NOWHERE else positions[a]) for a, b in pairwise([0, *cuts, len(text)])
    ]


def _follows(one: int, other: int) -> bool:
    return other == (one if one == _NOWHERE else one + 1)


def _place_code(token: Token, lines: _Lines) -> None:
    """One place for code that stands in the source as it is shown, else places for each of its lines."""
    first = _first(token) + (token.type == "fence")
    positions = lines.positions(first, token.content)
    whole = _runs(token.content, positions)
    if len(whole) == 1:
        token.meta["lines"] = [whole]
        return
    token.meta["lines"], at = [], 0
    for text in token.content.split("\n"):
        token.meta["lines"].append(_runs(text, positions[at : at + len(text)]))
        at += len(text) + 1
