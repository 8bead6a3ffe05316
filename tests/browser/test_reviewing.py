"""A reviewer at work in the browser: finds, leafs with keys, changes several at once, decides, comments."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from feedback.models import Adjudication, Comment
from tests.annotate.test_instances_pages import say
from tests.browser.visiting import Visitors
from tests.conftest import Cast, make_cast

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    made = make_cast()
    first, second, *_ = made.task.instances.order_by("pk")
    for instance in (first, second):
        say(made, instance, "a-is-clearly-better", "Ann")
        say(made, instance, "b-is-clearly-better", "Bob")
    return made


def test_finding_leaves_a_link_that_says_only_what_is_looked_for(cast: Cast, visitors: Visitors) -> None:
    page = visitors.page(cast.reviewer)
    page.goto(f"/p/{cast.project.public_id}/instances/")
    page.get_by_label("Disagreement").select_option("people")
    page.get_by_role("button", name="Find", exact=True).click()
    expect(page).to_have_url(re.compile(r"\?task=[0-9a-f-]+&disagreement=people$"))
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_title("Leave this filter out").click()
    expect(page.locator("tbody tr")).to_have_count(5)


def test_several_are_ticked_and_changed(cast: Cast, visitors: Visitors) -> None:
    page = visitors.page(cast.reviewer)
    page.goto(f"/p/{cast.project.public_id}/instances/")
    expect(page.locator(".bulk")).to_be_hidden()
    page.get_by_label("Choose i1").check()
    page.get_by_label("Choose i3").check()
    expect(page.locator(".bulk [data-bulk-count]")).to_have_text("2")
    page.get_by_role("button", name="Raise priority").click()
    expect(page.get_by_text("2 instances are asked for sooner.")).to_be_visible()
    raised = cast.task.instances.filter(priority=10).order_by("pk").values_list("external_id", flat=True)
    assert list(raised) == ["i1", "i3"]


def test_arrow_keys_leaf_through_what_was_found(cast: Cast, visitors: Visitors) -> None:
    page = visitors.page(cast.reviewer)
    page.goto(f"/p/{cast.project.public_id}/instances/?disagreement=people")
    page.get_by_role("link", name="Question 0?").click()
    expect(page.locator("h1")).to_have_text("i0")
    page.wait_for_load_state()  # scripts listen from then on
    page.keyboard.press("ArrowRight")
    expect(page.locator("h1")).to_have_text("i1")
    expect(page.locator("a[rel=next]")).to_have_count(0)
    page.get_by_label("Your comment").fill("Which?")
    page.keyboard.press("ArrowLeft")  # moves the caret, not the page
    expect(page.locator("h1")).to_have_text("i1")
    page.get_by_role("button", name="Comment", exact=True).click()
    expect(page.locator(".comments")).to_contain_text("Which?")
    assert Comment.objects.get().text == "Which?"
    page.goto(f"/p/{cast.project.public_id}/instances/?disagreement=people")
    page.get_by_role("link", name="Question 1?").click()
    expect(page.locator("h1")).to_have_text("i1")
    page.wait_for_load_state()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("h1")).to_have_text("i0")


def test_a_reviewer_takes_one_answer_and_gives_another_anew(cast: Cast, visitors: Visitors) -> None:
    page = visitors.page(cast.reviewer)
    page.goto(f"/p/{cast.project.public_id}/adjudication/")
    page.get_by_role("link", name="Begin with the first").click()
    page.locator(".decide-vote", has_text="B is clearly better").locator("input").check()
    page.get_by_label("Why", exact=True).fill("B answers the question.")
    page.get_by_role("button", name="Decide so").click()
    expect(page.locator("h1")).to_have_text("i1")
    page.get_by_role("link", name="Answer anew").click()
    expect(page.locator("#save-state")).to_have_text("Saved")
    submit = page.get_by_role("button", name="Decide so")
    expect(submit).to_have_attribute("aria-disabled", "true")
    page.locator("body").press("3")
    expect(page.locator("#missing")).to_have_text("Say why you decide so")
    page.get_by_label("Say why you decide so").fill("Neither is better.")
    expect(submit).to_have_attribute("aria-disabled", "false")
    submit.click()
    expect(page.get_by_text("Nothing waits for a decision")).to_be_visible()
    made: list[Any] = list(Adjudication.objects.order_by("instance__pk").select_related("annotation"))
    assert [one.annotation.answers["overall"]["value"] for one in made] == ["b-is-clearly-better", "tie"]
    assert [one.reason for one in made] == ["B answers the question.", "Neither is better."]
