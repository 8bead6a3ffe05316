"""Sessions: who they belong to, and when they end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import auth
from django.test import Client
from django.utils import timezone

from annotate.models import Session
from feedback.models import User

pytestmark = [pytest.mark.database, pytest.mark.django_db]
BACKEND = "annotate.sessions.Backend"


@pytest.fixture
def ada() -> User:
    return User.objects.create_user("ada@example.org", password="a long enough secret")


@pytest.fixture
def client(ada: User) -> Client:
    client = Client()
    client.force_login(ada, backend=BACKEND)
    return client


def who(client: Client) -> Any:
    response = client.get("/label/")
    return response.context["user"].email if response.status_code == 200 else None


def test_a_session_names_its_account(client: Client, ada: User) -> None:
    assert [session.user for session in Session.objects.all()] == [ada]
    assert who(client) == "ada@example.org"


def test_an_account_that_is_deleted_takes_its_sessions_along(client: Client, ada: User) -> None:
    ada.delete()
    assert not Session.objects.exists()
    assert who(client) is None


def test_a_disabled_account_is_nobody_at_once(client: Client, ada: User) -> None:
    User.objects.filter(pk=ada.pk).update(is_active=False)
    assert who(client) is None


def test_a_new_password_ends_the_other_sessions(client: Client, ada: User) -> None:
    ada.set_password("another long secret")
    ada.save()
    assert who(client) is None
    assert not Session.objects.exists()


def test_a_row_that_names_somebody_else_is_not_believed(client: Client) -> None:
    """The sealed data says who signed in; the column only spares a query."""
    other = User.objects.create_user("mallory@example.org")
    Session.objects.update(user=other)
    assert who(client) == "ada@example.org"


def test_another_backend_is_asked_itself(client: Client) -> None:
    session = client.session
    session[auth.BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session.save()
    assert who(client) is None


def test_signing_out_ends_the_session(client: Client) -> None:
    client.logout()
    assert not Session.objects.exists()
    assert who(client) is None


def test_expired_sessions_admit_nobody_and_are_cleared_when_somebody_signs_in(client: Client, ada: User) -> None:
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    assert who(client) is None
    Client().force_login(ada, backend=BACKEND)
    assert Session.objects.count() == 1
