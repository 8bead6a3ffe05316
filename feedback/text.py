"""One validator for text that people, files and models send us.

PostgreSQL stores neither U+0000 nor lone surrogates, SQLite stores a surrogate and then fails on every later list, and
other control characters break terminals, CSV files and diffs. So they are refused at every door, with the place named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

ALLOWED_CONTROLS = "\n\t\r"
_REFUSED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_C0_AND_DEL = bytes([*(code for code in range(32) if chr(code) not in ALLOWED_CONTROLS), 127])


class InvalidText(ValueError):
    """A text holds a character that cannot be stored, or is too long.

    ``path`` names the place (``completions.1.content``), ``reason`` is a sentence.
    """

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}" if path else reason)


def fault_of(text: str) -> str | None:
    """Why ``text`` cannot be stored, or ``None`` when it can.

    Refused are U+0000, the other control characters (Unicode category Cc) except newline, tab and carriage return,
    and lone surrogates. The common case costs about one nanosecond per byte.
    """
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        return f"lone surrogate U+{ord(text[error.start]):04X} at character {error.start}"
    # U+0080 to U+009F are 0xC2 0x80 to 0xC2 0x9F in UTF-8; without that byte only the ASCII controls are possible
    if len(encoded.translate(None, _C0_AND_DEL)) == len(encoded) and b"\xc2" not in encoded:
        return None
    match = _REFUSED.search(text)
    return None if match is None else f"control character U+{ord(match[0]):04X} at character {match.start()}"


def check_text(text: str, path: str = "", max_chars: int | None = None) -> str:
    """Return ``text`` unchanged. Raises InvalidText for a refused character or more than ``max_chars`` code points."""
    if max_chars is not None and len(text) > max_chars:
        raise InvalidText(path, f"has {len(text):,} characters; the limit is {max_chars:,}")
    fault = fault_of(text)
    if fault:
        raise InvalidText(path, f"holds a {fault}")
    return text


def check_texts(value: object, path: str = "", max_depth: int = 64) -> None:
    """Check every string, object keys included, in a parsed JSON value.

    Raises InvalidText with the dotted path of the first bad string, or when the value nests deeper than ``max_depth``.
    """
    if isinstance(value, str):
        check_text(value, path)
        return
    if not isinstance(value, (dict, list, tuple)):
        return
    if max_depth <= 0:
        raise InvalidText(path, "nests too deeply")
    named: Iterable[tuple[object, object]] = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in named:
        if isinstance(key, str):
            check_text(key, path or "key")
        check_texts(child, f"{path}.{key}" if path else str(key), max_depth - 1)
