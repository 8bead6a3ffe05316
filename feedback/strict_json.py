"""The one JSON parser for everything that comes from outside.

It is stricter than :mod:`json`: UTF-8 only, no ``NaN`` or ``Infinity`` (also not through ``1e999``), no duplicate keys,
limits on size, depth and keys per object, and only storable text (see :mod:`feedback.text`).
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from feedback.text import InvalidText, check_texts

MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 40
MAX_KEYS = 10_000

# JSON itself forbids raw control characters in strings, so a refused character can only come through an escape
# (\\u00.., \\ud8.. to \\udf.., \\b, \\f), as a raw DEL, or as a raw C1 control (0xC2 in UTF-8)
_SUSPECT_ESCAPE = re.compile(rb"\\(?:u(?:00[0189]|007[fF]|[dD][89a-fA-F])|[bf])")


class InvalidJSON(ValueError):
    """The input is not JSON that we accept. ``path`` is a dotted place or ``""``, ``reason`` says what it is or has."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}" if path else reason)

    def said_of(self, what: str) -> str:
        """The whole sentence, with the input as its subject, such as "The body"."""
        return f"{what} {f'has a bad value at {self.path}: it ' if self.path else ''}{self.reason}."


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_KEYS:
        raise InvalidJSON("", f"has an object of {len(pairs):,} keys; the limit is {MAX_KEYS:,}")
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        repeated = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise InvalidJSON("", f"has the key {repeated[:60]!r} twice in one object")
    return value


def _no_constant(name: str) -> NoReturn:
    raise InvalidJSON("", f"holds {name}, which is not JSON")


def _finite(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):
        raise InvalidJSON("", f"holds the number {literal[:40]}, which is too large")
    return number


# raw_decode of this object is used by the streaming reader of JSON arrays
DECODER = json.JSONDecoder(object_pairs_hook=_unique_keys, parse_constant=_no_constant, parse_float=_finite)


def parse(raw: bytes | str, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """Parse one JSON document. Raises InvalidJSON for anything that :mod:`json` is too kind about (see the module).

    ``max_bytes`` bounds the UTF-8 size of the input, ``max_depth`` how many arrays and objects may nest.
    """
    data = _encoded(raw)
    if len(data) > max_bytes:
        raise InvalidJSON("", f"has {len(data):,} bytes; the limit is {max_bytes:,}")
    try:
        value = DECODER.decode(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InvalidJSON("", f"is not UTF-8 (byte {error.start})") from error
    except RecursionError as error:
        raise InvalidJSON("", f"nests deeper than {max_depth} levels") from error
    except json.JSONDecodeError as error:
        raise InvalidJSON("", f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from error
    except InvalidJSON:
        raise
    except ValueError as error:  # an integer with more digits than Python converts
        raise InvalidJSON("", "holds a number with too many digits") from error
    check_parsed(value, data, max_depth=max_depth)
    return value


def check_parsed(value: Any, data: bytes, *, max_depth: int = MAX_DEPTH) -> None:
    """Check depth and texts of ``value``, which was parsed from ``data``; skips the walk where nothing can be wrong.

    Raises InvalidJSON with the path of the first bad value.
    """
    deep = data.count(b"[") + data.count(b"{") > max_depth and _depth(value, max_depth) > max_depth
    if deep:
        raise InvalidJSON("", f"nests deeper than {max_depth} levels")
    if b"\x7f" not in data and b"\xc2" not in data and not _SUSPECT_ESCAPE.search(data):
        return
    try:
        check_texts(value, max_depth=max_depth)
    except InvalidText as error:
        raise InvalidJSON(error.path, error.reason) from error


def _encoded(raw: bytes | str) -> bytes:
    if isinstance(raw, bytes):
        return raw
    try:
        return raw.encode()
    except UnicodeEncodeError as error:
        raise InvalidJSON("", f"holds a lone surrogate at character {error.start}") from error


def _depth(value: Any, limit: int) -> int:
    """Levels of arrays and objects in ``value``; stops one level past ``limit``."""
    level, depth = [value], 0
    while depth <= limit:
        level = [child for node in level if isinstance(node, (dict, list)) for child in _children(node)]
        if not level:
            return depth
        depth += 1
    return depth


def _children(node: dict[str, Any] | list[Any]) -> list[Any]:
    children = list(node.values()) if isinstance(node, dict) else node
    return children or [None]
