"""Ratings on the screen: steps, sliders and rubrics, by mouse and by key, in any order of the completions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.answering import ask, by_api, frozen, stored, submit
from tests.browser.visiting import Visitors, Worker
from tests.conftest import make_cast

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

ULTRA = {
    "kind": "rating",
    "name": "quality",
    "title": "Rate each completion",
    "scales": [
        {"name": "Honesty", "labels": ["dishonest", "honest"]},
        {"name": "Helpfulness", "low": 0, "high": 10},
    ],
}
PRISM = {
    "kind": "rating",
    "name": "prism",
    "title": "How good is each completion?",
    "widget": "slider",
    "scales": [{"name": "Overall", "low": 1, "high": 100}, {"name": "Fluency", "low": 1, "high": 100}],
    "required": False,
}
RUBRIC = {
    "kind": "rating",
    "name": "rubric",
    "title": "Score the instance",
    "widget": "rubric",
    "per": "instance",
    "scales": [{"name": "Cites", "low": 0, "high": 2, "weight": 2}, {"name": "Tone", "weight": 0.5}],
}
TEXTS = ["Zero", "One", "Two"]
ORDERS = [[0, 1, 2], [2, 0, 1], [1, 2, 0]]


def line(page: Page, scale: str, letter: str = "") -> Locator:
    name = f"{scale}, {letter}" if letter else scale
    return page.locator(f'.scale-line[aria-label="{name}"]')


def by_mouse(page: Page) -> None:
    for letter, honest, helpful in (("A", 4, 10), ("B", 1, 0), ("C", 5, 7)):
        line(page, "Honesty", letter).locator(f'input[value="{honest}"]').click()
        line(page, "Helpfulness", letter).locator(f'input[value="{helpful}"]').click()
    slider = line(page, "Overall", "B").get_by_role("slider")
    slider.fill("73")
    middle = line(page, "Fluency", "C").get_by_role("slider")
    middle.click()  # in its middle, where it already stands: a touch means that value
    expect(middle).to_have_attribute("aria-valuetext", "51")
    line(page, "Cites").locator('input[value="2"]').click()
    line(page, "Tone").locator('input[value="3"]').click()
    expect(page.locator("[data-total]")).to_have_text("5.5 of 6.5")


def by_key(page: Page) -> None:
    for key in ("4", "1", "5", "9", "0", "7"):  # each goes on to the next line
        page.keyboard.press(key)
    page.keyboard.press("ArrowRight")  # the last line still has the focus: 7 becomes 8
    page.keyboard.press("j")
    page.keyboard.type("100")
    page.keyboard.press("j")
    page.keyboard.type("7")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("j")
    page.keyboard.press("End")
    for key in ("j", "j", "j", "j", "1", "2"):
        page.keyboard.press(key)


# what was said of A, B and C, and of the instance
CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "mouse": (
        by_mouse,
        {
            "quality": {"Honesty": [4, 1, 5], "Helpfulness": [10, 0, 7]},
            "prism": {"Overall": [None, 73, None], "Fluency": [None, None, 51]},
            "rubric": {"Cites": [2], "Tone": [3]},
        },
    ),
    "keys": (
        by_key,
        {
            "quality": {"Honesty": [4, 1, 5], "Helpfulness": [9, 0, 8]},
            "prism": {"Overall": [100, 8, 100]},
            "rubric": {"Cites": [1], "Tone": [2]},
        },
    ),
}


def in_stored_order(said: dict[str, Any], order: list[int]) -> dict[str, Any]:
    def turned(values: list[Any]) -> list[Any]:
        return [values[order.index(index)] for index in range(len(order))] if len(values) > 1 else values

    return {
        question: {"ratings": {scale: turned(values) for scale, values in scales.items()}}
        for question, scales in said.items()
    }


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_what_is_rated_is_stored_told_and_exported(visitors: Visitors, worker: Worker, order: list[int]) -> None:
    cast = make_cast(instances=0)
    task = ask(cast, [ULTRA, PRISM, RUBRIC], [(name, TEXTS, order) for name in CASES])
    page = visitors.page(cast.annotator)
    page.goto(f"/label/{task.public_id}/")
    for act, _ in CASES.values():
        act(page)
        expect(page.locator("#missing")).to_be_empty()
        submit(page)

    wanted = {name: in_stored_order(said, order) for name, (_, said) in CASES.items()}
    assert stored(task) == wanted
    assert by_api(cast, visitors.site.url, task) == wanted
    files = frozen(cast, task, ["raw", "ratings"])
    assert {row["external_id"]: json.loads(row["answers"]) for row in files["raw"]} == wanted
    assert files["raw"][1]["answer.quality.Honesty"] == wanted["keys"]["quality"]["ratings"]["Honesty"]
    honest = {
        (row["completion"], each["value"])
        for row in files["ratings"]
        if row["asked"] == "quality"
        for each in row["ratings"]
        if each["scale"] == "Honesty"
    }
    assert honest == {(TEXTS[index], value) for index, value in zip(order, (4, 1, 5), strict=True)}


def test_a_slider_says_nothing_until_it_is_touched_and_what_is_missing_is_shown(visitors: Visitors) -> None:
    cast = make_cast(instances=0)
    task = ask(cast, [PRISM | {"required": True}], [("x", TEXTS[:2], [1, 0])])
    page = visitors.page(cast.annotator)
    page.goto(f"/label/{task.public_id}/")
    expect(page.locator(".slider.is-unset")).to_have_count(4)
    page.keyboard.press("5")
    page.keyboard.press("Enter")  # not complete: goes to the first line that lacks a value
    expect(line(page, "Overall", "B").get_by_role("slider")).to_be_focused()
    expect(page.locator("#missing")).to_have_text("Rate everything")
    assert stored(task) == {}
    for value in ("5", "50", "99"):
        page.keyboard.type(value)
        page.keyboard.press("j")
    submit(page, "Enter")
    assert stored(task)["x"]["prism"]["ratings"] == {"Overall": [5, 5], "Fluency": [99, 50]}
