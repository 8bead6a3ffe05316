"""The CSRF token of a page, masked as Django masks it, for a fiftieth of the function calls.

A mask keeps compressed answers from telling the secret (BREACH); Django draws it by 32 calls of ``random.choice``.
"""

from __future__ import annotations

import os
from itertools import cycle

from django.http import HttpRequest
from django.middleware.csrf import CSRF_ALLOWED_CHARS, CSRF_SECRET_LENGTH, get_token
from django.utils.functional import SimpleLazyObject

_COUNT = len(CSRF_ALLOWED_CHARS)
_INDEX = {char: index for index, char in enumerate(CSRF_ALLOWED_CHARS)}
_UNEVEN = bytes(range(256 - 256 % _COUNT, 256))
"""Bytes that would make the first characters likelier than the others."""
_BYTE_TO_INDEX = bytes(index for _, index in zip(range(256), cycle(range(_COUNT)), strict=False))


def csrf(request: HttpRequest) -> dict[str, object]:
    """The context processor: ``csrf_token``, made when a page asks for it."""
    return {"csrf_token": SimpleLazyObject(lambda: token_of(request))}


def token_of(request: HttpRequest) -> str:
    """As ``django.middleware.csrf.get_token``: the cookie is sent again, since the page uses it."""
    if "CSRF_COOKIE" not in request.META:
        return get_token(request)
    request.META["CSRF_COOKIE_NEEDS_UPDATE"] = True
    return masked(request.META["CSRF_COOKIE"])


def masked(secret: str) -> str:
    mask = b""
    while len(mask) < CSRF_SECRET_LENGTH:
        mask = os.urandom(2 * CSRF_SECRET_LENGTH).translate(_BYTE_TO_INDEX, _UNEVEN)[:CSRF_SECRET_LENGTH]
    cipher = [CSRF_ALLOWED_CHARS[(_INDEX[char] + shift) % _COUNT] for char, shift in zip(secret, mask, strict=True)]
    return "".join([*(CSRF_ALLOWED_CHARS[index] for index in mask), *cipher])
