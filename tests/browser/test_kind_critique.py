"""A critique and its refinement: what is typed = stored = told by the API = exported, in every order of the screen."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from tests.browser.visiting import Visitors, Worker, eventually
from tests.conftest import Cast, make_cast

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

CRITIQUE = {"kind": "critique", "name": "critique", "title": "What is wrong?", "ask_refinement": True, "required": True}
FIRST = "\n  The cat sat on the mat.\nIt was *happy*, <b>very</b>."
SECOND = "سلام **دنیا**\r\nSecond line"


def critics(*, order: list[int], completions: list[str] | None = None, questions: list[Any] | None = None) -> Cast:
    """A task that asks for a critique, with one instance lent to the annotator in this order."""
    from feedback.models import Assignment, Instance
    from feedback.services import queue, tasks

    cast = make_cast(instances=0)
    cast.task = tasks.create_task(cast.project, "Critiques", questions or [CRITIQUE], actor=cast.owner)
    texts = [FIRST, SECOND] if completions is None else completions
    instance = Instance.objects.create(
        task=cast.task,
        external_id="i0",
        prompt=[{"role": "user", "content": "Say something."}],
        completions=[{"content": text, "model": "m"} for text in texts],
        prompt_hash="0" * 64,
    )
    tasks.open_task(cast.task, actor=cast.owner)
    Assignment.objects.create(
        task=cast.task,
        instance=instance,
        annotator=queue.annotator_of(cast.project, cast.annotator),
        order=order,
        lease_expires_at=timezone.now() + timedelta(hours=1),
    )
    return cast


def open_work(visitors: Visitors, cast: Cast, **options: Any) -> Page:
    page = visitors.page(cast.annotator, **options)
    page.goto(f"/label/{cast.task.public_id}/")
    expect(page.locator("#save-state")).to_have_text("Saved")
    return page


def submitted(page: Page) -> dict[str, Any]:
    from feedback.models import Annotation

    page.keyboard.press("Control+Enter")
    row = eventually(lambda: Annotation.objects.first(), page=page)
    return dict(row.answers["critique"])


def told(cast: Cast, url: str) -> dict[str, Any]:
    from feedback.services import people

    secret = people.make_token(cast.owner, "test", ["read"])[1]
    address = f"{url}/api/v1/projects/{cast.project.public_id}/annotations/"
    found = httpx.get(address, headers={"Authorization": f"Bearer {secret}"}, trust_env=False).json()
    return dict(found["results"][0]["answers"]["critique"])


def frozen(cast: Cast) -> dict[str, list[dict[str, Any]]]:
    from feedback.services import datasets

    spec = {"shapes": ["raw", "preference"], "formats": ["jsonl"], "splits": [1, 0, 0], "refinements": "chosen"}
    version = datasets.create_version(cast.task, spec, actor=cast.owner)
    eventually(lambda: not type(version).objects.filter(pk=version.pk, state="freezing").exists())
    version.refresh_from_db()
    rows: dict[str, list[dict[str, Any]]] = {"raw": [], "preference": []}
    for file in datasets.files_of(version):
        if file.split:
            text = (datasets.folder_of(version) / file.path).read_text(encoding="utf-8")
            rows[file.shape] += [json.loads(line) for line in text.split("\n") if line]
    return rows


@pytest.mark.parametrize("order", [[0, 1], [1, 0]], ids=["stored order", "sides exchanged"])
def test_what_is_typed_is_stored_told_and_exported(visitors: Visitors, worker: Worker, order: list[int]) -> None:
    cast = critics(order=order)
    page = open_work(visitors, cast)
    letters = {index: "AB"[position] for position, index in enumerate(order)}
    page.get_by_label(f"Critique of {letters[0]}").fill("Too short.\n\n- no “reason” 🙂")
    page.get_by_role("button", name=f"Refine {letters[1]}").click()
    box = page.get_by_role("region", name=f"Refinement of {letters[1]}").get_by_label("Refined text")
    expect(box).to_be_focused()
    expect(box).to_have_value("سلام **دنیا**\nSecond line")
    box.fill("سلام **دنیا**\nThird line")
    panel = page.get_by_role("region", name=f"Refinement of {letters[1]}")
    expect(panel.locator("[data-changes]")).to_have_text("Words removed: 1, added: 1")
    expect(panel.locator("del")).to_have_text("[removed: Second] ")
    expect(panel.locator("ins")).to_have_text("[added: Third] ")
    wanted = {
        "critiques": ["Too short.\n\n- no “reason” 🙂", ""],
        "refinements": [None, "سلام **دنیا**\r\nThird line"],  # line ends as in the completion
    }
    assert submitted(page) == wanted
    assert told(cast, visitors.site.url) == wanted
    rows = frozen(cast)
    [raw] = rows["raw"]
    assert json.loads(raw["answers"])["critique"] == wanted
    assert raw["answer.critique.critiques"] == wanted["critiques"]
    assert raw["answer.critique.refinements"] == wanted["refinements"]
    assert [(row["chosen"], row["rejected"]) for row in rows["preference"]] == [(wanted["refinements"][1], SECOND)]


def test_everything_by_keyboard(visitors: Visitors) -> None:
    page = open_work(visitors, critics(order=[1, 0]))
    page.keyboard.press("j")
    expect(page.get_by_label("Critique of B")).to_be_focused()
    page.keyboard.type("Keys ekeys")
    page.keyboard.press("Escape")
    page.keyboard.press("e")
    box = page.get_by_role("region", name="Refinement of B").get_by_label("Refined text")
    expect(box).to_be_focused()
    expect(box).to_have_value(FIRST)
    page.keyboard.press("Control+End")
    page.keyboard.type(" More.")
    assert submitted(page) == {"critiques": ["Keys ekeys", ""], "refinements": [FIRST + " More.", None]}


def test_a_refinement_that_says_the_same_is_none_and_one_that_is_removed_can_be_taken_back(visitors: Visitors) -> None:
    page = open_work(visitors, critics(order=[0, 1]))
    page.get_by_role("button", name="Refine A").click()
    panel = page.get_by_role("region", name="Refinement of A")
    expect(panel.locator("[data-changes]")).to_have_text("Not changed yet")
    box = panel.get_by_label("Refined text")
    box.fill("Something else")
    panel.get_by_role("button", name="Reset to the original").click()
    expect(box).to_have_value(FIRST)
    page.get_by_role("button", name="Undo").click()
    expect(box).to_have_value("Something else")
    panel.get_by_role("button", name="Remove refinement").click()
    expect(panel).to_be_hidden()
    page.get_by_role("button", name="Undo").click()
    expect(box).to_have_value("Something else")
    panel.get_by_role("button", name="Reset to the original").click()
    page.get_by_label("Critique of A").fill("Fine")
    assert submitted(page) == {"critiques": ["Fine", ""], "refinements": [None, None]}


def test_a_draft_brings_the_refinement_back(visitors: Visitors) -> None:
    page = open_work(visitors, critics(order=[1, 0]))
    page.get_by_label("Critique of A").fill("Half a thou")
    page.get_by_role("button", name="Refine A").click()
    page.get_by_label("Refined text").first.fill("Refined half")
    expect(page.locator("#save-state")).to_have_text("Saved")
    page.reload()
    expect(page.get_by_label("Critique of A")).to_have_value("Half a thou")
    expect(page.get_by_role("region", name="Refinement of A").get_by_label("Refined text")).to_have_value(
        "Refined half"
    )
    expect(page.get_by_role("region", name="Refinement of B")).to_be_hidden()


def test_a_required_critique_is_asked_for_by_screen_and_server(visitors: Visitors) -> None:
    from feedback.answers import check_answers
    from feedback.content import Shown
    from feedback.models import Annotation
    from feedback.questions import InvalidAnswer, parse_questions

    page = open_work(visitors, critics(order=[0, 1]))
    page.get_by_role("button", name="Refine A").click()
    page.get_by_label("Refined text").first.fill("Only refined")
    expect(page.locator("#missing")).to_have_text("Write a critique")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_label("Critique of A")).to_be_focused()
    assert not Annotation.objects.exists()
    answer = {"critique": {"critiques": [" ", "\n"], "refinements": ["x", None]}}
    with pytest.raises(InvalidAnswer) as refused:
        check_answers(parse_questions([CRITIQUE]), answer, Shown([FIRST, SECOND]))
    assert refused.value.errors == {"critique.critiques": "write at least one critique"}


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]], ids=["stored order", "another order"])
def test_two_completions_are_compared_in_words_on_demand(visitors: Visitors, order: list[int]) -> None:
    texts = ["Red apples fall.", "Green apples fall.", "Red pears rise."]
    page = open_work(visitors, critics(order=order, completions=texts))
    comparison = page.get_by_role("region", name="Comparison")
    comparison.get_by_role("button", name="Compare words").click()
    diff = comparison.get_by_role("region", name="Differences in words")
    first, second, third = (texts[index] for index in order)

    def sides() -> list[str]:
        """What stands struck through and what stands underlined, each with what is the same."""
        parts = diff.evaluate(
            "d => [...d.querySelector('.diff-line').childNodes]"
            ".map(n => [n.nodeName, n.nodeName === '#text' ? n.data : n.childNodes[1].data])"
        )
        return ["".join(text for name, text in parts if name in ("#text", side)) for side in ("DEL", "INS")]

    expect(diff).to_be_visible()
    assert sides() == [first, second]
    expect(diff.locator("del")).not_to_have_count(0)
    comparison.get_by_label("From completion").select_option("C")
    eventually(lambda: sides() == [third, second], page=page)
    assert [urlsplit(worker.url).path.rpartition("/")[2].partition(".")[0] for worker in page.workers] == ["differ"]
    comparison.get_by_role("button", name="Compare words").click()
    expect(diff).to_be_hidden()


JOINED = """async (pairs) => {
  const scripts = document.querySelector("script[src*=annotate]").src.replace(/annotate[^/]*$/, "");
  const { diffWords } = await import(scripts + NAME);
  return pairs.map(([before, after]) => {
    const { parts, cut } = diffWords(before, after);
    const joined = (kind) => parts.map((part) => (["same", kind].includes(part.kind) ? part.text : "")).join("");
    return { parts: parts.map(({ kind, text }) => [kind, text]), cut, before: joined("gone"), after: joined("new") };
  });
}"""


def differences(page: Page, pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
    from django.contrib.staticfiles.storage import staticfiles_storage

    name = staticfiles_storage.stored_name("js/annotating/worddiff.js").removeprefix("js/")
    return list(page.evaluate(JOINED.replace("NAME", json.dumps(name)), pairs))


def test_a_word_diff_tells_the_shortest_way_in_words(visitors: Visitors) -> None:
    page = open_work(visitors, critics(order=[0, 1]))
    pairs = [
        ("The quick fox.", "The slow fox."),
        ("one two three", "one 2 3 three"),
        ("お茶を飲む", "お水を飲む"),
        ("مرحبا يا عالم", "مرحبا يا صديق"),
        ("cafe\u0301 au lait", "the\u0301 au lait"),
        ("", "all new"),
        ("same", "same"),
    ]
    found = [one["parts"] for one in differences(page, pairs)]
    assert found == [
        [["same", "The "], ["gone", "quick"], ["new", "slow"], ["same", " fox."]],
        [["same", "one "], ["gone", "two"], ["new", "2 3"], ["same", " three"]],
        [["same", "お"], ["gone", "茶"], ["new", "水"], ["same", "を飲む"]],
        [["same", "مرحبا يا "], ["gone", "عالم"], ["new", "صديق"]],
        [["gone", "cafe\u0301"], ["new", "the\u0301"], ["same", " au lait"]],
        [["new", "all new"]],
        [["same", "same"]],
    ]


def test_the_parts_of_a_word_diff_are_the_two_texts(visitors: Visitors) -> None:
    from random import Random

    random = Random(7)
    vocabulary = ["a", "the", "cat", " ", "  ", "\n", "東", "京", "é", "👩\u200d🚀", "مرحبا", ".", "don't", "\r\n"]

    def text(most: int) -> str:
        return "".join(random.choices(vocabulary, k=random.randrange(most)))

    pairs = [(text(80), text(80)) for _ in range(300)] + [(text(9000), text(9000))]
    page = open_work(visitors, critics(order=[0, 1]))
    found = differences(page, pairs)
    assert [(one["before"], one["after"]) for one in found] == pairs
    assert not any(one["cut"] for one in found[:300])
    assert found[300]["cut"]


def test_a_comparison_that_fails_says_so_and_can_be_asked_for_again(visitors: Visitors) -> None:
    visitors.faults.expected.append("differ")
    page = open_work(visitors, critics(order=[0, 1]))
    page.context.route("**/differ*.js", lambda route: route.abort())
    page.get_by_role("button", name="Refine A").click()
    words = page.get_by_role("region", name="Refinement of A").locator("[data-changes]")
    expect(words).to_have_text("The texts could not be compared. Reload the page.")
    page.context.unroute("**/differ*.js")
    page.get_by_role("region", name="Refinement of A").get_by_label("Refined text").fill("Other words")
    expect(words).to_have_text("Words removed: 12, added: 2")


def test_long_completions_out_of_sight_are_not_laid_out_and_keep_their_place(visitors: Visitors) -> None:
    long = "\n\n".join(f"Line {n} of a long completion." for n in range(900))
    page = open_work(visitors, critics(order=list(range(12)), completions=[long] * 12))
    laid_out = "t => t.querySelector('.prose > p').checkVisibility({ contentVisibilityAuto: true })"
    first, last = page.locator(".completion-text").first, page.locator(".completion-text").last
    assert (first.evaluate(laid_out), last.evaluate(laid_out)) == (True, False)
    first.evaluate("t => { t.scrollTop = 3000 }")
    last.scroll_into_view_if_needed()
    eventually(lambda: last.evaluate(laid_out) and not first.evaluate(laid_out), page=page)
    expect(last).to_have_attribute("tabindex", "0")
    first.scroll_into_view_if_needed()
    assert first.evaluate("t => t.scrollTop") == 3000
