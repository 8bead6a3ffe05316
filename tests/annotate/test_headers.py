"""Every answer carries the header policy: pages, parts, problems, errors, files."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from tests.annotate.routes import Route, routes
from tests.conftest import Cast

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "media-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


def directives(header: str) -> dict[str, str]:
    return dict(part.strip().split(" ", 1) for part in header.split(";") if part.strip())


# a preview of what annotators see is a page of ours in a frame of ours
FRAMES = {name: {"frame-src": "'self'"} for name in ("preset", "task-questions", "task-preview")}
FRAMES |= {name: {"frame-ancestors": "'self'"} for name in ("preset-room", "task-preview-room")}


def assert_policy(response: Any, *, frames: dict[str, str] | None = None) -> None:
    """``frames``: what this page adds to the policy; a redirect or an error in its place may do without."""
    headers, policy = response.headers, directives(POLICY)
    allowed = [policy | (frames or {})] + [policy] * (response.status_code != 200)
    assert directives(headers["Content-Security-Policy"]) in allowed
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] in (["SAMEORIGIN"] if "frame-ancestors" in (frames or {}) else []) + ["DENY"]
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize("route", routes(), ids=lambda route: route.name)
def test_every_route_carries_the_policy(cast: Cast, browser: Any, route: Route) -> None:
    url = route.url(project=cast.project.public_id, task=cast.task.public_id)
    for client in (browser(cast.owner), browser()):
        assert_policy(client.get(url), frames=FRAMES.get(route.name))


@pytest.mark.parametrize("path", ["/nothing", "/api/v1/nothing/", "/account/login/", "/p/not-a-uuid/"])
def test_unknown_addresses_and_the_login_carry_the_policy(cast: Cast, browser: Any, path: str) -> None:
    assert_policy(browser().get(path))


def test_a_crash_carries_the_policy_and_says_nothing_of_itself(
    cast: Cast, browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*args: object) -> None:
        raise RuntimeError("a secret detail")

    monkeypatch.setattr("annotate.views.overview.state_of", crash)
    response = browser(cast.owner).get(f"/p/{cast.project.public_id}/")
    assert response.status_code == 500
    assert_policy(response)
    assert "secret detail" not in response.content.decode()
    assert "Something failed" in response.content.decode()


def test_a_refusal_for_want_of_a_csrf_token_carries_the_policy(cast: Cast, browser: Any) -> None:
    response = browser(cast.owner, enforce_csrf_checks=True).post("/projects/new/", {"name": "x"})
    assert response.status_code == 403
    assert_policy(response)
    assert "Nothing was changed" in response.content.decode()


def test_a_database_that_is_away_is_a_503_page(cast: Cast, browser: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError

    def away(*args: object) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr("annotate.views.overview.state_of", away)
    response = browser(cast.owner).get(f"/p/{cast.project.public_id}/")
    assert response.status_code == 503
    assert_policy(response)


@pytest.mark.parametrize("route", [r for r in routes() if not r.is_api], ids=lambda route: route.name)
def test_no_page_holds_inline_script_style_or_handlers(cast: Cast, browser: Any, route: Route) -> None:
    import re

    response = browser(cast.owner).get(route.url(project=cast.project.public_id, task=cast.task.public_id))
    if "text/html" not in response.headers["Content-Type"]:
        return
    body = response.content.decode()
    assert not re.search(r"<style|<[^>]*\s(?:style|on[a-z]+)\s*=|[\"']javascript:", body, re.IGNORECASE)
    for tag in re.findall(r"<script[^>]*>", body):
        assert 'src="/static/' in tag or 'type="application/json"' in tag, tag
    assert not re.search(r'(?:src|action)="(?:https?:)?//', body)
    assert not re.search(r'<link[^>]*href="(?:https?:)?//', body)


@pytest.mark.database
@pytest.mark.django_db
@pytest.mark.parametrize("key", ['"aaaaaaaaaaaa\\000"', "' OR 1=1 --", "a" * 5000, ""])
def test_a_session_cookie_of_any_kind_is_a_visitor(client: Client, key: str) -> None:
    assert client.get("/label/", HTTP_COOKIE=f"{settings.SESSION_COOKIE_NAME}={key}").status_code == 302
