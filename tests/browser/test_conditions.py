"""Questions of every kind under a condition: shown, asked and stored only while it is met, by key and by mouse."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from feedback.models import Assignment
from tests.browser.answering import ask, by_api, stored, submit
from tests.browser.visiting import Visitors, eventually
from tests.conftest import make_cast

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

TEXTS = ["First text", "Second text"]
OVERALL = {"kind": "preference", "name": "overall", "title": "Which is better?", "allow_other_reason": False}
SAFE = {"kind": "choice", "name": "safe", "title": "Is it safe?", "options": ["Yes", "No"]}
WRONG = {
    "kind": "span",
    "name": "wrong",
    "title": "What is unsafe?",
    "types": [{"name": "Unsafe"}],
    "when": {"question": "safe", "values": ["No"]},
}
TIED = {
    "kind": "rating",
    "name": "tied",
    "title": "How good are both?",
    "per": "instance",
    "scales": [{"name": "Quality"}],
    "when": {"question": "overall", "values": ["tie"]},
}
BAD = {
    "kind": "critique",
    "name": "bad",
    "title": "What is bad?",
    "ask_refinement": True,
    "required": True,
    "when": {"question": "overall", "values": ["both-bad"]},
}
ORDER = {
    "kind": "ranking",
    "name": "order",
    "title": "Order them all the same",
    "when": {"question": "overall", "values": ["tie", "both-bad"]},
}
CONDITIONAL = ("wrong", "tied", "bad", "order")


def section(page: Page, name: str) -> Any:
    return page.locator(f'[data-question="{name}"]')


def shown(page: Page, *names: str) -> None:
    for name in CONDITIONAL:
        expect(section(page, name)).to_be_visible(visible=name in names)


def painted(page: Page) -> int:
    return int(page.evaluate("CSS.highlights.get('span-1')?.size ?? 0"))


@pytest.mark.parametrize("order", [[0, 1], [1, 0]], ids=["stored order", "sides exchanged"])
def test_each_kind_is_asked_and_stored_only_while_its_condition_is_met(visitors: Visitors, order: list[int]) -> None:
    cast = make_cast(instances=0)
    names = ("plain", "tied", "bad")
    task = ask(cast, [OVERALL, SAFE, WRONG, TIED, BAD, ORDER], [(name, TEXTS, order) for name in names])
    page = visitors.page(cast.annotator)
    page.goto(f"/label/{task.public_id}/")
    shown(page)
    for key in ("1", "j", "1"):
        page.keyboard.press(key)
    shown(page)
    submit(page)

    page.keyboard.press("9")
    shown(page, "bad", "order")
    section(page, "bad").locator("textarea").first.fill("Never sent")
    section(page, "bad").locator("[data-refine]").first.click()
    refinement = page.locator('[data-refining="bad"] [data-refinement]').first
    expect(refinement).to_be_visible()
    section(page, "overall").get_by_role("button").click()
    page.keyboard.press("0")
    shown(page, "tied", "order")
    expect(refinement).to_be_hidden()
    for key in ("j", "1", "j", "4", "j", "1", "2"):  # safe, then the first conditional question that is asked
        page.keyboard.press(key)
    submit(page)

    page.keyboard.press("9")
    section(page, "bad").locator("textarea").first.fill("Both lie")
    section(page, "order").get_by_role("button").first.click()
    for key in ("1", "2"):
        page.keyboard.press(key)
    section(page, "safe").get_by_role("button").click()
    page.keyboard.press("1")
    shown(page, "bad", "order")
    submit(page)

    told = stored(task)
    assert by_api(cast, visitors.site.url, task) == told
    yes = {"values": ["Yes"]}
    assert set(told["plain"]) == {"overall", "safe"}
    groups = [[order[0]], [order[1]]]
    assert {name: told["tied"][name] for name in ("safe", "tied")} == {
        "safe": yes,
        "tied": {"ratings": {"Quality": [4]}},
    }
    assert set(told["tied"]) == {"overall", "safe", "tied", "order"}
    assert told["tied"]["order"]["groups"] == told["bad"]["order"]["groups"] == groups
    assert set(told["bad"]) == {"overall", "safe", "bad", "order"}
    assert told["bad"]["bad"]["critiques"][order[0]] == "Both lie"


def test_spans_of_a_question_that_is_not_asked_are_on_no_text_and_come_back(visitors: Visitors) -> None:
    cast = make_cast(instances=0)
    task = ask(cast, [SAFE, WRONG], [("x", TEXTS, [0, 1])])
    span = {"target": 0, "start": 0, "end": 5, "type": "Unsafe"}
    page = visitors.page(cast.annotator)
    page.goto(f"/label/{task.public_id}/")
    page.keyboard.press("2")
    shown(page, "wrong")
    page.keyboard.press("j")
    page.keyboard.press("m")
    for key in (*["Shift+ArrowRight"] * 5, "1"):
        page.keyboard.press(key)
    expect(section(page, "wrong").locator("[data-span-groups]")).to_contain_text("First")
    assert painted(page) > 0
    kept = {**span, "subtype": "", "severity": "", "comment": "", "confidence": None}
    draft = {"safe": {"values": ["No"]}, "wrong": {"spans": [kept], "missing": []}}
    eventually(lambda: Assignment.objects.get(task=task).draft == draft, page=page)
    page.reload()
    eventually(lambda: painted(page) > 0, page=page)
    section(page, "safe").get_by_text("Yes", exact=True).click()
    shown(page)
    assert painted(page) == 0
    section(page, "safe").get_by_text("No", exact=True).click()
    shown(page, "wrong")
    assert painted(page) > 0
    section(page, "safe").get_by_text("Yes", exact=True).click()
    submit(page)
    assert stored(task) == {"x": {"safe": {"values": ["Yes"]}}}
