"""Every route × role: outsiders get a 404, members without the permission a 403, foreign ids a 404.

The routes are found by walking the URL configuration, so a route that declares nothing fails here.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from feedback.models import Annotation, Job, JobKind, MediaFile, Membership, Role
from feedback.services import people, queue
from feedback.services.people import PERMISSIONS
from tests.annotate.routes import Route, routes
from tests.conftest import Cast, make_cast, make_user

ROLES = list(Role.values)

# pages that belong to no project: what they are, and why that is right
ABOVE_PROJECTS = {
    "projects": "a person's own projects",
    "project-create": "anybody logged in",
    "queue": "a person's own queue",
    "history": "a person's own answers",
    "prepared": "looked up through the person's memberships",
    "hand-back": "own assignment",
    "beside": "looked up through the person's memberships, then own answers",
    "keys": "a person's own keys",
    "languages": "a person's own memberships",
    "work": "looked up through the person's memberships",
    "draft": "own assignment",
    "submit": "own assignment",
    "undo": "own assignment",
    "skip": "own assignment",
    "flag": "own assignment",
    "annotation-edit": "own annotation",
    "annotation-draft": "own annotation",
    "tokens": "own tokens",
    "token-revoke": "own token",
    "api-tokens": "own tokens",
    "api-token": "own token",
    "api-projects": "a person's own projects",
    "api-queue": "a person's own queue",
}
# and what is for everybody, logged in or not
PUBLIC = {"language", "login-link", "invitation", "api-schema", "api-definition-schema", "health", "ready"}

ALL = routes()
IN_PROJECT = [route for route in ALL if "project" in route.arguments]
PAGES = [route for route in IN_PROJECT if not route.is_api]
API = [route for route in IN_PROJECT if route.is_api]


def name_of(route: Route) -> str:
    return route.name


def test_every_route_has_a_name_and_declares_who_may_use_it() -> None:
    undeclared = [
        route.path
        for route in ALL
        if not (route.permission or route.needs or route.name in ABOVE_PROJECTS or route.name in PUBLIC)
    ]
    assert undeclared == []
    assert all(route.name for route in ALL)
    names = [route.name for route in ALL]
    assert sorted(names) == sorted(set(names))


def test_every_page_of_a_project_stands_behind_in_project() -> None:
    assert [route.name for route in PAGES if route.permission not in PERMISSIONS[Role.OWNER]] == []


def test_every_api_view_of_a_project_asks_for_scope_and_permission() -> None:
    for route in API:
        assert route.needs, route.name
        for method, need in route.needs.items():
            assert need.permission in PERMISSIONS[Role.OWNER], (route.name, method)
            assert need.scope in ("read", "annotate", "write", "train"), (route.name, method)


def ask(client: Any, route: Route, **known: Any) -> Any:
    """GET, or POST where GET is none of its methods."""
    url = route.url(**known)
    response = client.get(url)
    return client.post(url) if response.status_code == 405 else response


@pytest.mark.parametrize("route", PAGES, ids=name_of)
def test_a_visitor_is_sent_to_the_login(cast: Cast, browser: Any, route: Route) -> None:
    response = ask(browser(), route, project=cast.project.public_id)
    assert response.status_code == 302
    assert response.url.startswith("/account/login/")


@pytest.mark.parametrize("route", PAGES, ids=name_of)
def test_an_outsider_finds_nothing(cast: Cast, browser: Any, route: Route) -> None:
    assert ask(browser(cast.outsider), route, project=cast.project.public_id).status_code == 404


@pytest.mark.parametrize("route", PAGES, ids=name_of)
def test_a_page_opens_for_exactly_the_roles_with_its_permission(cast: Cast, browser: Any, route: Route) -> None:
    for role in ROLES:
        response = ask(browser(getattr(cast, role)), route, project=cast.project.public_id)
        allowed = route.permission in PERMISSIONS[role]
        assert response.status_code != 500, role
        assert (response.status_code == 403) is not allowed, role
        if set(route.arguments) == {"project"} and allowed:
            assert response.status_code < 400 or response.status_code == 422, (role, response.content[:300])


def call(client: Any, method: str, route: Route, **known: Any) -> Any:
    body = {} if method == "GET" else {"data": "{}", "content_type": "application/json"}
    return getattr(client, method.lower())(route.url(**known), **body)


@pytest.mark.parametrize("route", API, ids=name_of)
def test_the_api_needs_a_token(cast: Cast, api: Any, route: Route) -> None:
    for method in route.needs:
        response = call(api(), method, route, project=cast.project.public_id)
        assert response.status_code == 401, method
        assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("route", API, ids=name_of)
def test_the_api_shows_an_outsider_nothing(cast: Cast, api: Any, route: Route) -> None:
    client = api(cast.outsider)
    for method in route.needs:
        assert call(client, method, route, project=cast.project.public_id).status_code == 404, method


@pytest.mark.parametrize("route", API, ids=name_of)
def test_the_api_answers_exactly_the_roles_with_the_permission(cast: Cast, api: Any, route: Route) -> None:
    for role in ROLES:
        client = api(getattr(cast, role))
        for method, need in route.needs.items():
            response = call(client, method, route, project=cast.project.public_id)
            assert response.status_code != 500, (role, method, response.content[:300])
            assert (response.status_code == 403) is (need.permission not in PERMISSIONS[role]), (role, method)


@pytest.mark.parametrize("route", API, ids=name_of)
def test_a_token_without_the_scope_is_refused(cast: Cast, api: Any, route: Route) -> None:
    for method, need in route.needs.items():
        others = [scope for scope in ("read", "annotate", "write", "train") if scope != need.scope]
        response = call(api(cast.owner, *others), method, route, project=cast.project.public_id)
        assert response.status_code == 403, method


@pytest.fixture
def foreign(cast: Cast) -> tuple[Any, Any, dict[str, Any]]:
    """A project of one's own, and ids of what belongs to the cast's project."""
    stranger = make_user("stranger")
    own = people.create_project("Own", owner=stranger)
    assignment = queue.next_assignment(cast.task, cast.annotator)
    queue.submit(assignment, submission_id=uuid4(), answers={"overall": {"value": "tie"}}, active_ms=0)
    ids = {
        "task": cast.task,
        "instance": cast.task.instances.first(),
        "assignment": assignment,
        "annotation": Annotation.objects.get(),
        "member": cast.annotator,
        "media": MediaFile.objects.create(
            task=cast.task,
            name="a",
            kind="image",
            content_type="image/png",
            sha256="0" * 64,
            size=1,
            created_by=cast.owner,
        ),
        "job": Job.objects.create(project=cast.project, kind=JobKind.FREEZE),
    }
    return stranger, own, {name: row.public_id for name, row in ids.items()}


def test_ids_of_another_project_are_not_found_on_pages(foreign: Any, browser: Any) -> None:
    stranger, own, ids = foreign
    client = browser(stranger)
    for route in PAGES:
        if set(route.arguments) & set(ids):
            assert ask(client, route, project=own.public_id, **ids).status_code == 404, route.name
        else:
            url = route.url(project=own.public_id)
            assert client.get(f"{url}?task={ids['task']}").status_code in (200, 302, 404, 405), route.name


def test_ids_of_another_project_are_not_found_by_the_api(foreign: Any, api: Any) -> None:
    stranger, own, ids = foreign
    client = api(stranger)
    for route in API:
        if set(route.arguments) & set(ids):
            for method in route.needs:
                response = call(client, method, route, project=own.public_id, **ids)
                # a body is checked after its row is found
                assert response.status_code == 404, (route.name, method)


def test_a_member_of_two_projects_cannot_mix_their_ids(db: None, browser: Any) -> None:
    one = make_cast()
    other = people.create_project("Other", owner=one.owner)
    url = f"/p/{other.public_id}/tasks/{one.task.public_id}/"
    assert browser(one.owner).get(url).status_code == 404


@pytest.mark.parametrize("name", sorted(ABOVE_PROJECTS))
def test_pages_above_projects_need_a_login(cast: Cast, browser: Any, api: Any, name: str) -> None:
    route = next(route for route in ALL if route.name == name)
    if route.is_api:
        assert {call(api(), method, route).status_code for method in route.needs} == {401}
        return
    client = browser()
    statuses = {getattr(client, method)(route.url()).status_code for method in ("get", "post", "put")}
    assert statuses <= {302, 401, 405}
    assert statuses != {405}


def test_losing_the_membership_closes_every_page_at_once(cast: Cast, browser: Any) -> None:
    client = browser(cast.manager)
    url = f"/p/{cast.project.public_id}/"
    assert client.get(url).status_code == 200
    Membership.objects.filter(user=cast.manager).delete()
    assert client.get(url).status_code == 404
