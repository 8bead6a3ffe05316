"""``{% jinja "place/_part.jinja" name=value %}``: a part of the page that Jinja draws (``annotate/jinja.py``)."""

from __future__ import annotations

from typing import Any

from django import template
from django.utils.safestring import SafeString

from ..jinja import draw

register = template.Library()


@register.simple_tag
def jinja(part: str, **values: Any) -> SafeString:
    return draw(part, values)
