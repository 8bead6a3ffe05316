"""Tokens, scopes, strict bodies, problems, paging, throttling and idempotency of the API."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.utils import timezone

from annotate.api import problems
from annotate.api.throttling import PerToken
from feedback.models import ApiToken, Project, Task
from feedback.services import people
from tests.conftest import QUESTIONS, Cast


def path(cast: Cast, rest: str = "") -> str:
    return f"projects/{cast.project.public_id}/{rest}"


def assert_problem(response: Any, status: int, code: str) -> dict[str, Any]:
    assert (response.status_code, response.headers["Content-Type"]) == (status, "application/problem+json")
    body: dict[str, Any] = response.json()
    assert (body["status"], body["code"]) == (status, code)
    assert body["detail"]
    assert body["title"]
    return body


def test_no_token_is_a_401_that_says_how(db: None, api: Any) -> None:
    response = api().send("GET", "projects/")
    assert_problem(response, 401, "unauthenticated")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("change", ["expired", "revoked", "disabled user", "unknown"])
def test_a_dead_token_is_a_401(cast: Cast, api: Any, change: str) -> None:
    client = api(cast.owner)
    match change:
        case "expired":
            ApiToken.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        case "revoked":
            people.revoke_token(ApiToken.objects.get(), actor=cast.owner)
        case "disabled user":
            cast.owner.is_active = False
            cast.owner.save()
        case "unknown":
            ApiToken.objects.all().delete()
    response = client.send("GET", "projects/")
    assert_problem(response, 401, "unauthenticated")
    assert "WWW-Authenticate" in response.headers


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer \xff\xfe", "Bearer a b", "bearer tbk_x"])
def test_a_broken_authorization_header_is_a_401(db: None, client: Any, header: str) -> None:
    response = client.get("/api/v1/projects/", headers={"Authorization": header})
    assert_problem(response, 401, "unauthenticated")


def test_a_token_without_the_scope_is_refused_whatever_the_role(cast: Cast, api: Any) -> None:
    body = assert_problem(api(cast.owner, "annotate").send("GET", path(cast)), 403, "forbidden")
    assert "read" in body["detail"]
    assert_problem(api(cast.owner, "read").send("PATCH", path(cast), {"name": "x"}), 403, "forbidden")


def test_a_browser_session_reads_and_writes_with_its_csrf_token_only(cast: Cast, browser: Any) -> None:
    client = browser(cast.owner, enforce_csrf_checks=True)
    url = f"/api/v1/{path(cast)}"
    assert client.get(url).status_code == 200
    refused = client.patch(url, {"name": "x"}, content_type="application/json")
    assert refused.status_code == 403
    client.get("/")
    token = client.cookies["csrftoken"].value
    headers = {"X-CSRFToken": token}
    assert client.patch(url, {"name": "x"}, content_type="application/json", headers=headers).status_code == 200


HOSTILE = {
    "100k deep": "[" * 100_000 + "]" * 100_000,
    "deep object": '{"name":' * 100_000 + "1" + "}" * 100_000,
    "unclosed": '{"name": "x"',
    "nan": '{"name": NaN}',
    "infinity": '{"name": -Infinity}',
    "1e999": '{"name": 1e999}',
    "many digits": '{"name": ' + "9" * 10_000 + "}",
    "duplicate key": '{"name": "a", "name": "b"}',
    "nul": '{"name": "a\\u0000b"}',
    "lone surrogate": '{"name": "\\ud800"}',
    "control character": '{"name": "a\\u0007"}',
    "many keys": "{" + ",".join(f'"k{n}":1' for n in range(20_000)) + "}",
    "not utf-8": b'{"name": "\xe9"}',
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_body_is_a_400_and_stores_nothing(cast: Cast, api: Any, body: Any) -> None:
    before = Project.objects.count()
    assert_problem(api(cast.owner).send("POST", "projects/", body), 400, "malformed")
    assert Project.objects.count() == before


@pytest.mark.parametrize("body", ["[]", "null", "3", '"x"', '{"name": 5, "currency": []}', '{"name": ""}', "{}", ""])
def test_a_body_of_another_shape_is_a_422_naming_the_field(cast: Cast, api: Any, body: str) -> None:
    problem = assert_problem(api(cast.owner).send("POST", "projects/", body), 422, "invalid")
    assert problem["errors"]


def test_another_media_type_is_a_415(cast: Cast, api: Any) -> None:
    response = api(cast.owner).post("/api/v1/projects/", "name=x", content_type="application/x-www-form-urlencoded")
    assert_problem(response, 415, "unsupported-media-type")


def test_another_method_is_a_405(cast: Cast, api: Any) -> None:
    assert_problem(api(cast.owner).send("DELETE", path(cast)), 405, "method-not-allowed")
    assert_problem(api(cast.owner).send("OPTIONS", path(cast)), 405, "method-not-allowed")


def test_an_unknown_address_under_the_api_is_a_problem_too(db: None, api: Any) -> None:
    assert_problem(api().send("GET", "nothing/here/"), 404, "not-found")


def test_a_crash_under_the_api_is_a_problem_too(cast: Cast, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*args: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("annotate.api.views.View.listed", crash)
    assert_problem(api(cast.owner).send("GET", "projects/"), 500, "internal")


def test_a_database_that_is_away_is_a_503_with_retry_after(cast: Cast, api: Any, monkeypatch: Any) -> None:
    def away(*args: object) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr("annotate.api.views.View.listed", away)
    response = api(cast.owner).send("GET", "projects/")
    assert_problem(response, 503, "unavailable")
    assert response.headers["Retry-After"] == "5"


def test_pages_follow_their_cursors_to_the_end(cast: Cast, api: Any) -> None:
    for n in range(4):
        people.create_project(f"P{n}", owner=cast.owner)
    client = api(cast.owner)
    first = client.send("GET", "projects/?limit=2").json()
    second = client.get(first["next"]).json()
    third = client.get(second["next"]).json()
    names = [row["name"] for page in (first, second, third) for row in page["results"]]
    assert names == ["P3", "P2", "P1", "P0", "Helpfulness"]
    assert third["next"] is None


@pytest.mark.parametrize("limit", ["201", "0", "-1", "x", "", "1e2", "99999999999999999999", "٣"])
def test_a_limit_outside_the_cap_is_a_400(cast: Cast, api: Any, limit: str) -> None:
    assert_problem(api(cast.owner).send("GET", f"projects/?limit={limit}"), 400, "malformed")


@pytest.mark.parametrize(
    "cursor", ["x", "cD1hYmM=", "cD05OTk5OTk5OTk5OTk5OTk5OTk5OQ==", "cD0lMDA=", "bz14", "%00", "cD0x4pyT"]
)
def test_a_made_up_cursor_is_a_400_or_an_empty_page(cast: Cast, api: Any, cursor: str) -> None:
    assert api(cast.owner).send("GET", f"projects/?cursor={cursor}").status_code in (200, 400)


@pytest.mark.parametrize(
    "query", ["task=x", "task=%00", "source=alien", "submitted_after=yesterday", "recorded=%F0%9F%98%80"]
)
def test_a_filter_value_that_is_none_is_a_400_or_ignored(cast: Cast, api: Any, query: str) -> None:
    assert api(cast.owner).send("GET", path(cast, f"annotations/?{query}")).status_code in (200, 400)


@pytest.mark.parametrize(
    "query",
    [
        "annotator__user__password__startswith=a",
        "annotator__user__email=owner@example.org",
        "ordering=annotator__user__password",
        "task__project__created_by__api_tokens__digest__startswith=0",
    ],
)
def test_a_filter_that_nobody_listed_is_a_400_that_names_it(cast: Cast, api: Any, query: str) -> None:
    response = api(cast.owner).send("GET", path(cast, f"tasks/?{query}"))
    assert response.status_code == 400
    assert response.json()["detail"] == f"The parameter {query.partition('=')[0][:40]!r} is not known here."
    assert api(cast.owner).send("POST", path(cast, f"tasks/?{query}"), {}).status_code == 400


@pytest.mark.parametrize("extra", ["id", "created_by", "role", "public_id", "currency"])
def test_a_field_that_nobody_listed_is_refused_by_name(cast: Cast, api: Any, extra: str) -> None:
    response = api(cast.owner).send("PATCH", path(cast), {"name": "New", extra: "x"})
    assert response.status_code == 422
    assert response.json()["errors"] == {extra: "There is no such field."}
    cast.project.refresh_from_db()
    assert (cast.project.name, cast.project.created_by) == ("Helpfulness", cast.owner)


def test_too_many_requests_are_a_429_with_retry_after(cast: Cast, api: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PerToken, "THROTTLE_RATES", {"token": "2/min"})
    client, other = api(cast.owner), api(cast.owner)
    assert [client.send("GET", "projects/").status_code for _ in range(2)] == [200, 200]
    response = client.send("GET", "projects/")
    assert_problem(response, 429, "throttled")
    assert 1 <= int(response.headers["Retry-After"]) <= 61
    assert other.send("GET", "projects/").status_code == 200


def test_an_idempotency_key_makes_one_thing_and_repeats_its_reply(cast: Cast, api: Any) -> None:
    client, body = api(cast.owner), {"name": "Once", "questions": QUESTIONS}
    first = client.send("POST", path(cast, "tasks/"), body, **{"Idempotency-Key": "k1"})
    again = client.send("POST", path(cast, "tasks/"), body, **{"Idempotency-Key": "k1"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again.headers["Idempotent-Replay"] == "true"
    assert Task.objects.filter(name="Once").count() == 1


def test_a_key_with_another_body_is_a_409_and_belongs_to_its_user(cast: Cast, api: Any) -> None:
    client = api(cast.owner)
    client.send("POST", "projects/", {"name": "One"}, **{"Idempotency-Key": "k"})
    response = client.send("POST", "projects/", {"name": "Two"}, **{"Idempotency-Key": "k"})
    assert_problem(response, 409, "idempotency-key-reused")
    assert api(cast.manager).send("POST", "projects/", {"name": "Two"}, **{"Idempotency-Key": "k"}).status_code == 201


def test_a_refused_request_does_not_use_its_key_up(cast: Cast, api: Any) -> None:
    client = api(cast.owner)
    assert client.send("POST", "projects/", {"name": ""}, **{"Idempotency-Key": "k"}).status_code == 422
    assert client.send("POST", "projects/", {"name": "Good"}, **{"Idempotency-Key": "k"}).status_code == 201


@pytest.mark.parametrize("key", ["x" * 201, "a b", "\xe9"])
def test_a_key_that_is_none_is_a_400(cast: Cast, api: Any, key: str) -> None:
    response = api(cast.owner).send("POST", "projects/", {"name": "x"}, **{"Idempotency-Key": key})
    assert_problem(response, 400, "malformed")


def test_nested_errors_become_paths() -> None:
    detail = {"tasks": [{}, {"name": ["Too long."]}], "non_field_errors": ["Not together."]}
    assert problems.flat(detail) == {"tasks.1.name": "Too long.", "body": "Not together."}
