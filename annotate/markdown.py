"""A person's or a model's markdown as safe HTML.

Three walls: markdown-it with HTML off, only absolute http, https and mailto links, and nh3 over the result. Nothing of
the source becomes an attribute that scripts read (``hx-*``, ``data-*``, ``id``, ``style``), and nothing loads from
elsewhere: an image becomes a link with its description.

:func:`render_placed` shows the same with every piece of text in a ``<span data-at="START">``: its first character is
code point START of the source, the next START + 1, and so on; with ``data-to="END"`` all of it is ``[START, END)``.
What has no such span is white space between blocks. ``js/annotating/spantext.js`` reads it.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import blake2b
from html import unescape
from typing import Any

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererProtocol
from markdown_it.rules_block.table import table
from markdown_it.rules_inline import backtick, image, link
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from pygments import highlight  # type: ignore[import-untyped]
from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]
from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]
from pygments.util import ClassNotFound  # type: ignore[import-untyped]

from . import formulas as maths
from .sourcemap import Place, Unplaced, columns, ending, place, raw_places

MAX_HIGHLIGHTED = 20_000
"""Code points of one text that are coloured; longer code stays plain, so that a page never waits for it."""
MAX_MARKDOWN = 150_000
"""Longer texts are shown as they are written."""
MAX_ADDRESSES = 300
"""With more bare addresses than this none becomes a link: finding them takes quadratic time."""
CACHE_CHARS = 16_000_000

_TAG = re.compile(r"<[^>]*>")
_LINK = re.compile(r"^(?:https?://|mailto:)", re.IGNORECASE)
_TAGS = {
    *("a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre"),
    *("s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"),
}
_ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}, "code": {"class"}, "pre": {"class"}, "span": {"class"}}
_PLACED_ATTRIBUTES = _ATTRIBUTES | {"span": {"class", "data-at", "data-to"}}
_FORMATTER = HtmlFormatter(nowrap=True)


def _markdown(linkify: bool, *, formulas: bool = False) -> MarkdownIt:
    parser = MarkdownIt("gfm-like", {"html": False, "linkify": linkify})
    parser.validateLink = lambda url: bool(_LINK.match(url))  # type: ignore[method-assign]
    # links only where the source shows an address: "README.md" and "Mr.Smith" are words
    parser.linkify.set({"fuzzy_link": False, "fuzzy_email": False})  # type: ignore[union-attr]
    # an address is shown as it is written
    parser.normalizeLinkText = lambda link: link  # type: ignore[method-assign]
    for name, rule in {"link": link, "image": image, "backticks": backtick}.items():
        parser.inline.ruler.at(name, ending(rule))
    parser.block.ruler.at("table", columns(table), {"alt": ["paragraph", "reference"]})
    parser.disable("text_join")  # keeps apart what is shown as written from escapes and entities
    for kind, shown in _RULES.items():
        parser.add_render_rule(kind, shown)
    if formulas:
        maths.read_formulas(parser)
    return parser


def _text(self: RendererProtocol, tokens: Sequence[Token], i: int, options: OptionsDict, env: EnvType) -> str:
    return _placed(tokens[i].content, tokens[i].meta.get("places"))


def _code_inline(self: RendererProtocol, tokens: Sequence[Token], i: int, options: OptionsDict, env: EnvType) -> str:
    return f"<code>{_placed(tokens[i].content, tokens[i].meta.get('places'))}</code>"


def _placed(text: str, places: list[Place] | None) -> str:
    """``text`` escaped, each run of it in a span that says where it stands."""
    if places is None:
        return _escaped(text)
    return "".join(_at(found, _escaped(found.text)) for found in places)


def _at(found: Place, html: str) -> str:
    if found.start is None:
        return html
    end = "" if found.end is None else f' data-to="{found.end}"'
    return f'<span data-at="{found.start}"{end}>{html}</span>'


def _image(self: RendererProtocol, tokens: Sequence[Token], i: int, options: OptionsDict, env: EnvType) -> str:
    token = tokens[i]
    source = str(token.attrs.get("src", ""))
    words = _placed(token.content or source, token.meta.get("places"))
    return f'<a href="{nh3.clean_text(source)}">{words}</a>'


def _fence(self: RendererProtocol, tokens: Sequence[Token], i: int, options: OptionsDict, env: EnvType) -> str:
    token = tokens[i]
    language = token.info.split(maxsplit=1)[0] if token.info.strip() else ""
    return f'<pre class="highlight"><code>{_placed_code(token, _coloured(token.content, language, env))}</code></pre>\n'


def _code_block(self: RendererProtocol, tokens: Sequence[Token], i: int, options: OptionsDict, env: EnvType) -> str:
    return f"<pre><code>{_placed_code(tokens[i], _escaped(tokens[i].content))}</code></pre>\n"


def _placed_code(token: Token, html: str) -> str:
    """Code with its places: a span around all of it, or around each line where the source is indented further."""
    lines: list[list[Place]] | None = token.meta.get("lines")
    if lines is None:
        return html
    if len(lines) == 1:
        return "".join(_at(found, html) for found in lines[0])
    shown = html.split("\n")  # pygments ends its spans with the line
    return "\n".join(
        _at(line[0], one) if len(line) == 1 else "".join(_at(found, _escaped(found.text)) for found in line)
        for line, one in zip(lines, shown, strict=True)
    )


def _html_text(html: str) -> str:
    """The text of HTML made here."""
    return unescape(_TAG.sub("", html))


def _coloured(code: str, language: str, env: Any) -> str:
    env["highlighted"] = env.get("highlighted", 0) + len(code)
    if language and len(language) < 30 and env["highlighted"] <= MAX_HIGHLIGHTED:
        try:
            html = str(highlight(code, get_lexer_by_name(language, stripnl=False, ensurenl=False), _FORMATTER))
            # a lexer that adds or drops characters does not show the code
            return html if _html_text(html) == code else _escaped(code)
        except ClassNotFound:
            pass
    return _escaped(code)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_RULES: dict[str, Callable[[RendererProtocol, Sequence[Token], int, OptionsDict, EnvType], str]] = {
    "text": _text,
    "text_special": _text,
    "code_inline": _code_inline,
    "code_block": _code_block,
    "fence": _fence,
    "image": _image,
}


class _Rendered:
    """The HTML of recently shown texts by their digest, oldest out when together they pass ``CACHE_CHARS``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._html: OrderedDict[bytes, str] = OrderedDict()
        self._chars = 0

    def get(self, key: bytes) -> str | None:
        with self._lock:
            if key in self._html:
                self._html.move_to_end(key)
            return self._html.get(key)

    def put(self, key: bytes, html: str) -> None:
        with self._lock:
            self._chars += len(html) - len(self._html.pop(key, ""))
            self._html[key] = html
            while self._chars > CACHE_CHARS:
                self._chars -= len(self._html.popitem(last=False)[1])


_PARSER, _PARSER_WITHOUT_BARE_LINKS = _markdown(True), _markdown(False)
_PARSER_OF_FORMULAS = _markdown(True, formulas=True)
_RENDERED = _Rendered()


def render(text: str) -> SafeString:
    """Safe HTML of ``text``. Never raises for any string; a text too long for markdown is shown as written."""
    return _kept(text, b"", _clean_with_formulas)


def render_placed(text: str) -> SafeString:
    """Safe HTML of ``text`` that says where each piece stands in it (see above), so that spans can be marked and shown.

    Formulas stand as they are written. When the places cannot be proven for all of the text, the HTML is that of
    :func:`render`, without any ``data-at``.
    """
    return _kept(text, b"placed", _clean_placed)


def raw_placed(text: str) -> SafeString:
    """``text`` as it is written, in spans that say where each piece stands."""
    return mark_safe("".join(_at(found, _escaped(found.text)) for found in raw_places(text)))  # noqa: S308 - escaped


def _kept(text: str, person: bytes, made: Callable[[str], str]) -> SafeString:
    key = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20, person=person).digest()
    html = _RENDERED.get(key)
    if html is None:
        html = made(text)
        _RENDERED.put(key, html)
    return mark_safe(html)  # noqa: S308 - cleaned by nh3


def _parser(text: str) -> MarkdownIt:
    return _PARSER if text.count("://") <= MAX_ADDRESSES else _PARSER_WITHOUT_BARE_LINKS


def _clean(text: str) -> str:
    if len(text) > MAX_MARKDOWN:
        return _washed(f'<pre class="raw">{_escaped(text)}</pre>', _ATTRIBUTES)
    return _washed(str(_parser(text).render(text, {})), _ATTRIBUTES)


def _clean_with_formulas(text: str) -> str:
    marked = "$" in text or "\\" in text
    if not marked or len(text) > MAX_MARKDOWN or text.count("://") > MAX_ADDRESSES:
        return _clean(text)
    return _washed(str(_PARSER_OF_FORMULAS.render(text, {})), _ATTRIBUTES)


def _clean_placed(text: str) -> str:
    if len(text) > MAX_MARKDOWN:
        return _washed(f'<pre class="raw">{raw_placed(text)}</pre>', _PLACED_ATTRIBUTES)
    parser, env = _parser(text), dict[str, Any]()
    tokens = parser.parse(text, env)
    try:
        place(tokens, text)
    except Unplaced:
        return render(text)
    return _washed(str(parser.renderer.render(tokens, parser.options, env)), _PLACED_ATTRIBUTES)


def _washed(html: str, attributes: dict[str, set[str]]) -> str:
    return nh3.clean(
        html,
        tags=_TAGS | maths.TAGS,
        clean_content_tags={"script", "style"},
        attributes=attributes | maths.ATTRIBUTES,
        url_schemes={"http", "https", "mailto"},
        url_relative="deny",
        link_rel="noopener noreferrer nofollow",
    )
