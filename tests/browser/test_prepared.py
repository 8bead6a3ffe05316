"""The next instance is there when this one is submitted, and goes back to the line when the tab closes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page, Request, expect

from feedback.services.queue.line import AT_ONCE
from tests.browser.visiting import Visitors, eventually
from tests.conftest import Cast, make_cast

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return make_cast(instances=AT_ONCE + 4)


def open_work(visitors: Visitors, cast: Cast) -> tuple[Page, list[str]]:
    """The page, and the methods and paths of all that it asks for from now on."""
    page = visitors.page(cast.annotator)
    page.goto(f"/label/{cast.task.public_id}/")
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(f"{request.method} {request.url.removeprefix(visitors.site.url)}")

    page.context.on("request", note)
    return page, asked


def work_data(page: Page) -> dict[str, Any]:
    return dict(json.loads(page.locator("#work-data").text_content() or "{}"))


def lent() -> list[Any]:
    from feedback.models import Assignment

    return list(Assignment.objects.filter(state="lent").order_by("created_at"))


def test_the_prepared_instance_is_shown_without_asking_again(visitors: Visitors, cast: Cast) -> None:
    page, asked = open_work(visitors, cast)
    work = f"/label/{cast.task.public_id}/"
    page.keyboard.press("1")
    eventually(lambda: len(lent()) == 2, page=page)
    first, second = lent()
    page.keyboard.press("Enter")
    eventually(lambda: work_data(page)["assignment"] == str(second.public_id), page=page)
    assert asked.count(f"GET {work}prepared/") == 1
    assert f"GET {work}" not in asked
    assert page.url.endswith(work)
    expect(page.locator(".room-progress")).to_contain_text("1 /")
    soon = second.lease_expires_at
    eventually(lambda: lent()[0].lease_expires_at > soon, page=page)  # shown, it is lent like any other
    first.refresh_from_db()
    assert first.state == "submitted"
    page.keyboard.press("u")
    eventually(lambda: work_data(page)["assignment"] == str(first.public_id), page=page)


def test_closing_the_tab_gives_the_prepared_instance_back(visitors: Visitors, cast: Cast) -> None:
    page, _ = open_work(visitors, cast)
    page.keyboard.press("1")
    eventually(lambda: len(lent()) == 2, page=page)
    expect(page.locator("#save-state")).to_have_text("Saved")
    page.goto("about:blank")
    (left,) = eventually(lambda: lent() if len(lent()) == 1 else None, page=page)
    assert left.draft != {}


def test_going_back_to_an_answer_does_not_skip_the_instance_in_hand(visitors: Visitors, cast: Cast) -> None:
    page, _ = open_work(visitors, cast)
    shown = [work_data(page)["assignment"]]
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    eventually(lambda: work_data(page)["assignment"] not in shown, page=page)
    in_hand = work_data(page)["assignment"]
    page.keyboard.press("2")
    eventually(lambda: len(lent()) == 2, page=page)
    page.keyboard.press("ArrowLeft")
    eventually(lambda: work_data(page)["assignment"] == shown[0], page=page)
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    eventually(lambda: work_data(page)["assignment"] == in_hand, page=page)
    expect(page.locator(".strength-main input:checked")).to_have_value("a-is-slightly-better")
