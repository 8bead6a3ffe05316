"""``{% kept a b %}…{% endkept %}``: what is drawn from ``a`` and ``b`` alone is drawn once and kept in this process.

The forms and dialogs of the reading room are the same for each instance of a task, and drawing them was half of the
page's time. Name everything the block reads; a request's own values (a CSRF token, say) have no place in it.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

from django import template
from django.template.base import FilterExpression, NodeList, Parser, Token
from django.utils.safestring import SafeString
from django.utils.translation import get_language

register = template.Library()
MOST = 512


class Kept:
    """The last ``MOST`` drawn blocks by what they were drawn from, oldest out."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._drawn: dict[tuple[Any, ...], SafeString] = {}

    def get(self, key: tuple[Any, ...]) -> SafeString | None:
        return self._drawn.get(key)

    def put(self, key: tuple[Any, ...], html: SafeString) -> None:
        with self._lock:
            while len(self._drawn) >= MOST:
                del self._drawn[next(iter(self._drawn))]
            self._drawn[key] = html


KEPT = Kept()


class KeptNode(template.Node):
    def __init__(self, values: list[FilterExpression], nodelist: NodeList) -> None:
        self.values, self.nodelist = values, nodelist

    def render(self, context: template.Context) -> SafeString:
        read = repr([value.resolve(context, ignore_failures=True) for value in self.values])
        assert self.token is not None
        key = (self.origin.name, self.token.lineno, self.token.contents, get_language(), read)
        html = KEPT.get(key)
        if html is None:
            html = self.nodelist.render(context)
            KEPT.put(key, html)
        return html


@register.tag
def kept(parser: Parser, token: Token) -> KeptNode:
    values = [parser.compile_filter(word) for word in token.split_contents()[1:]]
    nodelist = parser.parse(("endkept",))
    parser.delete_first_token()
    return KeptNode(values, nodelist)
