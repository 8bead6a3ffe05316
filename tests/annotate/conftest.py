"""Pages are rendered without collected static files, and clients log in without passwords."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client

from feedback.services import people

PLAIN_STATIC = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}


@pytest.fixture(autouse=True)
def uncollected_static(settings: Any) -> None:
    Path(settings.STATIC_ROOT).mkdir(exist_ok=True)  # whitenoise warns without it
    settings.STORAGES = {**settings.STORAGES, "staticfiles": PLAIN_STATIC}


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    """Throttles and cached figures of one test are no other test's."""
    cache.clear()


@pytest.fixture
def browser() -> Callable[..., Client]:
    """``browser(user)``: a client logged in as that user; without a user a visitor."""

    def log_in(user: Any = None, **options: Any) -> Client:
        client = Client(raise_request_exception=False, **options)
        if user is not None:
            client.force_login(user, backend="annotate.sessions.Backend")
        return client

    return log_in


class ApiClient(Client):
    """A program with a token. Bodies are JSON unless given as text."""

    def __init__(self, secret: str = "") -> None:
        super().__init__(raise_request_exception=False, headers={"Authorization": f"Bearer {secret}"} if secret else {})

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        data = {} if body is None else {"data": body, "content_type": "application/json"}
        return getattr(self, method.lower())(f"/api/v1/{path}", **data, headers=headers)


@pytest.fixture
def api() -> Callable[..., ApiClient]:
    """``api(user, "read", "write")``: a client with a fresh token of these scopes (default: all)."""

    def make(user: Any = None, *scopes: str) -> ApiClient:
        if user is None:
            return ApiClient()
        wanted = list(scopes or ("read", "annotate", "write", "train"))
        return ApiClient(people.make_token(user, "test", wanted)[1])

    return make
