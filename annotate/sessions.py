"""Sessions in the database, and who they belong to, read by queries that are composed once: every request asks both."""

from __future__ import annotations

from typing import Any

from allauth.account.auth_backends import AuthenticationBackend
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.models import Session
from django.db.models import CharField, DateTimeField
from django.utils import timezone

from feedback.composed import Rows, slot
from feedback.models import User

_session = Rows(
    lambda: Session.objects.filter(session_key=slot("key", CharField), expire_date__gt=slot("now", DateTimeField))
)
_user = Rows(lambda: User.objects.filter(pk=slot("key"), is_active=True))


class SessionStore(DatabaseStore):
    def _get_session_from_db(self) -> Session | None:
        known = (self.session_key or "").isalnum()  # a cookie may hold anything
        found: Session | None = _session.first(key=self.session_key, now=timezone.now()) if known else None
        if found is None:
            self._session_key = None
        return found


class Backend(AuthenticationBackend):  # type: ignore[misc]
    """allauth's way to sign in; an account that was disabled is nobody at once, in open tabs too."""

    def get_user(self, user_id: Any) -> User | None:
        found: User | None = _user.first(key=user_id)
        return found
