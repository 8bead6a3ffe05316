"""Names of languages and skills, as the person who reads them says them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from django.conf.locale import LANG_INFO
from django.utils.text import get_text_list
from django.utils.translation import get_language_info, gettext

from feedback.wording import Sentence


def said(words: str) -> str:
    """A sentence of the ground in the language that is active; one that has no translation in English."""
    if isinstance(words, Sentence):
        return gettext(words.pattern) % words.values if words.values else gettext(words.pattern)
    return gettext(words) if words else ""


def _plain(words: str) -> str:
    """Without case and marks: ``Français`` is also typed as ``francais``."""
    letters = unicodedata.normalize("NFKD", words.strip().casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter))


_NAMED = {
    _plain(info[name]): code for code, info in LANG_INFO.items() if "name" in info for name in ("name", "name_local")
}
"""Language names in English and in the language itself → tag."""


def tag_of(words: str) -> str:
    """``German`` and ``Deutsch`` as ``de``; anything else as it is."""
    return _NAMED.get(_plain(words), words)


def name_of(tag: str) -> str:
    """``German`` for ``de``, ``German (de-at)`` for a region that has no name of its own, else the tag."""
    try:
        info = get_language_info(tag)
    except KeyError:
        return tag
    name = str(info["name_translated"])
    return name if info["code"].lower() == tag else f"{name} ({tag})"


def names_of(tags: Iterable[str]) -> str:
    """Several languages in one line."""
    return gettext(", ").join(sorted(map(name_of, tags)))


def needed(languages: Sequence[str], skills: Sequence[str]) -> str:
    """``German or the skill law``."""
    # a skill may be written in the other direction than the sentence around it
    named = [gettext("the skill %(skill)s") % {"skill": f"\u2068{skill}\u2069"} for skill in skills]
    return get_text_list([*sorted(map(name_of, languages)), *named], gettext("or"))
