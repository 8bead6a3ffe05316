"""Where the focus is: seen on every control, never lost behind a dialog, an instance or an undo; and nothing moves."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.answering import ask, submit
from tests.browser.test_kind_choice import HARM, SAFE
from tests.browser.test_kind_critique import CRITIQUE
from tests.browser.test_kind_ranking import RANKING
from tests.browser.test_kind_rating import PRISM, ULTRA
from tests.browser.test_kind_span import QUESTION as SPANS
from tests.browser.test_screens import AXE, EVERY_RULE, accessibility
from tests.browser.visiting import Visitors
from tests.conftest import QUESTIONS, Cast, make_cast

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

EVERYTHING: list[dict[str, Any]] = [*QUESTIONS, RANKING, ULTRA, PRISM, SPANS, CRITIQUE, SAFE, HARM]
MANY = 160  # more stops than any page here has

# what has the focus: its kind, whether a ring of two pixels is drawn, and whether any of it can be seen
FOCUSED = """() => {
  const element = document.activeElement;
  if (!element || element === document.body) return null;
  const ringed = (one) => {
    const style = getComputedStyle(one);
    const drawn = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    return drawn && one.checkVisibility({ opacityProperty: true });
  };
  const labels = [...(element.labels ?? [])];
  const parts = [0.1, 0.5, 0.9];
  const shows = (box) => parts.some((x) => parts.some((y) => {
    const found = document.elementFromPoint(box.left + box.width * x, box.top + box.height * y);
    return found && (found.contains(element) || [element, ...labels].some((one) => one.contains(found)));
  }));
  const words = (element.getAttribute("aria-label") ?? element.innerText ?? "").trim() || element.name || element.id;
  const walked = "walked" in element.dataset;
  element.dataset.walked = "";
  return {
    kind: [element.tagName.toLowerCase(), element.type, element.getAttribute("role")].filter(Boolean).join(" "),
    name: words.split("\\n")[0].slice(0, 40),
    ringed: ringed(element) || ringed(element.parentElement), // a hidden radio's ring is on its segment
    seen: [element, ...labels].some((one) => shows(one.getBoundingClientRect())),
    walked,
  };
}"""

MOVING = """() => {
  const running = document.getAnimations().filter((one) => one.effect.getComputedTiming().duration > 1);
  const longest = (value) => Math.max(...value.split(",").map(parseFloat));
  const moving = [...document.querySelectorAll("*")].filter((one) => {
    const { transitionDuration, animationDuration, scrollBehavior } = getComputedStyle(one);
    return longest(transitionDuration) > 0.001 || longest(animationDuration) > 0.001 || scrollBehavior === "smooth";
  });
  return [...running.map((one) => one.animationName ?? one.transitionProperty), ...moving.map((one) => one.className)];
}"""


def room(questions: list[dict[str, Any]], instances: int = 1) -> tuple[Cast, Any]:
    cast = make_cast(instances=0)
    texts = ["First, in **bold**.\n\n```\ncode\n```", "Second, [linked](https://a.example)."]
    return cast, ask(cast, questions, [(f"i{n}", texts, [0, 1]) for n in range(instances)])


def walk(page: Page) -> tuple[set[str], list[str]]:
    """Tab through the page once: the kinds of controls met, and those without a ring or out of sight."""
    kinds, wrong = set(), []
    for _ in range(MANY):
        page.keyboard.press("Tab")
        at = page.evaluate(FOCUSED)
        if at is None or at["walked"]:  # round once, or out of the page
            break
        kinds.add(at["kind"])
        if not at["ringed"] and at["kind"] != "iframe":  # the page in it draws the ring
            wrong.append(f"{at['kind']} {at['name']!r}: no ring")
        if not at["seen"]:
            wrong.append(f"{at['kind']} {at['name']!r}: out of sight")
    return kinds, wrong


@pytest.mark.parametrize("width", [1440, 390])
def test_every_control_of_the_room_shows_its_focus(visitors: Visitors, width: int) -> None:
    cast, task = room(EVERYTHING)
    page = visitors.page(cast.annotator, width=width)
    page.goto(f"/label/{task.public_id}/")
    expect(page.locator("#save-state")).to_have_text("Saved")
    kinds, wrong = walk(page)
    assert not wrong, "\n".join(wrong)
    assert {"a", "button button", "button submit", "input radio", "input checkbox", "input range"} <= kinds
    assert {"textarea textarea"} <= kinds


def test_every_control_of_the_control_room_shows_its_focus(visitors: Visitors) -> None:
    cast = make_cast()
    project, task = f"/p/{cast.project.public_id}/", f"tasks/{cast.task.public_id}/"
    met: set[str] = set()
    wrong: list[str] = []
    for width, addresses in {1440: ("instances/", f"{task}questions/", "imports/new/"), 390: ("people/",)}.items():
        page = visitors.page(cast.owner, width=width)
        for address in addresses:
            page.goto(project + address)
            kinds, lacking = walk(page)
            met |= kinds
            wrong += [f"{address}: {line}" for line in lacking]
    assert not wrong, "\n".join(wrong)
    assert {"a", "button submit", "input checkbox", "input file", "select select-one", "summary"} <= met


def focused(page: Page) -> str:
    """What has the focus, as its id or what it does."""
    return str(page.evaluate("() => document.activeElement.id || document.activeElement.dataset.act || ''"))


def test_a_dialog_takes_the_focus_and_gives_it_back(visitors: Visitors) -> None:
    cast, task = room(QUESTIONS)
    page = visitors.page(cast.annotator)
    page.goto(f"/label/{task.public_id}/")
    expect(page.locator("#save-state")).to_have_text("Saved")
    page.evaluate(AXE.read_text(encoding="utf-8"))
    wrong: list[str] = []
    for act, inside in (
        ("flag", "#flag-dialog"),
        ("skip", "#skip-dialog"),
        ("keys", "#keys-dialog"),
        ("guideline", "#guideline"),
    ):
        page.locator(f'[data-act="{act}"]:visible').focus()
        page.keyboard.press("Enter")
        expect(page.locator(inside)).to_be_visible()
        assert page.evaluate("where => document.querySelector(where).contains(document.activeElement)", inside), act
        wrong += accessibility(page, act, EVERY_RULE)
        page.keyboard.press("Escape")
        expect(page.locator(inside)).to_be_hidden()
        assert focused(page) == act
    menu = page.locator('[popovertarget="room-menu"]')
    menu.focus()
    page.keyboard.press("Enter")
    wrong += accessibility(page, "menu", EVERY_RULE)
    page.keyboard.press("Escape")
    expect(menu).to_be_focused()
    assert not wrong, "\n".join(wrong)


def test_the_focus_follows_to_the_next_instance_and_back_by_undo(visitors: Visitors) -> None:
    cast, task = room(QUESTIONS, instances=2)
    page = visitors.page(cast.annotator)
    page.goto(f"/label/{task.public_id}/")
    expect(page.locator("#save-state")).to_have_text("Saved")
    page.keyboard.press("1")
    submit(page)
    assert focused(page) == "main"
    page.evaluate(AXE.read_text(encoding="utf-8"))
    expect(page.locator(".toast")).to_be_visible()
    assert accessibility(page, "with the offer to undo", EVERY_RULE) == []
    before = page.locator("#work-data").text_content()
    page.locator(".toast button").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("before => document.getElementById('work-data')?.textContent !== before", arg=before)
    assert focused(page) == "main"
    page.keyboard.press("Tab")  # on into the texts, not back to the top bar
    assert page.evaluate("() => document.getElementById('main').contains(document.activeElement)")


def test_the_first_stop_skips_to_the_content(visitors: Visitors) -> None:
    cast, task = room(QUESTIONS)
    annotator, owner, nobody = visitors.page(cast.annotator), visitors.page(cast.owner), visitors.page()
    for page, address in ((annotator, f"/label/{task.public_id}/"), (owner, "/"), (nobody, "/account/login/")):
        page.goto(address)
        page.evaluate("() => document.activeElement.blur()")
        page.keyboard.press("Tab")
        skip = page.locator(".skip-link")
        expect(skip).to_be_focused()
        expect(skip).to_be_in_viewport(ratio=1)
        page.keyboard.press("Enter")
        assert focused(page) == "main", address


def test_nothing_moves_for_who_wants_no_motion(visitors: Visitors) -> None:
    cast, task = room(EVERYTHING)
    page = visitors.page(cast.annotator)  # visitors prefer reduced motion
    page.goto(f"/label/{task.public_id}/")
    expect(page.locator("#save-state")).to_have_text("Saved")
    assert page.evaluate(MOVING) == []
    page.keyboard.press("f")
    assert page.evaluate(MOVING) == []
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("1")
    assert page.evaluate(MOVING) == []
    owner = visitors.page(cast.owner, width=390)
    for address in ("", "instances/", "people/", f"tasks/{task.public_id}/questions/"):
        owner.goto(f"/p/{cast.project.public_id}/{address}")
        owner.locator(".rail-toggle").click()
        assert owner.evaluate(MOVING) == [], address


def test_what_moves_otherwise_is_over_soon(visitors: Visitors) -> None:
    """The same pages for everybody else: something moves, but for no longer than 150 ms."""
    cast, task = room(QUESTIONS)
    page = visitors.page(cast.annotator)
    page.emulate_media(reduced_motion="no-preference")
    page.goto(f"/label/{task.public_id}/")
    expect(page.locator("#save-state")).to_have_text("Saved")
    page.keyboard.press("f")
    longest = page.evaluate(
        """() => Math.max(...[...document.querySelectorAll("*")].flatMap((one) => {
          const { transitionDuration, animationDuration } = getComputedStyle(one);
          return `${transitionDuration},${animationDuration}`.split(",").map(parseFloat);
        }))"""
    )
    assert 0.1 <= longest <= 0.15
