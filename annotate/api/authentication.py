"""Who is asking: a bearer token of a program, or the session of a page of ours."""

from __future__ import annotations

from rest_framework.authentication import BaseAuthentication, SessionAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from feedback.models import ApiToken, User
from feedback.services.people import token_of


class TokenAuthentication(BaseAuthentication):
    """``Authorization: Bearer tbk_…``. A token that is unknown, revoked or expired is a 401, no anonymous visit."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        scheme, _, secret = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        token = token_of(secret.strip().decode("latin-1"))
        if token is None:
            raise AuthenticationFailed("This token is unknown, revoked or expired.")
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="tiebreak"'


class BrowserSessionAuthentication(SessionAuthentication):
    """The session of a logged-in browser; writing needs the CSRF token, so only our own pages can."""
