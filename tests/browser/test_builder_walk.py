"""The builder in Chromium: a task with every kind of question built by keyboard alone, previewed, and put to use."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from feedback import drafting
from tests.browser.visiting import Visitors, eventually
from tests.conftest import Cast, make_cast

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def tab_to(page: Page, selector: str, *, back: bool = False) -> None:
    """Press Tab until the element has the focus; fails when no way leads there."""
    expect(page.locator(selector)).to_be_visible()
    for _ in range(150):
        if page.evaluate("(selector) => document.activeElement?.matches(selector)", selector):
            return
        page.keyboard.press("Shift+Tab" if back else "Tab")
    raise AssertionError(f"Tab never leads to {selector}")


def press(page: Page, selector: str) -> None:
    tab_to(page, selector)
    page.keyboard.press("Enter")


def write(page: Page, selector: str, text: str) -> None:
    tab_to(page, selector)
    page.keyboard.press("Control+A")
    page.keyboard.type(text)


def draft_of(task: Any) -> list[dict[str, Any]]:
    from feedback.services import drafts

    return drafts.draft_of(task).questions


def begun(visitors: Visitors, cast: Cast, **options: Any) -> Page:
    page = visitors.page(cast.manager, **options)
    page.goto(f"/p/{cast.project.public_id}/tasks/{cast.task.public_id}/questions/")
    return page


def test_a_task_of_all_kinds_is_built_previewed_and_used_by_keyboard_alone(visitors: Visitors) -> None:
    from feedback.models import Task

    cast = make_cast(instances=0)
    page = visitors.page(cast.manager)
    page.goto(f"/p/{cast.project.public_id}/tasks/new/")
    write(page, "#id_name", "All kinds")
    press(page, ".form-footer .button-primary")
    expect(page).to_have_url(re.compile(r"/questions/$"))
    questions = page.locator(".builder-question")
    expect(questions).to_have_count(1)
    for count, kind in enumerate(["ranking", "rating", "span", "critique", "choice"], start=2):
        press(page, f"#add-{kind}")
        expect(questions).to_have_count(count)
    task = Task.objects.get(name="All kinds")
    assert {one["kind"] for one in draft_of(task)} == set(drafting.STARTS)

    write(page, "#cell-title", "Is it about code?")
    expect(page.locator("#builder-state")).to_have_text("Draft saved")
    expect(page.locator(".is-open [data-title]")).to_have_text("Is it about code?")
    assert draft_of(task)[-1]["title"] == "Is it about code?"
    press(page, "#up-5")
    expect(page.locator("#up-4")).to_be_focused()  # so that Enter moves it on
    page.keyboard.press("Enter")
    expect(page.locator("#up-3")).to_be_focused()
    assert [one["kind"] for one in draft_of(task)][3] == "choice"
    press(page, '[aria-label="Duplicate question 4"]')
    expect(questions).to_have_count(7)
    press(page, '[aria-label="Remove question 5"]')
    expect(questions).to_have_count(6)

    press(page, 'button[value="task-preview"]')
    room = page.frame_locator("iframe")
    expect(room.locator(".question")).to_have_count(6)
    tab_to(page, "iframe")
    page.keyboard.press("Tab")
    room.locator("#main").focus()
    page.keyboard.press("1")
    expect(room.locator('input[value="a-is-clearly-better"]').first).to_be_checked()
    page.go_back()
    press(page, 'button[value="questions-review"]')
    expect(page.get_by_role("cell", name="Nobody is asked").or_(page.locator(".badge-success"))).to_have_count(5)
    press(page, ".form-footer .button-primary")
    expect(page).to_have_url(re.compile(rf"/tasks/{task.public_id}/$"))
    task.refresh_from_db()
    assert task.questions_version == 2
    assert [one["kind"] for one in task.questions] == ["preference", "ranking", "rating", "choice", "span", "critique"]


def test_what_is_typed_is_kept_and_told_apart_when_it_is_wrong(visitors: Visitors) -> None:
    cast = make_cast()
    page = begun(visitors, cast)
    page.fill("#cell-title", "")
    expect(page.locator('[data-error-of="title"]')).to_contain_text("at least 1 character")
    expect(page.locator(".is-open [data-errors]")).to_be_visible()
    expect(page.frame_locator("#builder-room").locator("h2")).to_contain_text("not right yet")
    page.fill("#cell-title", "Better?")
    expect(page.locator(".is-open [data-errors]")).to_be_hidden()
    expect(page.frame_locator("#builder-room").locator(".question-title").first).to_contain_text("Better?")
    page.reload()
    expect(page.locator("#cell-title")).to_have_value("Better?")


def test_leaving_right_after_typing_loses_nothing(visitors: Visitors) -> None:
    cast = make_cast()
    page = begun(visitors, cast)
    page.fill("#cell-title", "Typed at the last moment")
    page.goto("/projects/new/")
    eventually(lambda: draft_of(cast.task)[0]["title"] == "Typed at the last moment", page=page)


def test_a_question_is_dragged_by_its_grip(visitors: Visitors) -> None:
    cast = make_cast()
    page = begun(visitors, cast)
    for count, kind in enumerate(["choice", "critique"], start=2):
        page.click(f"#add-{kind}")
        expect(page.locator(".builder-question")).to_have_count(count)
    page.click("#open-2")
    first = page.locator(".builder-question").first.bounding_box()
    grip = page.locator("#question-2 [data-grip]").bounding_box()
    assert first
    assert grip
    page.mouse.move(grip["x"] + 8, grip["y"] + 8)
    page.mouse.down()
    page.mouse.move(first["x"] + 30, first["y"] + 10, steps=5)
    expect(page.locator(".drop-before")).to_have_count(1)
    page.mouse.up()
    eventually(lambda: draft_of(cast.task)[0]["kind"] == "critique", page=page)


def test_a_stale_page_says_so_and_shows_what_was_typed(visitors: Visitors) -> None:
    visitors.faults.expected.append("status of 409")
    cast = make_cast()
    page, other = begun(visitors, cast), begun(visitors, cast)
    other.fill("#cell-title", "Theirs")
    expect(other.locator("#builder-state")).to_have_text("Draft saved")
    page.fill("#cell-title", "Mine")
    expect(page.locator("#builder-state")).to_contain_text("changed in another tab")
    page.click("#add-choice")
    expect(page.locator(".notice-danger")).to_contain_text("Mine")
    expect(page.locator("#cell-title")).to_have_value("Theirs")
    assert len(draft_of(cast.task)) == 1


def test_the_preview_takes_the_width_of_a_phone(visitors: Visitors) -> None:
    cast = make_cast(instances=0)
    page = visitors.page(cast.manager)
    page.goto(f"/p/{cast.project.public_id}/presets/multipref/")
    room = page.frame_locator("iframe")
    expect(room.locator(".question").first).to_be_visible()
    page.get_by_role("button", name="Phone").click()
    expect(page.locator("iframe")).to_have_css("width", "390px")
    expect(room.locator(".letters")).to_be_visible()
