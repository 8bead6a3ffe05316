"""The keys of the reading room: what each does, which one a person chose for it, and what they may choose.

The keys of the answers are not in the map: digits, ``b``, ``c``, ``=`` and ``-`` say what a question's own row prints
beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext, gettext_noop

from feedback.models import User

DEFAULTS = {
    "next_row": "j",
    "previous_row": "k",
    "skip": "s",
    "flag": "f",
    "undo": "u",
    "back": "←",
    "forward": "→",
    "guideline": "g",
    "keys": "?",
}
WORDS = {
    "next_row": gettext_noop("Next row"),
    "previous_row": gettext_noop("Previous row"),
    "skip": gettext_noop("Skip"),
    "flag": gettext_noop("Flag"),
    "undo": gettext_noop("Undo the last submit"),
    "back": gettext_noop("Your previous answer"),
    "forward": gettext_noop("Your next answer, then the next instance"),
    "guideline": gettext_noop("Guideline"),
    "keys": gettext_noop("List of keys"),
}
OF_ANSWERS = "0123456789bc=-"


def keys_of(user: User) -> dict[str, str]:
    """The key of every action; what was never chosen, or cannot be, is the default."""
    chosen = user.preferences.get("keys")
    merged = DEFAULTS | {name: key for name, key in (chosen or {}).items() if name in DEFAULTS}
    return merged if not problems(merged) else dict(DEFAULTS)


def problems(keys: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with a map of keys, in a sentence for each action."""
    found: dict[str, str] = {}
    for name, key in keys.items():
        others = [other for other in keys if other != name and keys[other] == key]
        if not isinstance(key, str) or len(key) != 1 or not key.isprintable() or key.isspace():
            found[name] = gettext("Press one key that writes a character, or an arrow to the left or right.")
        elif key in OF_ANSWERS:
            found[name] = gettext("“%(key)s” belongs to the answers.") % {"key": key}
        elif others:
            words = {"key": key, "other": gettext(WORDS[others[0]])}
            found[name] = gettext("“%(key)s” is already the key of “%(other)s”.") % words
    return found
