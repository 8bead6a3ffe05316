"""Stored = shown = exported: whichever side a completion stood on, every place says the same of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from tests.browser.visiting import Visitors, Worker, eventually
from tests.conftest import Cast, make_cast, make_instances

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

LEFT_FIRST, RIGHT_FIRST = [0, 1], [1, 0]
# what the screen's words become in the files, written out for both orders
STORED = {
    "A is clearly better": ("a-is-clearly-better", "b-is-clearly-better"),
    "A is slightly better": ("a-is-slightly-better", "b-is-slightly-better"),
    "Tie": ("tie", "tie"),
    "B is slightly better": ("b-is-slightly-better", "a-is-slightly-better"),
    "B is clearly better": ("b-is-clearly-better", "a-is-clearly-better"),
    "Both are bad": ("both-bad", "both-bad"),
}
STEPS = {"slightly": 1, "clearly": 2}


@dataclass
class Case:
    """How an annotator answers one instance, and what the screen then says is chosen."""

    act: Callable[[Page], None]
    words: str
    aspects: dict[str, str] = field(default_factory=dict)
    confidence: int | None = None
    reasons: list[str] = field(default_factory=list)
    other_reason: str = ""


def press(*keys: str) -> Callable[[Page], None]:
    def act(page: Page) -> None:
        for key in keys:
            page.keyboard.press(key)

    return act


def click(words: str) -> Callable[[Page], None]:
    return lambda page: page.locator(".strength-main").get_by_role("radio", name=words, exact=True).check()


def everything_by_key(page: Page) -> None:
    press("2", "j", "5", "j", "1", "j", "4", "j", "1", "2")(page)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type("Jumps to 1st, not 2nd")


def everything_by_click(page: Page) -> None:
    page.get_by_role("group", name="truthful").get_by_role("radio", name="B is slightly better").check()
    page.get_by_role("group", name="How sure are you?").get_by_role("radio", name="1, guessing").check()
    page.get_by_role("checkbox", name="more correct").check()
    page.get_by_label("Own reason").fill("Ends “well”")
    click("B is clearly better")(page)


CASES = [
    Case(press("1"), "A is clearly better"),
    Case(press("2"), "A is slightly better"),
    Case(press("3"), "Tie"),
    Case(press("4"), "B is slightly better"),
    Case(press("5"), "B is clearly better"),
    Case(press("0"), "Tie"),
    Case(press("9"), "Both are bad"),
    Case(click("A is clearly better"), "A is clearly better"),
    Case(click("B is slightly better"), "B is slightly better"),
    Case(click("Both are bad"), "Both are bad"),
    Case(press("5", "1", "4"), "B is slightly better"),
    Case(
        everything_by_key,
        "A is slightly better",
        {"helpful": "B is clearly better", "truthful": "A is clearly better"},
        4,
        ["clearer", "more correct"],
        "Jumps to 1st, not 2nd",
    ),
    Case(
        everything_by_click,
        "B is clearly better",
        {"truthful": "B is slightly better"},
        1,
        ["more correct"],
        "Ends “well”",
    ),
]


def expected(case: Case, order: list[int]) -> dict[str, Any]:
    side = order[0]
    return {
        "value": STORED[case.words][side],
        "aspects": {aspect: STORED[words][side] for aspect, words in case.aspects.items()},
        "confidence": case.confidence,
        "reasons": case.reasons,
        "other_reason": case.other_reason,
    }


def lend_all(cast: Cast, order: list[int]) -> list[Any]:
    """Instances already lent to the annotator in this side order; the queue hands them out oldest first."""
    from feedback.models import Assignment
    from feedback.services import queue, tasks

    instances = make_instances(cast.task, len(CASES), slots=0)
    tasks.open_task(cast.task, actor=cast.owner)
    annotator = queue.annotator_of(cast.project, cast.annotator)
    for instance in instances:
        Assignment.objects.create(
            task=cast.task,
            instance=instance,
            annotator=annotator,
            order=order,
            lease_expires_at=timezone.now() + timedelta(hours=1),
        )
    return instances


def label(page: Page, case: Case) -> list[str]:
    """Answer the instance on screen; returns the texts of A and B as they stood there."""
    shown = [text.strip() for text in page.locator(".completion .prose").all_inner_texts()]
    case.act(page)
    expect(page.locator(".strength-main input:checked")).to_have_attribute("aria-label", case.words)
    here = page.locator("#work-data").text_content()
    page.keyboard.press("Control+Enter")
    page.wait_for_function("before => document.getElementById('work-data')?.textContent !== before", arg=here)
    return shown


def preferred(case: Case, shown: list[str]) -> tuple[str, str, int] | None:
    """(chosen, rejected, strength) as the annotator meant it; none for a tie and for both bad."""
    if case.words in ("Tie", "Both are bad"):
        return None
    pair = shown if case.words.startswith("A") else shown[::-1]
    return pair[0], pair[1], STEPS[case.words.split()[2]]


def frozen(cast: Cast, worker: Worker) -> dict[str, list[dict[str, Any]]]:
    """The rows of a version frozen of all annotations, by shape."""
    from feedback.models import DatasetVersion
    from feedback.services import datasets

    spec = {"shapes": ["raw", "preference"], "formats": ["jsonl"], "splits": [1, 0, 0]}
    version = datasets.create_version(cast.task, spec, actor=cast.owner)
    eventually(lambda: DatasetVersion.objects.exclude(state="freezing").filter(pk=version.pk).exists())
    version.refresh_from_db()
    rows: dict[str, list[dict[str, Any]]] = {"raw": [], "preference": []}
    for file in datasets.files_of(version):
        if file.split:
            text = (datasets.folder_of(version) / file.path).read_text(encoding="utf-8")
            rows[file.shape] += map(json.loads, text.splitlines())
    return rows


def by_api(cast: Cast, url: str) -> dict[str, dict[str, Any]]:
    from feedback.services import people

    secret = people.make_token(cast.owner, "test", ["read"])[1]
    address = f"{url}/api/v1/projects/{cast.project.public_id}/annotations/?limit=100"
    found = httpx.get(address, headers={"Authorization": f"Bearer {secret}"}, trust_env=False).json()
    return {row["external_id"]: row for row in found["results"]}


def words(value: str) -> str:
    return value.replace("-", " ").capitalize().replace(" b ", " B ")


def told_of(answer: dict[str, Any]) -> dict[str, Any]:
    """What the instance page says of a stored answer."""
    return {
        "says": words(answer["value"]),
        "why": [*answer["reasons"], *filter(None, [answer["other_reason"]])],
        "sure": f"{answer['confidence']} of 5" if answer["confidence"] else "–",
        "aspects": {aspect: words(value) for aspect, value in answer["aspects"].items()},
    }


def told_on(page: Page) -> dict[str, Any]:
    first, *aspects = page.locator(".said-table tbody tr").all()
    return {
        "says": first.locator("td:nth-child(3) > span").inner_text(),
        "why": first.locator(".said-reasons li").all_inner_texts(),
        "sure": first.locator("td:nth-child(4)").inner_text(),
        "aspects": {row.locator("th").inner_text(): row.locator("td").last.inner_text() for row in aspects},
    }


@pytest.mark.parametrize("order", [LEFT_FIRST, RIGHT_FIRST], ids=["stored order", "sides exchanged"])
def test_what_is_chosen_on_the_screen_is_stored_shown_and_exported(
    visitors: Visitors, worker: Worker, order: list[int]
) -> None:
    from feedback.models import Annotation

    cast = make_cast(instances=0)
    instances = lend_all(cast, order)
    page = visitors.page(cast.annotator)
    page.goto(f"/label/{cast.task.public_id}/")
    shown = [label(page, case) for case in CASES]

    assert shown == [
        [("First", "Second")[order[0]] + f" {n}", ("First", "Second")[order[1]] + f" {n}"] for n in range(len(CASES))
    ]
    wanted = {instance.external_id: expected(case, order) for instance, case in zip(instances, CASES, strict=True)}
    stored = {row.instance.external_id: row for row in Annotation.objects.select_related("instance")}
    assert {name: row.answers["overall"] for name, row in stored.items()} == wanted
    assert all(row.order == order for row in stored.values())

    told = by_api(cast, visitors.site.url)
    assert {name: row["answers"]["overall"] for name, row in told.items()} == wanted
    assert all(row["order"] == order for row in told.values())

    control = visitors.page(cast.owner)
    for instance in instances:
        control.goto(f"/p/{cast.project.public_id}/instances/{instance.public_id}/")
        assert told_on(control) == told_of(wanted[instance.external_id]), instance.external_id
    texts = control.locator(".instance-text .prose").all_inner_texts()
    assert [text.strip() for text in texts] == [f"First {len(CASES) - 1}", f"Second {len(CASES) - 1}"]

    rows = frozen(cast, worker)
    assert {row["external_id"]: json.loads(row["answers"])["overall"] for row in rows["raw"]} == wanted
    assert {row["external_id"]: row["answer.overall"] for row in rows["raw"]} == {
        name: answer["value"] for name, answer in wanted.items()
    }
    meant = [preferred(case, texts) for case, texts in zip(CASES, shown, strict=True)]
    assert sorted((row["chosen"], row["rejected"], row["strength"]) for row in rows["preference"]) == sorted(
        filter(None, meant)
    )
