"""Every kind of question on one screen: axe finds nothing, at rest and answered, in both themes; a phone fits."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.browser.answering import ask
from tests.browser.test_kind_choice import HARM, SAFE, TONE
from tests.browser.test_kind_ranking import RANKING
from tests.browser.test_kind_rating import PRISM, RUBRIC, ULTRA
from tests.browser.test_screens import AXE, EVERY_RULE, accessibility, look
from tests.browser.visiting import Visitors
from tests.conftest import QUESTIONS, make_cast

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

EVERYTHING: list[dict[str, Any]] = [*QUESTIONS, RANKING, ULTRA, PRISM, RUBRIC, SAFE, HARM, TONE]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_kinds_on_one_screen_are_accessible(visitors: Visitors, scheme: str) -> None:
    cast = make_cast(instances=0)
    twelve = [f"Completion number {n}, of some length." for n in range(12)]
    task = ask(cast, EVERYTHING, [("two", twelve[:2], [1, 0]), ("twelve", twelve, list(range(12)))])
    page = visitors.page(cast.annotator, scheme=scheme)
    page.goto(f"/label/{task.public_id}/")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    wrong = accessibility(page, "at rest", EVERY_RULE)
    for key in ("1", "j", "j", "j", "j", "j", "2", "-", "j", "5", "4", "3", "9", "7", "j", "j", "j", "j", "1", "1"):
        page.keyboard.press(key)
    page.get_by_role("radio", name="No", exact=True).check()
    expect(page.locator('[data-question="harm"]')).to_be_visible()
    wrong += accessibility(page, "answered", EVERY_RULE)
    assert not wrong, "\n".join(wrong)


def test_twelve_completions_fit_a_phone(visitors: Visitors) -> None:
    cast = make_cast(instances=0)
    task = ask(cast, EVERYTHING, [("twelve", [f"Completion {n}" for n in range(12)], list(range(12)))])
    page = visitors.page(cast.annotator, width=390)
    assert look(page, f"/label/{task.public_id}/") == []
    page.locator('[data-card="11"] [data-move="up"]').click()
    expect(page.locator(".tier")).to_have_count(1)
