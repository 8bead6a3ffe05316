"""Nothing an annotator typed or sent is lost: drafts, a network that goes away, two tabs, a change of mind."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.browser.answering import open_work
from tests.browser.visiting import Visitors, eventually
from tests.conftest import Cast, make_cast

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

OFFLINE = r"ERR_INTERNET_DISCONNECTED|ERR_FAILED"


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return make_cast(instances=3)


def chosen(page: Page) -> Any:
    return expect(page.locator(".strength-main input:checked"))


def work_data(page: Page) -> dict[str, Any]:
    return dict(json.loads(page.locator("#work-data").text_content() or "{}"))


def assignment(page: Page) -> Any:
    from feedback.models import Assignment

    return Assignment.objects.get(public_id=work_data(page)["assignment"])


def saved_value(page: Page) -> Any:
    """The overall value of the draft on the server, in stored order."""
    return assignment(page).draft.get("overall", {}).get("value")


def stored_value(page: Page, screen: str) -> str:
    """A value of the screen in the stored order of this assignment."""
    exchanged = {"a": "b", "b": "a"}[screen[0]] + screen[1:]
    return screen if work_data(page)["order"] == [0, 1] else exchanged


def bodies(page: Page, ending: str) -> list[dict[str, Any]]:
    """The JSON of every request to an address with this ending, as they are sent from now on."""
    sent: list[dict[str, Any]] = []

    def note(request: Request) -> None:
        if request.url.endswith(ending):
            sent.append(json.loads(request.post_data or "{}"))

    page.context.on("request", note)
    return sent


def submitted() -> list[Any]:
    from feedback.models import Annotation

    return list(Annotation.objects.order_by("pk"))


def test_a_draft_is_on_the_server_within_two_seconds_and_back_after_a_reload(visitors: Visitors, cast: Cast) -> None:
    page = open_work(visitors, cast)
    page.keyboard.press("2")
    began = time.monotonic()
    page.get_by_label("Own reason").press_sequentially("It says why", delay=5)
    eventually(lambda: assignment(page).draft.get("overall", {}).get("other_reason") == "It says why", 2.0, page=page)
    assert time.monotonic() - began < 2.0
    expect(page.locator("#save-state")).to_have_text("Saved")
    page.evaluate("localStorage.clear()")
    page.reload()
    chosen(page).to_have_attribute("value", "a-is-slightly-better")
    expect(page.get_by_label("Own reason")).to_have_value("It says why")


def test_typing_without_a_pause_is_saved_all_the_same(visitors: Visitors, cast: Cast) -> None:
    page = open_work(visitors, cast)
    field = page.get_by_label("Own reason")
    began = time.monotonic()
    while not assignment(page).draft:  # each key comes before the pause that a save waits for
        field.press_sequentially("word ", delay=20)
        assert time.monotonic() - began < 4.0
    assert assignment(page).draft["overall"]["other_reason"].startswith("word")


def test_answers_given_offline_come_back_from_the_browser(visitors: Visitors, cast: Cast) -> None:
    visitors.faults.expected.append(OFFLINE)
    page = open_work(visitors, cast)
    page.context.set_offline(True)
    page.keyboard.press("5")
    expect(page.locator("#save-state")).to_have_text("Offline: kept here")
    page.goto("about:blank")
    page.context.set_offline(False)
    page.goto(f"/label/{cast.task.public_id}/")
    chosen(page).to_have_attribute("value", "b-is-clearly-better")
    wanted = stored_value(page, "b-is-clearly-better")
    eventually(lambda: saved_value(page) == wanted, page=page)


def test_a_submit_without_a_network_is_sent_again_by_itself(visitors: Visitors, cast: Cast) -> None:
    visitors.faults.expected.append(OFFLINE)
    page = open_work(visitors, cast)
    sent, before = bodies(page, "/submit/"), work_data(page)
    page.keyboard.press("1")
    expect(page.locator("#save-state")).to_have_text("Saved")
    page.context.set_offline(True)
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="Offline: kept here")).to_be_visible()
    assert submitted() == []
    page.context.set_offline(False)
    eventually(lambda: work_data(page)["assignment"] != before["assignment"], page=page)
    (stored,) = submitted()
    assert str(stored.assignment.public_id) == before["assignment"]
    assert len(sent) >= 2
    assert {body["submission_id"] for body in sent} == {str(stored.submission_id)}


def test_a_submit_whose_answer_is_lost_counts_once(visitors: Visitors, cast: Cast) -> None:
    visitors.faults.expected.append(OFFLINE)
    page = open_work(visitors, cast)
    sent, before = bodies(page, "/submit/"), work_data(page)

    def lose_the_answer(route: Route) -> None:
        route.fetch()  # the server takes it
        route.abort()

    page.route("**/submit/", lose_the_answer, times=1)
    page.keyboard.press("4")
    page.keyboard.press("Enter")
    eventually(lambda: work_data(page)["assignment"] != before["assignment"], page=page)
    (stored,) = submitted()
    assert [body["submission_id"] for body in sent] == [str(stored.submission_id)] * 2


def two_tabs(visitors: Visitors, cast: Cast) -> tuple[Page, Page]:
    """Two tabs of one browser on one assignment, of which the first has saved an answer and the second another."""
    visitors.faults.expected.append(r"status of 409")
    first = open_work(visitors, cast)
    second = first.context.new_page()
    second.goto(f"/label/{cast.task.public_id}/")
    first.bring_to_front()
    first.keyboard.press("1")
    expect(first.locator("#save-state")).to_have_text("Saved")
    eventually(lambda: saved_value(first) == stored_value(first, "a-is-clearly-better"), page=first)
    second.bring_to_front()
    second.keyboard.press("5")
    expect(second.locator("#save-state")).to_have_text("Changed in another tab")
    return first, second


def test_two_tabs_overwrite_nothing_and_ask_which_answers_to_keep(visitors: Visitors, cast: Cast) -> None:
    first, second = two_tabs(visitors, cast)
    mine, theirs = (stored_value(first, f"{side}-is-clearly-better") for side in "ba")
    second.keyboard.press("Enter")
    second.wait_for_timeout(300)
    assert saved_value(second) == theirs
    assert submitted() == []
    chosen(second).to_have_attribute("value", "b-is-clearly-better")
    second.get_by_role("button", name="Keep these").click()
    eventually(lambda: saved_value(second) == mine, page=second)
    expect(second.locator("#save-state")).to_have_text("Saved")


def test_the_answers_of_the_other_tab_can_be_taken_over(visitors: Visitors, cast: Cast) -> None:
    first, second = two_tabs(visitors, cast)
    second.get_by_role("button", name="Use the other tab’s").click()
    chosen(second).to_have_attribute("value", "a-is-clearly-better")
    second.keyboard.press("Enter")
    eventually(submitted, page=second)
    (stored,) = submitted()
    assert stored.answers["overall"]["value"] == stored_value(first, "a-is-clearly-better")


@pytest.mark.parametrize("by", ["button", "key"])
def test_a_submit_can_be_taken_back(visitors: Visitors, cast: Cast, by: str) -> None:
    page = open_work(visitors, cast)
    before = work_data(page)["assignment"]
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    eventually(lambda: work_data(page)["assignment"] != before, page=page)
    undo = page.get_by_role("button", name="Undo")
    expect(undo).to_be_visible()
    if by == "button":
        undo.click()
    else:
        page.keyboard.press("u")
    eventually(lambda: work_data(page)["assignment"] == before, page=page)
    chosen(page).to_have_attribute("value", "a-is-slightly-better")
    assert [row.state for row in submitted()] == ["withdrawn"]
    expect(undo).to_have_count(0)


def test_the_last_submit_can_be_taken_back_on_the_finished_page(visitors: Visitors, cast: Cast) -> None:
    page = open_work(visitors, cast)
    for _ in range(3):
        before = work_data(page)["assignment"]
        page.keyboard.press("3")
        page.keyboard.press("Enter")
        page.wait_for_function(
            "before => !document.getElementById('work-data')?.textContent.includes(before)", arg=before
        )
    expect(page.get_by_role("heading", name="Finished for now")).to_be_visible()
    page.keyboard.press("u")
    chosen(page).to_have_attribute("value", "tie")
    assert [row.state for row in submitted()] == ["submitted", "submitted", "withdrawn"]


def test_a_save_whose_reply_is_lost_is_no_conflict(visitors: Visitors, cast: Cast) -> None:
    visitors.faults.expected += [OFFLINE, r"status of 409"]
    page = open_work(visitors, cast)
    notices: list[str] = []

    def lose_the_answer(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route("**/draft/", lose_the_answer, times=1)
    field = page.get_by_label("Own reason")
    field.press_sequentially("one")
    expect(page.locator("#save-state")).to_have_text("Offline: kept here")
    field.press_sequentially(" two")
    expect(page.locator("#save-state")).to_have_text("Saved")
    notices += page.get_by_role("alert").all_inner_texts()
    assert assignment(page).draft["overall"]["other_reason"] == "one two"
    assert "".join(notices).strip() == ""


def test_a_reply_that_is_lost_with_the_browser_is_no_conflict_either(visitors: Visitors, cast: Cast) -> None:
    visitors.faults.expected += [OFFLINE, r"status of 409"]
    page = open_work(visitors, cast)

    def lose_the_answer(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route("**/draft/", lose_the_answer)
    field = page.get_by_label("Own reason")
    field.press_sequentially("one")
    eventually(lambda: assignment(page).draft != {}, page=page)
    page.context.set_offline(True)
    field.press_sequentially(" two")
    page.goto("about:blank")
    page.unroute_all()
    page.context.set_offline(False)
    page.goto(f"/label/{cast.task.public_id}/")
    expect(page.get_by_label("Own reason")).to_have_value("one two")
    eventually(lambda: assignment(page).draft["overall"]["other_reason"] == "one two", page=page)
    expect(page.get_by_role("button", name="Keep these")).to_have_count(0)


def test_a_page_that_was_made_before_the_last_save_shows_the_saved_answers(visitors: Visitors, cast: Cast) -> None:
    page = open_work(visitors, cast)
    address = f"/label/{cast.task.public_id}/"
    stale = page.request.get(address).body()
    page.keyboard.press("2")
    eventually(lambda: assignment(page).draft != {}, page=page)
    expect(page.locator("#save-state")).to_have_text("Saved")
    page.route(f"**{address}", lambda route: route.fulfill(body=stale, content_type="text/html"), times=1)
    page.reload()
    chosen(page).to_have_attribute("value", "a-is-slightly-better")
    page.keyboard.press("4")
    eventually(lambda: saved_value(page) == stored_value(page, "b-is-slightly-better"), page=page)


def test_a_tab_without_changes_takes_over_what_the_other_one_saved(visitors: Visitors, cast: Cast) -> None:
    visitors.faults.expected.append(r"status of 409")
    first = open_work(visitors, cast)
    second = first.context.new_page()
    second.clock.install()
    second.goto(f"/label/{cast.task.public_id}/")
    first.bring_to_front()
    first.keyboard.press("4")
    eventually(lambda: saved_value(first) == stored_value(first, "b-is-slightly-better"), page=first)
    second.bring_to_front()
    second.mouse.move(200, 300)
    second.clock.run_for(work_data(second)["lease_seconds"] / 3 * 1000 + 2000)  # its lease is renewed
    chosen(second).to_have_attribute("value", "b-is-slightly-better")
    expect(second.locator("#save-state")).to_have_text("Saved")
    expect(second.get_by_role("button", name="Keep these")).to_have_count(0)


def test_a_draft_that_the_server_refuses_is_said_and_kept(visitors: Visitors, cast: Cast) -> None:
    visitors.faults.expected.append(r"status of 422")
    page = open_work(visitors, cast)
    page.route("**/draft/", lambda route: route.fulfill(status=422, json={"detail": "Too large."}), times=1)
    page.keyboard.press("1")
    expect(page.locator("#save-state")).to_have_text("Not saved on the server")
    expect(page.get_by_role("alert").filter(has_text="Too large.")).to_be_visible()
    page.reload()
    chosen(page).to_have_attribute("value", "a-is-clearly-better")
    eventually(lambda: saved_value(page) == stored_value(page, "a-is-clearly-better"), page=page)


def test_a_sign_in_in_another_tab_is_enough(visitors: Visitors, cast: Cast) -> None:
    from annotate.models import Session

    visitors.faults.expected.append(r"status of 40[13]")
    page = open_work(visitors, cast)
    Session.objects.all().delete()
    page.keyboard.press("5")
    expect(page.locator("#save-state")).to_have_text("Signed out: kept here")
    page.context.add_cookies([visitors._session(cast.annotator)])
    other = page.context.new_page()
    other.goto("/label/")
    page.bring_to_front()
    page.keyboard.press("4")
    expect(page.locator("#save-state")).to_have_text("Saved")
    assert saved_value(page) == stored_value(page, "b-is-slightly-better")
