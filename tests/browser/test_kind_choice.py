"""Choices on the screen: by mouse and by key, with conditions; what is chosen is stored, told and exported."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.answering import ask, by_api, frozen, stored, submit
from tests.browser.visiting import Visitors, Worker, eventually
from tests.conftest import make_cast

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

SAFE = {"kind": "choice", "name": "safe", "title": "Is it safe?", "options": ["Yes", "No", "<b>Maybe</b>"]}
HARM = {
    "kind": "choice",
    "name": "harm",
    "title": "What is harmful?",
    "options": ["Violence", "Self-harm", "Other"],
    "multiple": True,
    "when": {"question": "safe", "values": ["No"]},
}
HOW = {
    "kind": "choice",
    "name": "how",
    "title": "How bad is it?",
    "options": ["Little", "Very"],
    "when": {"question": "harm", "values": ["Violence", "Other"]},
}
TONE = {"kind": "choice", "name": "tone", "title": "What is the tone?", "options": ["Kind", "Cold"], "required": False}
TEXTS = ["First", "Second"]


def section(page: Page, name: str) -> Any:
    return page.locator(f'[data-question="{name}"]')


def by_mouse(page: Page) -> None:
    section(page, "safe").get_by_text("No", exact=True).click()
    section(page, "harm").get_by_text("Violence").click()
    section(page, "harm").get_by_text("Other").click()
    section(page, "harm").get_by_text("Violence").click()
    section(page, "how").get_by_text("Very").click()


def by_key(page: Page) -> None:
    for key in ("2", "j", "1", "3", "j", "1", "j", "2"):
        page.keyboard.press(key)


def takes_it_back(page: Page) -> None:
    """What was chosen under a condition is not sent once the condition is no longer met."""
    by_mouse(page)
    section(page, "safe").get_by_role("button").click()
    page.keyboard.press("1")
    expect(section(page, "harm")).to_be_hidden()
    expect(section(page, "how")).to_be_hidden()


CASES = {
    "mouse": (by_mouse, {"safe": ["No"], "harm": ["Other"], "how": ["Very"]}),
    "keys": (by_key, {"safe": ["No"], "harm": ["Violence", "Other"], "how": ["Little"], "tone": ["Cold"]}),
    "back": (takes_it_back, {"safe": ["Yes"]}),
}


@pytest.mark.parametrize("order", [[0, 1], [1, 0]], ids=["stored order", "sides exchanged"])
def test_what_is_chosen_is_stored_told_and_exported(visitors: Visitors, worker: Worker, order: list[int]) -> None:
    cast = make_cast(instances=0)
    task = ask(cast, [SAFE, HARM, HOW, TONE], [(name, TEXTS, order) for name in CASES])
    page = visitors.page(cast.annotator)
    page.goto(f"/label/{task.public_id}/")
    for act, _ in CASES.values():
        expect(section(page, "harm")).to_be_hidden()
        act(page)
        submit(page)

    wanted = {
        name: {question: {"values": values} for question, values in chosen.items()}
        for name, (_, chosen) in CASES.items()
    }
    assert stored(task) == wanted
    assert by_api(cast, visitors.site.url, task) == wanted
    rows = {row["external_id"]: row for row in frozen(cast, task, ["raw"])["raw"]}
    assert {name: json.loads(row["answers"]) for name, row in rows.items()} == wanted
    for name, (_, chosen) in CASES.items():
        assert {key: rows[name][f"answer.{key}"] for key in chosen} == chosen


def test_a_question_appears_and_goes_with_its_condition_and_a_draft_brings_it_back(visitors: Visitors) -> None:
    from feedback.models import Assignment

    cast = make_cast(instances=0)
    task = ask(cast, [SAFE, HARM, HOW], [("x", TEXTS, [1, 0])])
    page = visitors.page(cast.annotator)
    page.goto(f"/label/{task.public_id}/")
    expect(page.locator("#missing")).to_have_text("Choose an option")
    page.keyboard.press("2")
    expect(section(page, "harm")).to_be_visible()
    expect(page.locator("#missing")).to_have_text("Answer question 2")
    page.keyboard.press("j")
    page.keyboard.press("3")
    expect(section(page, "how")).to_be_visible()
    draft = {"safe": {"values": ["No"]}, "harm": {"values": ["Other"]}}
    eventually(lambda: Assignment.objects.get(task=task).draft == draft, page=page)
    page.reload()
    expect(section(page, "how")).to_be_visible()
    expect(section(page, "harm").locator("[data-summary]")).to_have_text("Other")
    assert section(page, "safe").locator("b").count() == 0
