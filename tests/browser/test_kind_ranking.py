"""Rankings on the screen: mouse, finger, buttons and keys put the same in order, whatever order was shown."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.answering import ask, by_api, frozen, stored, submit
from tests.browser.visiting import Visitors, Worker
from tests.conftest import make_cast

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

RANKING = {"kind": "ranking", "name": "order", "title": "Put the completions in order", "allow_partial": True}
TEXTS = ["Zero", "One", "Two", "Three"]
ORDERS = [[0, 1, 2, 3], [3, 1, 0, 2], [2, 0, 3, 1]]


def card(page: Page, letter: str) -> Locator:
    return page.locator(f'[data-card="{"ABCDEFGHIJKL".index(letter)}"]')


def shown(page: Page) -> str:
    """The tiers as they stand on the screen: ``"C > A = D"``."""
    tiers = page.locator(".tier").evaluate_all(
        "tiers => tiers.map(tier => [...tier.querySelectorAll('.letter')].map(one => one.textContent).join(' = '))"
    )
    return " > ".join(tiers)


def drag(page: Page, letter: str, to: Locator, part: float) -> None:
    """Drag a card by the mouse onto a part of another element, 0 its top and 1 its bottom."""
    start, end = card(page, letter).locator(".rank-snippet").bounding_box(), to.bounding_box()
    assert start
    assert end
    page.mouse.move(start["x"] + 20, start["y"] + start["height"] / 2)
    page.mouse.down()
    page.mouse.move(start["x"] + 30, start["y"] + 20)
    page.mouse.move(end["x"] + 60, end["y"] + end["height"] * part, steps=4)
    page.mouse.up()


def by_mouse(page: Page) -> None:
    drag(page, "A", page.locator("[data-tiers]"), 0.5)
    drag(page, "C", card(page, "A"), 0.05)
    drag(page, "D", card(page, "A"), 0.5)
    drag(page, "B", card(page, "C"), 0.95)
    assert shown(page) == "C > B > A = D"
    drag(page, "B", page.locator("[data-pool]"), 0.5)
    card(page, "D").get_by_role("button", name="D is unacceptable").click()


def by_buttons(page: Page) -> None:
    for letter, move in (("A", "higher"), ("C", "higher"), ("C", "higher")):
        card(page, letter).get_by_role("button", name=f"Rank {letter} {move}").click()
    card(page, "D").get_by_role("button", name="Tie D with the one above").click()
    card(page, "D").get_by_role("button", name="D is unacceptable").click()


def by_digits(page: Page) -> None:
    for key in ("3", "2", "1", "4", "=", "-", "2"):  # B gets a rank and gives it back
        page.keyboard.press(key)


def by_arrows(page: Page) -> None:
    """Only by picking up and moving; a screen reader is told each step."""
    said = page.locator("#announce")
    card(page, "A").focus()
    for key in (" ", "ArrowUp", " "):
        page.keyboard.press(key)
    expect(said).to_have_text("A, rank 1 of 1, put down")
    card(page, "C").focus()
    page.keyboard.press(" ")
    expect(said).to_contain_text("C, not ranked, picked up")
    page.keyboard.press("ArrowUp")
    expect(said).to_have_text("C, rank 2 of 2")
    page.keyboard.press("ArrowUp")
    expect(said).to_have_text("C, rank 1 of 2")
    page.keyboard.press("Enter")
    expect(said).to_have_text("C, rank 1 of 2, put down")
    card(page, "D").focus()
    for key in ("=", "-"):
        page.keyboard.press(key)
    expect(said).to_have_text("D, rank 2 of 2, tied with A, unacceptable")
    page.keyboard.press(" ")
    page.keyboard.press("ArrowUp")
    assert shown(page) == "C > D > A"
    page.keyboard.press("Escape")
    expect(said).to_have_text("D, rank 2 of 2, tied with A, unacceptable, put back")


CASES: dict[str, Callable[[Page], None]] = {
    "mouse": by_mouse,
    "buttons": by_buttons,
    "digits": by_digits,
    "arrows": by_arrows,
}


def expected(order: list[int]) -> dict[str, Any]:
    """C first, then A and D tied, D unacceptable, B without a rank: in stored order."""
    a, _, c, d = order
    return {"order": {"groups": [[c], sorted([a, d])], "unacceptable": [d]}}


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_what_is_ranked_is_stored_told_and_exported(visitors: Visitors, worker: Worker, order: list[int]) -> None:
    cast = make_cast(instances=0)
    task = ask(cast, [RANKING], [(name, TEXTS, order) for name in CASES])
    page = visitors.page(cast.annotator)
    page.goto(f"/label/{task.public_id}/")
    for name, act in CASES.items():
        act(page)
        assert shown(page) == "C > A = D", name
        marks = page.locator(".completion-mark").all_text_contents()
        assert marks == ["Rank 2", "", "Rank 1", "Rank 2, unacceptable"]
        submit(page)

    wanted = dict.fromkeys(CASES, expected(order))
    assert stored(task) == wanted
    assert by_api(cast, visitors.site.url, task) == wanted
    rows = frozen(cast, task, ["raw", "ranked", "preference"])
    assert {row["external_id"]: json.loads(row["answers"]) for row in rows["raw"]} == wanted
    a, b, c, d = order
    ranks: dict[int, int | None] = {a: 2, b: None, c: 1, d: 2}
    assert [row["ranks"] for row in rows["ranked"]] == [[ranks[index] for index in range(4)]] * len(CASES)
    assert all(row["completions"] == TEXTS and row["unacceptable"].index(True) == d for row in rows["ranked"])
    pairs = [(row["chosen"], row["rejected"]) for row in rows["preference"]]
    assert sorted(pairs) == sorted([(TEXTS[c], TEXTS[a]), (TEXTS[c], TEXTS[d])] * len(CASES))


def test_a_finger_drags_a_card_by_its_grip(visitors: Visitors) -> None:
    cast = make_cast(instances=0)
    task = ask(cast, [RANKING | {"allow_partial": False}], [("x", TEXTS[:3], [2, 0, 1])])
    page = visitors.page(cast.annotator, width=390)
    page.goto(f"/label/{task.public_id}/")
    wire = page.context.new_cdp_session(page)

    def touch(letter: str, to: Locator, part: float) -> None:
        to.scroll_into_view_if_needed()
        grip, end = card(page, letter).locator("[data-grip]").bounding_box(), to.bounding_box()
        assert grip
        assert end
        x, y = grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2
        wire.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
        for step in range(1, 6):
            at = y + (end["y"] + end["height"] * part - y) * step / 5
            wire.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": at}]})
        wire.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})

    touch("B", page.locator("[data-tiers]"), 0.5)
    expect(page.locator(".tier")).to_have_count(1)
    touch("C", card(page, "B"), 0.95)
    expect(page.locator(".tier")).to_have_count(2)
    touch("A", card(page, "B"), 0.5)
    assert shown(page) == "A = B > C"
    expect(page.locator("[data-pool]")).to_be_hidden()
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("heading", name="Finished for now")).to_be_visible()
    assert stored(task)["x"]["order"] == {"groups": [[0, 2], [1]], "unacceptable": []}


def test_a_question_without_ties_and_gaps_takes_neither(visitors: Visitors) -> None:
    cast = make_cast(instances=0)
    strict = {"allow_partial": False, "allow_ties": False, "allow_unacceptable": False}
    task = ask(cast, [RANKING | strict], [("x", TEXTS[:3], [1, 2, 0])])
    page = visitors.page(cast.annotator)
    page.goto(f"/label/{task.public_id}/")
    expect(page.get_by_role("button", name="Tie A with the one above")).to_have_count(0)
    for key in ("2", "1", "=", "-"):
        page.keyboard.press(key)
    assert shown(page) == "B > A"
    drag(page, "C", card(page, "B"), 0.6)
    assert shown(page) == "B > C > A"
    card(page, "C").get_by_role("button", name="Rank C lower").click()
    page.keyboard.press("3")
    expect(page.locator("#missing")).to_have_text("Rank every completion")
    page.keyboard.press("Control+Enter")
    assert stored(task) == {}
    page.keyboard.press("3")
    submit(page, "Enter")
    assert stored(task)["x"]["order"] == {"groups": [[2], [1], [0]], "unacceptable": []}
