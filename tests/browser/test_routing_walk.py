"""Routing in the browser: judge and budget, pilot, fit, slider, why, apply, labels, next round by itself, re-plan."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.visiting import Visitors, Worker
from tests.routing.planning_cast import World, label_open, make_world

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

SIZE = 90
JOB_MS = 90_000


def test_a_manager_routes_from_the_judge_to_the_report(visitors: Visitors, worker: Worker) -> None:
    world = make_world(size=SIZE, votes=0)
    page = visitors.page(world.cast.manager)
    page.goto(f"/p/{world.cast.project.public_id}/judge/")
    configure_judge(page)
    set_budget(page, world)
    draw_pilot(page)
    assert label_open(world) == 12
    plan_in_rounds(page)
    move_the_slider(page)
    read_why(page)
    apply(page)
    labels_arrive(page, world)
    stop_and_resume(page)
    replan(page)
    report(page)


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def rail(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def job_done(page: Page) -> None:
    expect(page.locator(".job .badge")).to_have_text("Done", timeout=JOB_MS)


def configure_judge(page: Page) -> None:
    page.get_by_role("link", name="Configure a judge").first.click()
    page.get_by_label("Name", exact=True).fill("Pool")
    page.get_by_label("Where verdicts come from").select_option("simulated")
    press(page, "Create judge")
    page.locator(".judge-run select[name=scope]").select_option("all")
    press(page, "Start judging")
    job_done(page)


def set_budget(page: Page, world: World) -> None:
    rail(page, "Tasks")
    page.get_by_role("link", name=world.cast.task.name).first.click()
    page.get_by_role("link", name="Edit", exact=True).click()
    page.get_by_label("Budget", exact=True).fill("60")
    press(page, "Save task")
    expect(page.get_by_role("heading", level=1)).to_have_text(world.cast.task.name)
    world.cast.task.refresh_from_db()
    world.cast.task.plan_only = True
    world.cast.task.save(update_fields=["plan_only"])


def draw_pilot(page: Page) -> None:
    rail(page, "Routing")
    expect(page.get_by_role("region", name="Sizes of a pilot").get_by_text("advised")).to_be_visible()
    page.get_by_label("Instances", exact=True).fill("12")
    page.get_by_label("And judged by").select_option("")
    press(page, "Draw the pilot")
    expect(page.get_by_text("12 instances are drawn at random")).to_be_visible()


def plan_in_rounds(page: Page) -> None:
    rail(page, "Routing")
    page.get_by_role("link", name="Make a plan").click()
    expect(page.get_by_role("radio", name="In rounds:")).to_be_checked()
    page.get_by_label("Budget", exact=True).fill("40")
    page.get_by_label("Judge", exact=True).select_option(label="Pool v1")
    press(page, "Compute the plan")
    computed(page)
    expect(page.get_by_role("heading", name="Where people gain over the judge")).to_be_visible()


def computed(page: Page) -> None:
    """The page turns by itself."""
    expect(page.get_by_role("heading", name="Who labels")).to_be_visible(timeout=JOB_MS)


def move_the_slider(page: Page) -> None:
    slider = page.locator("[data-budget-slider]")
    before = page.locator("[data-budget-mean]").inner_text()
    slider.focus()
    page.keyboard.press("Home")
    expect(page.locator("[data-budget-mean]")).not_to_have_text(before)
    page.locator("[data-budget-number]").fill("12")
    page.keyboard.press("Tab")
    again = page.locator("#at_budget").get_by_role("button")
    expect(again).to_contain_text("Plan at")
    again.click()
    expect(page.get_by_role("heading", name="Who labels")).to_be_hidden()
    computed(page)


def read_why(page: Page) -> None:
    row = page.locator("#decisions tbody tr").first
    expect(row).to_contain_text("Its tags:")
    expect(row).to_contain_text(" to ")  # the interval
    row.get_by_role("link").click()
    why = page.get_by_role("region", name="Why here")
    expect(why).to_contain_text("Its tags:")
    expect(why).to_contain_text("believed that A is better")
    page.go_back()


def apply(page: Page) -> None:
    press(page, "Apply the plan")
    expect(page.get_by_text("The plan is in force")).to_be_visible()
    expect(page.locator("#_rounds")).to_contain_text("0 of ")
    expect(page.locator("#_rounds tbody tr")).to_have_count(1)


def labels_arrive(page: Page, world: World) -> None:
    """The page is not touched: the next round begins and shows by itself."""
    label_open(world)
    expect(page.locator("#_rounds tbody tr")).to_have_count(2, timeout=JOB_MS)
    expect(page.locator("#_rounds")).to_contain_text("The next one begins by itself")


def stop_and_resume(page: Page) -> None:
    press(page, "Stop")
    expect(page.locator("#_rounds")).to_contain_text("Stopped by hand.")
    press(page, "Resume")
    expect(page.get_by_role("button", name="Next round now")).to_be_visible()


def replan(page: Page) -> None:
    rail(page, "Routing")
    page.get_by_role("link", name="Make a plan").click()
    page.get_by_role("radio", name="Judge disagreement:").check()
    page.get_by_label("Budget", exact=True).fill("2")
    page.get_by_label("Judge", exact=True).select_option(label="Pool v1")
    press(page, "Compute the plan")
    computed(page)
    page.get_by_role("link", name="Show which move").click()
    expect(page.locator("#decisions tbody tr").first).to_contain_text("→")
    press(page, "Apply the plan")
    expect(page.get_by_text("of earlier plans is released")).to_be_visible()


def report(page: Page) -> None:
    """What came of it: both plans in the list, the money, and the first plan's end in words."""
    rail(page, "Routing")
    plans = page.get_by_role("region", name="Plans")
    expect(plans.get_by_role("row")).to_have_count(4)  # the head, the one at another budget too
    plans.get_by_role("link", name="In rounds").first.click()
    expect(page.locator("#_rounds")).to_contain_text("Another plan was put in force.")
    expect(page.locator("#_rounds dd").first).not_to_have_text(re.compile(r"^\D*0([.,]00)?\D*$"))
