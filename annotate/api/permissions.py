"""What a request needs: a scope of its token and a permission in the project, declared per method and held here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from feedback.exceptions import Forbidden
from feedback.models import ApiToken

if TYPE_CHECKING:  # rest_framework.views itself loads this module, by the name in the settings
    from rest_framework.views import APIView


class Need(NamedTuple):
    """``scope`` of the token, ``permission`` in the project (empty: being logged in is enough)."""

    scope: str
    permission: str = ""


class HasScope(BasePermission):
    """Logged in, and a token holds the scope that the view declares for this method."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if request.user is None:
            raise NotAuthenticated
        need = need_of(view, request.method or "GET")
        if need and isinstance(request.auth, ApiToken) and need.scope not in request.auth.scopes:
            raise Forbidden(f"This token does not have the scope {need.scope!r}.")
        return True


def need_of(view: APIView, method: str) -> Need | None:
    """What ``view`` declares for ``method``; ``None`` for a method it does not have (a 405 follows)."""
    needs: Mapping[str, Need] = getattr(view, "needs", {})
    method = "GET" if method == "HEAD" else method
    if method not in needs and method.lower() in view.http_method_names and hasattr(view, method.lower()):
        raise ImproperlyConfigured(f"{type(view).__name__} does not say what {method} needs")
    return needs.get(method)
