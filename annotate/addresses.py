"""Addresses of the labelling pages, of which each page prints a dozen."""

from __future__ import annotations

from functools import cache
from uuid import UUID

from django.urls import get_script_prefix, reverse

_ANY = UUID(int=0)


def address(name: str, key: UUID) -> str:
    """``reverse(name, args=[key])`` of a route with one UUID; Django looks each route up once only."""
    before, after = _around(name, get_script_prefix())
    return f"{before}{key}{after}"


def place(name: str) -> str:
    """``reverse(name)`` of a route without arguments."""
    return _place(name, get_script_prefix())


@cache
def _around(name: str, prefix: str) -> tuple[str, str]:
    before, after = reverse(name, args=[_ANY]).split(str(_ANY))
    return before, after


@cache
def _place(name: str, prefix: str) -> str:
    return reverse(name)
