"""Projects: listing, making, settings and the trail."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from feedback.models import AuditEvent, Project
from feedback.services import people
from tests.conftest import Cast


def test_a_person_sees_only_own_projects(cast: Cast, browser: Any) -> None:
    people.create_project("Secret", owner=cast.outsider)
    body = browser(cast.viewer).get("/").content.decode()
    assert "Helpfulness" in body
    assert "Secret" not in body


def test_an_annotator_is_led_to_the_queue_rather_than_to_a_refusal(cast: Cast, browser: Any) -> None:
    body = browser(cast.annotator).get("/").content.decode()
    assert reverse("overview", args=[cast.project.public_id]) not in body


def test_somebody_without_projects_is_offered_one(cast: Cast, browser: Any) -> None:
    assert "No project yet" in browser(cast.outsider).get("/").content.decode()


@pytest.mark.parametrize("name", ["projects", "queue", "tokens", "project-create"])
def test_pages_above_a_project_lead_to_each_other(cast: Cast, browser: Any, name: str) -> None:
    body = browser(cast.owner).get(reverse(name)).content.decode()
    assert all(f'class="rail-link" href="{reverse(target)}"' in body for target in ("projects", "queue", "tokens"))


def test_making_a_project_makes_its_owner(cast: Cast, browser: Any) -> None:
    response = browser(cast.outsider).post(reverse("project-create"), {"name": "New", "currency": "EUR"})
    project = Project.objects.get(name="New")
    assert response.url == reverse("overview", args=[project.public_id])
    assert (project.currency, project.memberships.get().role) == ("EUR", "owner")


@pytest.mark.parametrize(
    "body",
    [
        {"name": "", "currency": "EUR"},
        {"name": "x" * 121, "currency": "EUR"},
        {"name": "a\u0000b", "currency": "EUR"},
        {"name": "\ud800", "currency": "EUR"},
        {"name": "x", "currency": "euro"},
        {"name": "x", "currency": "EUR", "description": "y" * 4001},
    ],
)
def test_a_bad_project_is_a_clear_4xx(cast: Cast, browser: Any, body: dict[str, str]) -> None:
    encoded = "&".join(f"{key}={value}" for key, value in body.items()).encode("utf-8", "surrogatepass")
    kind = "application/x-www-form-urlencoded"
    response = browser(cast.owner).post(reverse("project-create"), encoded, content_type=kind)
    assert response.status_code == 422
    assert Project.objects.count() == 1


def test_settings_are_saved_and_leave_a_trail(cast: Cast, browser: Any) -> None:
    client, url = browser(cast.owner), reverse("settings", args=[cast.project.public_id])
    assert client.post(url, {"name": "Renamed", "description": "why"}).status_code == 302
    cast.project.refresh_from_db()
    assert cast.project.name == "Renamed"
    assert AuditEvent.objects.filter(action="project.edit").exists()
    assert "project.edit" in client.get(url).content.decode()
    assert client.post(url, {"name": ""}).status_code == 422


def test_the_list_asks_a_fixed_number_of_queries(cast: Cast, browser: Any, django_assert_max_num_queries: Any) -> None:
    for n in range(12):
        people.create_project(f"P{n}", owner=cast.owner)
    client = browser(cast.owner)
    with django_assert_max_num_queries(6):
        assert client.get("/").status_code == 200


@pytest.mark.parametrize("name", ["dataset-create", "plan-create"])
def test_a_page_about_a_task_leads_to_making_the_first_one(cast: Cast, browser: Any, name: str) -> None:
    empty = people.create_project("Empty", owner=cast.owner)
    response = browser(cast.owner).get(reverse(name, args=[empty.public_id]), follow=True)
    assert response.redirect_chain == [(reverse("task-create", args=[empty.public_id]), 302)]
    assert "This needs a task" in response.content.decode()
