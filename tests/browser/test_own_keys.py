"""Keys in Chromium: chosen ones work and are printed, arrows walk through one's answers, none works while typing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.answering import open_work
from tests.browser.visiting import Visitors, eventually
from tests.conftest import Cast, make_cast

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return make_cast(instances=4)


def assignment_of(page: Page) -> str:
    return str(json.loads(page.locator("#work-data").text_content() or "{}")["assignment"])


def answer(page: Page, key: str) -> str:
    """Choose by key, submit, wait for what comes; returns the assignment answered."""
    before = assignment_of(page)
    page.keyboard.press(key)
    page.keyboard.press("Enter")
    eventually(lambda: assignment_of(page) != before, page=page)
    return before


def test_a_chosen_key_is_printed_and_works_and_the_old_one_rests(visitors: Visitors, cast: Cast) -> None:
    visitors.faults.expected.append("status of 422")
    page = visitors.page(cast.annotator)
    page.goto("/account/keys/")
    field = page.get_by_label("Skip")
    field.press("ArrowLeft")
    expect(field).to_have_value("←")
    page.get_by_role("button", name="Save keys").click()
    expect(page.get_by_text("“←” is already the key of “Your previous answer”.")).to_be_visible()
    field.press("x")
    page.get_by_role("button", name="Save keys").click()
    expect(page.get_by_text("Your keys are kept.")).to_be_visible()
    page.goto(f"/label/{cast.task.public_id}/")
    expect(page.locator('[data-act="skip"] kbd')).to_have_text("x")
    page.keyboard.press("s")
    expect(page.locator("dialog[open]")).to_have_count(0)
    page.keyboard.press("x")
    expect(page.get_by_role("dialog", name="Skip this instance")).to_be_visible()


def test_keys_rest_while_typing_and_when_switched_off(visitors: Visitors, cast: Cast) -> None:
    page = open_work(visitors, cast)
    page.get_by_label("Own reason").press_sequentially("sf?")
    expect(page.locator("dialog[open]")).to_have_count(0)
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.get_by_label("Use single keys").uncheck()
    page.get_by_role("button", name="Close", exact=True).click()
    page.keyboard.press("s")
    page.keyboard.press("2")
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(page.locator(".strength-main input:checked")).to_have_count(0)


def test_arrows_walk_through_ones_answers_and_back_to_the_work(visitors: Visitors, cast: Cast) -> None:
    page = open_work(visitors, cast)
    first, second = answer(page, "1"), answer(page, "3")
    third = assignment_of(page)
    page.get_by_label("Own reason").fill("half a thou")
    page.keyboard.press("Escape")
    walked = []
    for _ in range(2):
        before = assignment_of(page)
        page.keyboard.press("ArrowLeft")
        eventually(lambda before=before: assignment_of(page) != before, page=page)
        walked.append(assignment_of(page))
    assert walked == [second, first]
    expect(page.locator(".strength-main input:checked")).to_have_value("a-is-clearly-better")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_text("There is no earlier answer")).to_be_visible()
    page.keyboard.press("5")
    page.keyboard.press("Enter")
    eventually(lambda: assignment_of(page) == third, page=page)
    expect(page.get_by_label("Own reason")).to_have_value("half a thou")
    assert len(edited_values()) == 1
    page.keyboard.press("ArrowLeft")
    eventually(lambda: assignment_of(page) == second, page=page)
    page.keyboard.press("ArrowRight")
    eventually(lambda: assignment_of(page) == third, page=page)


def edited_values() -> list[Any]:
    """What the edited annotations said before."""
    from feedback.models import AnnotationRevision

    return [row.answers["overall"]["value"] for row in AnnotationRevision.objects.filter(action="edit")]


def test_an_arrow_on_a_radio_moves_the_choice_and_not_the_page(visitors: Visitors, cast: Cast) -> None:
    page = open_work(visitors, cast)
    answer(page, "1")
    here = assignment_of(page)
    page.locator(".strength-main input").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".strength-main input:checked")).to_have_value("a-is-slightly-better")
    assert assignment_of(page) == here


def test_keys_of_another_script_mean_the_latin_ones_of_their_place(visitors: Visitors, cast: Cast) -> None:
    page = open_work(visitors, cast)
    page.evaluate(
        "() => document.body.dispatchEvent(new KeyboardEvent('keydown', {key: 'س', code: 'KeyS', bubbles: true}))"
    )
    expect(page.get_by_role("dialog", name="Skip this instance")).to_be_visible()
