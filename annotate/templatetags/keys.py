"""The keys of the person who looks at the page, as a page prints them and as its script reads them."""

from __future__ import annotations

from typing import Any

from django import template

from feedback.models import User

from .. import keys

register = template.Library()


@register.simple_tag(takes_context=True)
def own_keys(context: dict[str, Any]) -> dict[str, str]:
    user = context.get("user")
    return keys.keys_of(user) if isinstance(user, User) else keys.DEFAULTS
