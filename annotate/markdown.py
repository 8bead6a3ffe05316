"""A person's or a model's markdown as safe HTML.

Three walls: markdown-it with HTML off, only absolute http, https and mailto links, and nh3 over the result. Nothing of
the source becomes an attribute that scripts read (``hx-*``, ``data-*``, ``id``, ``style``), and nothing loads from
elsewhere: an image becomes a link with its description.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererProtocol
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from pygments import highlight  # type: ignore[import-untyped]
from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]
from pygments.lexers import get_lexer_by_name  # type: ignore[import-untyped]
from pygments.util import ClassNotFound  # type: ignore[import-untyped]

MAX_HIGHLIGHTED = 20_000
"""Code points of one text that are coloured; longer code stays plain, so that a page never waits for it."""
MAX_MARKDOWN = 150_000
"""Longer texts are shown as they are written."""
MAX_ADDRESSES = 300
"""With more bare addresses than this none becomes a link: finding them takes quadratic time."""
CACHE_CHARS = 16_000_000

_LINK = re.compile(r"^(?:https?://|mailto:)", re.IGNORECASE)
_TAGS = {
    *("a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre"),
    *("s", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"),
}
_ATTRIBUTES = {"a": {"href", "title"}, "ol": {"start"}, "code": {"class"}, "pre": {"class"}, "span": {"class"}}
_FORMATTER = HtmlFormatter(nowrap=True)


def _markdown(linkify: bool) -> MarkdownIt:
    parser = MarkdownIt("gfm-like", {"html": False, "linkify": linkify})
    parser.validateLink = lambda url: bool(_LINK.match(url))  # type: ignore[method-assign]
    # links only where the source shows an address: "README.md" and "Mr.Smith" are words
    parser.linkify.set({"fuzzy_link": False, "fuzzy_email": False})  # type: ignore[union-attr]
    parser.add_render_rule("image", _image)
    parser.add_render_rule("fence", _fence)
    return parser


def _image(self: RendererProtocol, tokens: Sequence[Token], i: int, options: OptionsDict, env: EnvType) -> str:
    token = tokens[i]
    source = str(token.attrs.get("src", ""))
    words = token.content or source
    return f'<a href="{nh3.clean_text(source)}">{nh3.clean_text(words)}</a>'


def _fence(self: RendererProtocol, tokens: Sequence[Token], i: int, options: OptionsDict, env: EnvType) -> str:
    token = tokens[i]
    language = token.info.split(maxsplit=1)[0] if token.info.strip() else ""
    return f'<pre class="highlight"><code>{_coloured(token.content, language, env)}</code></pre>\n'


def _coloured(code: str, language: str, env: Any) -> str:
    env["highlighted"] = env.get("highlighted", 0) + len(code)
    if language and len(language) < 30 and env["highlighted"] <= MAX_HIGHLIGHTED:
        try:
            return str(highlight(code, get_lexer_by_name(language, stripnl=False), _FORMATTER))
        except ClassNotFound:
            pass
    return _escaped(code)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


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
_RENDERED = _Rendered()


def render(text: str) -> SafeString:
    """Safe HTML of ``text``. Never raises for any string; a text too long for markdown is shown as written."""
    key = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=20).digest()
    html = _RENDERED.get(key)
    if html is None:
        html = _clean(text)
        _RENDERED.put(key, html)
    return mark_safe(html)  # noqa: S308 - cleaned by nh3


def _raw(text: str) -> str:
    if len(text) > MAX_MARKDOWN:
        return f'<pre class="raw">{_escaped(text)}</pre>'
    parser = _PARSER if text.count("://") <= MAX_ADDRESSES else _PARSER_WITHOUT_BARE_LINKS
    return str(parser.render(text, {}))


def _clean(text: str) -> str:
    return nh3.clean(
        _raw(text),
        tags=_TAGS,
        clean_content_tags={"script", "style"},
        attributes=_ATTRIBUTES,
        url_schemes={"http", "https", "mailto"},
        url_relative="deny",
        link_rel="noopener noreferrer nofollow",
    )
