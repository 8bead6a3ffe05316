"""Spans: what is selected on the screen is what is stored, returned and exported, in code points of the source."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from feedback.questions import parse_questions
from tests.browser.answering import by_api, frozen, stored, submit
from tests.browser.visiting import Visitors, Worker
from tests.conftest import Cast, make_cast

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

MIXED = (
    "Plain **bold wörds** and [a link](https://a.example/x) then `code();` 😀 👩‍👩‍👧 e\u0301toile "
    "مرحبا بالعالم 日本語の文 &amp; end\\*.\r\n\r\n"
    "- item *one*\r\n- two\r\n\r\n```python\r\nprint('hi')  # 😀 x\r\ny\r\n```\r\n"
)
ARABIC = "  مرحبا **بالعالم** الجميل.\n\nثم `code` نص آخر 😀."
PROMPT = "Is **this** right & proper?"
QUESTION = {
    "kind": "span",
    "name": "errors",
    "title": "Mark what is wrong",
    "types": [{"name": "Wrong", "subtypes": ["Fact", "Logic"]}, {"name": "Irrelevant"}, {"name": "Unclear"}],
    "severities": {"minor": 1, "major": 5},
    "on_prompt": True,
    "allow_missing": True,
}
# what is shown → what stands in the source, in MIXED
SHOWN = {
    "bold wörds": "bold wörds",
    "Plain bold": "Plain **bold",
    "a link then": "a link](https://a.example/x) then",
    "code();": "code();",
    "😀": "😀",
    "👩‍👩‍👧": "👩‍👩‍👧",
    "e\u0301toile": "e\u0301toile",
    "日本語の": "日本語の",
    "& end": "&amp; end",
    "*.": "*.",
    "one\ntwo": "one*\r\n- two",
    "print('hi')  # 😀 x\ny": "print('hi')  # 😀 x\r\ny",
}

# finds shown words in the visible view of a text and answers where the pointer goes down and up
WHERE = """async ([target, words, rtl]) => {
  const view = [...document.querySelectorAll(`[data-span-text="${target}"]`)].find((one) => one.checkVisibility());
  const walker = document.createTreeWalker(view, NodeFilter.SHOW_TEXT);
  const chars = [];
  while (walker.nextNode()) {
    const node = walker.currentNode;
    for (let i = 0; i < node.length; i += 1) chars.push([node, i]);
  }
  const kept = chars.filter(([node, i]) => !/\\s/.test(node.data[i]));
  const text = kept.map(([node, i]) => node.data[i]).join("");
  const wanted = words.replace(/\\s/g, "");
  const at = text.indexOf(wanted);
  const box = ([node, i]) => {
    const range = new Range();
    range.setStart(node, i);
    range.setEnd(node, i + 1);
    return [...range.getClientRects()].at(-1);
  };
  const first = kept[at];
  const last = kept[at + wanted.length - 1];
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  for (let i = 0; i < 4; i += 1) {  // what comes into view is laid out only then, and moves
    first[0].parentElement.scrollIntoView({ block: "center" });
    await frame();
  }
  const a = box(first);
  const b = box(last);
  const edge = (one, start) => [start === rtl ? one.right - 0.5 : one.left + 0.5, (one.top + one.bottom) / 2];
  return [edge(a, true), edge(b, false)];
}"""


def lend(
    cast: Cast, question: dict[str, Any], completions: list[str], order: list[int], spans: Any = (), **meta: Any
) -> Any:
    """One instance with these completions, lent to the annotator in this display order, with these spans as draft."""
    from feedback.models import Assignment, Instance
    from feedback.services import queue, tasks

    cast.task.questions = [one.model_dump() for one in parse_questions([question])]
    cast.task.save(update_fields=["questions"])
    instance = Instance.objects.create(
        task=cast.task,
        external_id="marked",
        prompt=[{"role": "user", "content": PROMPT}],
        completions=[{"content": text, "model": None} for text in completions],
        prompt_hash="0" * 64,
        open_slots=0,
        meta=meta,
    )
    tasks.open_task(cast.task, actor=cast.owner)
    return Assignment.objects.create(
        task=cast.task,
        instance=instance,
        annotator=queue.annotator_of(cast.project, cast.annotator),
        order=order,
        draft={"errors": {"spans": list(spans), "missing": []}} if spans else {},
        lease_expires_at=timezone.now() + timedelta(hours=1),
    )


def drag(page: Page, target: int, words: str, *, rtl: bool = False, seconds: float = 5) -> None:
    (x, y), (to_x, to_y) = page.evaluate(WHERE, [target, words, rtl])
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move((x + to_x) / 2, (y + to_y) / 2)
    page.mouse.move(to_x, to_y)
    page.mouse.up()
    expect(page.locator(".span-popover")).to_be_visible(timeout=1000 * seconds)


def put(page: Page, key: str) -> None:
    """Give the open selection a type, and close it."""
    page.keyboard.press(key)
    page.keyboard.press("Enter")
    expect(page.locator(".span-popover")).to_be_hidden()


def walk(page: Page, words: str, forward: str) -> None:
    """Select the first shown ``words`` of the focused text with arrow keys; ``forward`` is the arrow that reads on."""
    page.keyboard.press("Home")
    for pressed, wanted in ((forward, words[0]), (f"Shift+{forward}", words)):
        for _ in range(120):
            if page.evaluate(AHEAD if pressed == forward else SELECTED, words if pressed == forward else wanted):
                break
            page.keyboard.press(pressed)
    assert page.evaluate("getSelection().toString()") == words


AHEAD = """(words) => {
  const { focusNode, focusOffset } = getSelection();
  const range = new Range();
  range.setStart(focusNode, focusOffset);
  range.setEndAfter(document.activeElement.lastChild);
  return range.toString().startsWith(words);
}"""
SELECTED = "(words) => getSelection().toString() === words"


def span(source: str, words: str, target: int, kind: int, **more: Any) -> dict[str, Any]:
    start = source.index(words)
    blank = {"subtype": "", "severity": "", "comment": "", "confidence": None}
    name = QUESTION["types"][kind]["name"]
    return {"target": target, "start": start, "end": start + len(words), "type": name, **blank, **more}


def in_order(spans: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(spans, key=lambda one: (one["target"] >= 0, abs(one["target"]), one["start"], one["end"]))


def assert_stored_returned_and_exported(cast: Cast, url: str, answer: dict[str, Any]) -> None:
    texts = {0: MIXED, 1: ARABIC, -1: PROMPT}
    assert stored(cast.task) == {"marked": {"errors": answer}}
    assert by_api(cast, url, cast.task) == {"marked": {"errors": answer}}
    rows = frozen(cast, cast.task, ["raw", "spans"])
    assert [json.loads(row["answers"])["errors"] for row in rows["raw"]] == [answer]
    marked = [(one["start"], one["end"], one["type"]) for one in answer["spans"]]
    exported = [error for row in rows["spans"] for error in row["feedback"]["errors"]]
    assert [(one["start"], one["end"], one["error type"]) for one in exported] == marked
    assert all(0 <= one["start"] < one["end"] <= len(texts[one["target"]]) for one in answer["spans"])


@pytest.mark.parametrize("order", [[0, 1], [1, 0]], ids=["stored order", "sides exchanged"])
def test_what_the_mouse_selects_is_stored_returned_and_exported(
    visitors: Visitors, worker: Worker, order: list[int]
) -> None:
    cast = make_cast(instances=0)
    lend(cast, QUESTION, [MIXED, ARABIC], order)
    page = visitors.page(cast.annotator)
    page.goto(f"/label/{cast.task.public_id}/")
    made = []
    for n, (words, source) in enumerate(SHOWN.items()):
        drag(page, 0, words)
        put(page, str(n % 3 + 1))
        made.append(span(MIXED, source, 0, n % 3))
    drag(page, 1, "بالعالم الجميل", rtl=True)
    put(page, "2")
    made.append(span(ARABIC, "بالعالم** الجميل", 1, 1))
    drag(page, -1, "this right")
    put(page, "1")
    made.append(span(PROMPT, "this** right", -1, 0))
    expect(page.locator(".span-group ol > li")).to_have_count(len(made))
    submit(page)
    assert_stored_returned_and_exported(cast, visitors.site.url, {"spans": in_order(made), "missing": []})


@pytest.mark.parametrize("order", [[0, 1], [1, 0]], ids=["stored order", "sides exchanged"])
def test_what_the_keyboard_selects_is_stored_returned_and_exported(
    visitors: Visitors, worker: Worker, order: list[int]
) -> None:
    cast = make_cast(instances=0)
    lend(cast, {**QUESTION, "on_prompt": False}, [MIXED, ARABIC], order)
    page = visitors.page(cast.annotator)
    page.goto(f"/label/{cast.task.public_id}/")
    page.locator(".completion .prose").first.wait_for()
    page.keyboard.press("m")
    made = []
    for target in order:
        expect(page.locator(f'.prose[data-span-text="{target}"]')).to_be_focused()
        if target == 0:
            walk(page, "bold wörds and a", "ArrowRight")
            page.keyboard.press("3")  # marks at once
            made.append(span(MIXED, "bold wörds** and [a", 0, 2))
            walk(page, "👩‍👩‍👧 e\u0301toile", "ArrowRight")
            page.keyboard.press("Enter")  # opens the popover
            page.keyboard.press("1")
            page.keyboard.press("Shift+Digit2")
            page.get_by_role("combobox", name="Subtype").select_option("Logic")
            page.get_by_role("textbox", name="Comment").fill("Not “so”")
            page.get_by_role("radio", name="4", exact=True).check()
            page.keyboard.press("Enter")
            more = {"subtype": "Logic", "severity": "major", "comment": "Not “so”", "confidence": 4}
            made.append(span(MIXED, "👩‍👩‍👧 e\u0301toile", 0, 0, **more))
        else:
            walk(page, "بالعالم ال", "ArrowLeft")
            page.keyboard.press("2")
            made.append(span(ARABIC, "بالعالم** ال", 1, 1))
        if target == order[0]:
            page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    submit(page)
    assert_stored_returned_and_exported(cast, visitors.site.url, {"spans": in_order(made), "missing": []})
