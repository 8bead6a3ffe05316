"""Shares and differences of judges in words."""

from __future__ import annotations

from django import template

from routing.judge.bias import Compared, Share

register = template.Library()


@register.filter
def percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


@register.filter
def share_words(share: Share) -> str:
    """A share with its interval: ``72% (65–78)``."""
    if share.value is None or share.low is None or share.high is None:
        return "–"
    return f"{share.value:.0%} ({100 * share.low:.0f}–{100 * share.high:.0f})"


@register.filter
def difference_words(found: Compared) -> str:
    """A difference in points with its interval: ``+3 (−2 to +8)``."""
    if found.difference is None or found.low is None or found.high is None:
        return "–"
    words = f"{100 * found.difference:+.0f} ({100 * found.low:+.0f} to {100 * found.high:+.0f})"
    return words.replace("-", "−")
