"""A phone: the longest names and the longest words of a language break no page, and every button can be pressed."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.answering import ask
from tests.browser.test_screens import look
from tests.browser.visiting import Visitors
from tests.conftest import QUESTIONS, make_cast

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

NAME = "Grundstücksverkehrsgenehmigungszuständigkeitsübertragungsverordnung bewerten"


def test_long_names_break_no_page(visitors: Visitors) -> None:
    cast = make_cast(instances=0)
    cast.project.name = f"Donaudampfschifffahrtsgesellschaftskapitänswitwenrente: {NAME}"
    cast.project.save(update_fields=["name"])
    task = ask(cast, QUESTIONS, [("i0", ["First", "Second"], [0, 1])], name=NAME)
    project = f"/p/{cast.project.public_id}/"
    of_owner = (
        "/",
        project,
        *(f"{project}{page}/" for page in ("tasks", "people", "settings", "instances", "imports/new")),
    )
    of_owner += tuple(f"{project}tasks/{task.public_id}/{page}" for page in ("", "edit/", "questions/", "media/"))
    owner, annotator = visitors.page(cast.owner, width=390), visitors.page(cast.annotator, width=390)
    wrong = [line for address in of_owner for line in look(owner, address)]
    of_annotator = ("/label/", "/account/languages/", f"/label/{task.public_id}/", "/label/history/")
    wrong += [line for address in of_annotator for line in look(annotator, address)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("language", ["en", "de", "ar"])
def test_the_buttons_of_the_room_fit_a_phone_in_every_language(visitors: Visitors, language: str) -> None:
    cast = make_cast(instances=0)
    cast.annotator.preferences = {"language": language}
    cast.annotator.save(update_fields=["preferences"])
    task = ask(cast, QUESTIONS, [("i0", ["First", "Second"], [0, 1])], name=NAME)
    page = visitors.page(cast.annotator, width=360)
    page.goto(f"/label/{task.public_id}/")
    expect(page.locator("#missing")).not_to_be_empty()
    for button in page.locator(".room-footer .button").all():
        expect(button).to_be_in_viewport(ratio=1)
    page.locator(".strength-main input").first.check(force=True)
    page.locator('.room-footer [type="submit"]').click()
    expect(page.locator(".done")).to_be_visible()
