"""What labelling an instance asks of a person: a language they read and a skill they have, each in one spelling.

An import takes both from a row's metadata, ``lang`` and ``skill`` (or those of an object ``meta`` in it). Only texts
ask for something: a list or a number there is metadata like any other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .text import InvalidText, check_text

MAX_LANGUAGES = 20
MAX_SKILLS = 40
MAX_SKILL = 40
MAX_TAG = 35
_TAG = re.compile(r"[a-z]{2,3}(-[a-z0-9]{1,8})*")
_NO_ONE_LANGUAGE = {"und", "mul", "zxx"}
"""BCP 47 for undetermined, several, and no linguistic content: they ask nobody for anything."""


def language_tag(raw: str, path: str = "") -> str:
    """A BCP 47 tag in lower case, ``pt_BR`` as ``pt-br``; empty for one that names no language. Raises InvalidText.

    >>> language_tag(" pt_BR "), language_tag("und")
    ('pt-br', '')
    """
    tag = raw.strip().lower().replace("_", "-")
    if tag and (len(tag) > MAX_TAG or not _TAG.fullmatch(tag)):
        raise InvalidText(path, f"{raw.strip()[:40]!r} is not a language tag such as de or pt-br")
    return "" if tag in _NO_ONE_LANGUAGE else tag


def skill_name(raw: str, path: str = "") -> str:
    """A skill in lower case with single spaces, at most 40 characters, without commas. Raises InvalidText."""
    skill = " ".join(check_text(raw, path).split()).lower()
    if "," in skill:
        raise InvalidText(path, f"{skill[:40]!r} has a comma; name one skill")
    return check_text(skill, path, MAX_SKILL)


def language_tags(raw: Iterable[str], path: str = "languages") -> list[str]:
    """The tags of the languages a person reads, each once. Raises InvalidText."""
    return _each_once((language_tag(one, path) for one in raw), path, MAX_LANGUAGES)


def skill_names(raw: Iterable[str], path: str = "skills") -> list[str]:
    """The skills of a person, each once. Raises InvalidText."""
    return _each_once((skill_name(one, path) for one in raw), path, MAX_SKILLS)


def _each_once(named: Iterable[str], path: str, most: int) -> list[str]:
    found = sorted({one for one in named if one})
    if len(found) > most:
        raise InvalidText(path, f"are {len(found)}; at most {most} are possible")
    return found


def asked_by(meta: Mapping[str, Any], texts: Sequence[Mapping[str, Any]] = ()) -> tuple[str, str]:
    """The language tag and the skill that a row asks for; either may be empty. Raises InvalidText.

    Where the metadata names no language, the first of its ``texts`` that does is asked, as long as it is a tag: there
    it only says how the text is set.
    """
    inner = meta.get("meta")
    both = [inner, meta] if isinstance(inner, Mapping) else [meta]
    language = next((one["lang"] for one in both if _says(one, "lang")), None)
    skill = next((one["skill"] for one in both if _says(one, "skill")), "")
    tag = _of_texts(texts) if language is None else language_tag(language, "lang")
    return tag, skill_name(skill, "skill")


def _says(holder: Mapping[str, Any], name: str) -> bool:
    return isinstance(holder.get(name), str) and bool(holder[name].strip())


def _of_texts(texts: Sequence[Mapping[str, Any]]) -> str:
    try:
        return next((language_tag(text["lang"]) for text in texts if _says(text, "lang")), "")
    except InvalidText:
        return ""
