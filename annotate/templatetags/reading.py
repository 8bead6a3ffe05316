"""``{% text one %}``: a text in both its forms, one of them hidden; drawn for every message and completion shown."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.simple_tag
def text(one: dict[str, Any]) -> SafeString:
    """``one``: html, raw, dir; lang, as_written, crlf; with ``placed`` its ``target``, where spans are marked."""
    placed = format_html(' data-span-text="{}"', one["target"]) if one.get("placed") else ""
    language = format_html(' lang="{}"', one["lang"]) if one.get("lang") else ""
    direction = one.get("dir") or "auto"
    written = bool(one.get("as_written"))
    return format_html(
        '<div class="text" data-text>\n<div class="prose"{}{} dir="{}" hx-disable{}>{}</div>\n'
        '<pre class="raw"{} dir="{}"{}{}>\n{}</pre>\n</div>',  # HTML drops the first line break of a pre
        placed,
        language,
        direction,
        SafeString(" hidden" if written else ""),
        one["html"],
        placed,
        direction,
        SafeString(" data-crlf" if one.get("crlf") else ""),
        SafeString("" if written else " hidden"),
        one["raw"],
    )
