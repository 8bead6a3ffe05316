"""A page that is nearly the same each time: its frame is drawn once, with holes that every answer fills anew.

The reading room's forms and dialogs are the same for each instance of a task, and Django's templates would spend half
of an annotator's time on them. A template is given ``fixed`` values, and may say ``{{ holes.prompt }}`` where something
stands that differs each time. What it draws from the same fixed values in the same language is kept in this process. It
gets nothing of the request, so that nothing of one person can stay in what another one sees.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from threading import Lock
from typing import Any

from django.template.loader import render_to_string
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString
from django.utils.translation import get_language

MOST = 256
_MARK = f"hole-{secrets.token_hex(16)}-"
"""No text of anybody's can hold it."""
_HOLE = re.compile(f"{_MARK}([a-z0-9_]+);")


class Holes:
    """In a template, ``holes.name`` marks where a value goes; it may stand in an attribute too."""

    def __getitem__(self, name: str) -> SafeString:
        return SafeString(f"{_MARK}{name};")


HOLES = Holes()


class _Frames:
    """The last frames by what they were drawn from: HTML and names of holes in turns."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._drawn: dict[tuple[str, str | None, str], list[str]] = {}

    def of(self, template: str, fixed: Mapping[str, Any]) -> list[str]:
        key = template, get_language(), repr(fixed)
        frame = self._drawn.get(key)
        if frame is None:
            frame = _HOLE.split(
                render_to_string(template, {**fixed, "holes": HOLES, "csrf_token": HOLES["csrf_token"]})
            )
            with self._lock:
                while len(self._drawn) >= MOST:
                    del self._drawn[next(iter(self._drawn))]
                self._drawn[key] = frame
        return frame


_FRAMES = _Frames()


def fill(template: str, fixed: Mapping[str, Any], holes: Mapping[str, str]) -> str:
    """The page. ``holes`` has a value for each hole, ``csrf_token`` among them, escaped unless it is safe.

    Raises KeyError for a hole without a value.
    """
    parts = _FRAMES.of(template, fixed).copy()
    parts[1::2] = [conditional_escape(holes[name]) for name in parts[1::2]]
    return "".join(parts)
