"""Sessions in the database, read together with the account that they belong to: every request asks for both."""

from __future__ import annotations

from typing import Any

from allauth.account.auth_backends import AuthenticationBackend
from django.contrib import auth
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.db.models import CharField, DateTimeField
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.functional import SimpleLazyObject

from feedback.composed import Rows, slot
from feedback.models import User

from .models import Session

_session = Rows(
    lambda: Session.objects.filter(
        session_key=slot("key", CharField), expire_date__gt=slot("now", DateTimeField)
    ).select_related("user")
)


class SessionStore(DatabaseStore):
    owner: User | None = None
    """Whose session was read, as they were then."""

    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session

    def _get_session_from_db(self) -> Session | None:
        known = (self.session_key or "").isalnum()  # a cookie may hold anything
        found: Session | None = _session.first(key=self.session_key, now=timezone.now()) if known else None
        if found is None:
            self._session_key = None
        else:
            self.owner = found.user
        return found

    def create_model_instance(self, data: dict[str, Any]) -> Session:
        made: Any = super().create_model_instance(data)
        made.user_id = data.get(auth.SESSION_KEY)
        session: Session = made
        return session

    def create(self) -> None:
        """A session of its own for whoever signs in; those that have expired are cleared away then."""
        self.clear_expired()
        super().create()


class Backend(AuthenticationBackend):  # type: ignore[misc]
    """allauth's way to sign in; an account that was disabled is nobody at once, in open tabs too."""

    def get_user(self, user_id: Any) -> User | None:
        return User.objects.filter(pk=user_id, is_active=True).first()


class Authentication(AuthenticationMiddleware):
    """Django's, but that the account was read with the session."""

    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)
        request.user = SimpleLazyObject(lambda: _user_of(request))  # type: ignore[assignment]


def _user_of(request: HttpRequest) -> User | AnonymousUser:
    """Who asks. Whatever is not plain (another backend, a secret key that was changed) Django answers itself."""
    session: Any = request.session
    key, backend, seal = (
        session.get(name) for name in (auth.SESSION_KEY, auth.BACKEND_SESSION_KEY, auth.HASH_SESSION_KEY)
    )
    owner: User | None = session.owner
    plain = owner and owner.is_active and str(owner.pk) == key and backend == f"{__name__}.Backend"
    if plain and owner and seal and constant_time_compare(seal, owner.get_session_auth_hash()):
        return owner
    return auth.get_user(request)
