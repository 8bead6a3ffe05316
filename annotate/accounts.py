"""How people come in: nobody signs up alone; an invitation lets one person in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False


def attempted_address(request: HttpRequest, credentials: Mapping[str, Any] | None = None) -> str:
    """Whose password is being tried, so that failures lock that address out and nobody else behind the same proxy.

    The login form names the address ``login``; what it is checked with names it ``email``.
    """
    address = (credentials or {}).get("email") or request.POST.get("login") or ""
    return str(address).strip().lower()[:254]
