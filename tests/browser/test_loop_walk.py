"""The whole loop in the browser: an owner and an annotator, from an empty installation to a trained model."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Locator, Page, expect

from tests.browser.visiting import Visitors, Worker

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

INSTANCES = 16
JOB_MS = 60_000
# five instances by keys alone, beginning with the overall row: each list ends before the submit
ANSWERS = [
    ["1"],
    ["0", "Control+Enter"],
    ["4", "j", "2", "j", "5", "j", "3", "j", "5"],  # aspects, then how sure
    ["2", "j", "j", "j", "j", "4", "j", "1", "3"],  # how sure, then two reasons
    ["5", "k", "j", "ArrowLeft", "k", "5"],
]
WORDS = ["A is clearly better", "Tie", "B is slightly better", "A is slightly better", "B is clearly better"]


@pytest.fixture
def base_model(settings: Any) -> str:
    """A language model with random weights in the installation's folder of models."""
    from tests.training.tiny_models import save_tiny

    save_tiny(Path(settings.MODELS_DIR) / "tiny")
    return "folder:tiny"


def pairs_file(folder: Path) -> Path:
    """Two completions for each question; the better one stands first in every second row."""
    from training.base_model import preference_pairs

    rows = []
    for n, pair in enumerate(preference_pairs(INSTANCES, seed=11)):
        texts = [pair["chosen"][0]["content"], pair["rejected"][0]["content"]]
        first, second = texts if n % 2 else texts[::-1]
        rows.append({"key": f"q{n}", "question": pair["prompt"][0]["content"], "one": first, "two": second})
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def one_time_link(email: str) -> str:
    from feedback.models import LoginLink, User

    user = User.objects.create_superuser(email, None, name="Ada")
    return reverse("login-link", args=[LoginLink.make(user, timedelta(hours=1))])


def rail(page: Page, name: str) -> None:
    """Go to a page of the project by the rail."""
    page.get_by_role("navigation", name="Main").get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def press_button(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def job_done(page: Page) -> None:
    """Wait for the job on the page to end well, by the page's own polling."""
    expect(page.locator(".job .badge")).to_have_text("Done", timeout=JOB_MS)


def test_the_loop(visitors: Visitors, worker: Worker, base_model: str, tmp_path: Path) -> None:
    admin = visitors.page()
    link = one_time_link("ada@example.org")
    sign_in(admin, link)
    be_refused(visitors, link)
    create_project(admin)
    create_task(admin, tmp_path)
    import_file(admin, pairs_file(tmp_path))
    open_task(admin)
    annotator = visitors.page()
    join(annotator, invitation(admin))
    label_five(annotator)
    see_labels(admin)
    judge_all(admin)
    draw_pilot(admin)
    plan_and_apply(admin)
    freeze(admin)
    download(admin)
    train(admin, base_model)
    see_model(admin)


def sign_in(page: Page, link: str) -> None:
    page.goto(link)
    page.reload()  # opening the link does not use it up
    press_button(page, "Sign in")
    expect(page.get_by_role("heading", level=1)).to_have_text("Projects")


def be_refused(visitors: Visitors, link: str) -> None:
    visitors.faults.expected.append("status of 410")
    page = visitors.page()
    page.goto(link)
    press_button(page, "Sign in")
    expect(page.get_by_role("heading", level=1)).to_have_text("This link does not work any more")


def create_project(page: Page) -> None:
    page.get_by_role("link", name="New project").first.click()
    page.get_by_label("Name", exact=True).fill("Plain answers")
    press_button(page, "Create project")
    expect(page.get_by_role("heading", level=1)).to_have_text("Plain answers")


def create_task(page: Page, folder: Path) -> None:
    """From a definition file, then its budget; the builder has walks of its own."""
    question = {
        "kind": "preference",
        "name": "overall",
        "title": "Which completion is better?",
        "aspects": ["helpful", "truthful", "harmless"],
        "ask_confidence": True,
        "reasons": ["More correct", "More complete", "Clearer"],
    }
    definition = {"format": "tiebreak-task", "schema_version": 1, "name": "Which is plainer", "questions": [question]}
    path = folder / "task.json"
    path.write_text(json.dumps(definition | {"guideline": "Prefer what keeps to the **subject**."}))
    page.get_by_role("link", name="New task").first.click()
    page.get_by_role("link", name="From a file").click()
    page.locator("#id_file").set_input_files(path)
    press_button(page, "Create task")
    rail(page, "Tasks")
    page.get_by_role("link", name="Which is plainer").click()
    page.get_by_role("link", name="Edit", exact=True).click()
    page.get_by_label("Budget", exact=True).fill("20")
    press_button(page, "Save task")
    expect(page.get_by_role("heading", level=1)).to_have_text("Which is plainer")


def import_file(page: Page, path: Path) -> None:
    page.get_by_role("link", name="Import instances").click()
    page.locator("#id_file").set_input_files(path)
    press_button(page, "Look through the file")
    expect(page.get_by_role("heading", name="Which column is what")).to_be_visible()
    for field, column in {"prompt": "question", "external_id": "key"}.items():
        page.locator(f"#id_{field}").select_option(column)
    completions = page.get_by_role("group", name="Completions")
    for column in ("key", "question", "one", "two"):
        completions.get_by_role("checkbox", name=column, exact=True).set_checked(column in ("one", "two"))
    press_button(page, "Look through the file")
    expect(page.get_by_role("heading", name="How the first rows come in")).to_be_visible()
    expect(page.get_by_text(f"{INSTANCES} instances go to the task")).to_be_visible()
    press_button(page, "Import")
    page.get_by_role("link", name="Open the instances").click(timeout=JOB_MS)  # the page turns by itself
    expect(page.get_by_role("heading", level=1)).to_have_text("Instances")
    expect(page.get_by_role("cell", name="q0", exact=True)).to_be_visible()


def open_task(page: Page) -> None:
    rail(page, "Tasks")
    page.get_by_role("link", name="Which is plainer").click()
    press_button(page, "Open task")
    expect(page.get_by_text("The task is open: people can label.")).to_be_visible()


def invitation(page: Page) -> str:
    rail(page, "People")
    page.get_by_label("Email", exact=True).fill("grace@example.org")
    page.locator("#id_role").select_option("annotator")
    press_button(page, "Make invitation")
    return page.get_by_role("status").locator("code").inner_text()


def focus(page: Page, name: str, role: Any) -> None:
    """Tab on until the element of this name has the focus."""
    wanted = page.get_by_role(role, name=name).first
    for _ in range(40):
        if wanted.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"no way to {name} by the Tab key")


def join(page: Page, link: str) -> None:
    """Accept the invitation; from here on the annotator has no mouse."""
    page.goto(link)
    focus(page, "Name", "textbox")
    page.keyboard.type("Grace")
    page.keyboard.press("Tab")
    page.keyboard.type("a quiet harbour at night")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Your tasks")


def label_five(page: Page) -> None:
    focus(page, "Start", "link")
    page.keyboard.press("Enter")
    for number, (keys, words) in enumerate(zip(ANSWERS, WORDS, strict=True)):
        expect(page.locator(".room-progress")).to_contain_text(f"{number} / {INSTANCES}")
        expect(page.locator("#save-state")).to_have_text("Saved")
        submits = keys[-1] == "Control+Enter"
        for key in keys[:-1] if submits else keys:
            page.keyboard.press(key)
        expect(page.locator(".strength-main input:checked")).to_have_attribute("aria-label", words)
        page.keyboard.press("Control+Enter" if submits else "Enter")
    expect(page.locator(".room-progress")).to_contain_text(f"5 / {INSTANCES}")


def see_labels(page: Page) -> None:
    from feedback.models import Annotation

    stored = list(Annotation.objects.order_by("pk"))
    assert [row.annotator.name for row in stored] == ["Grace"] * 5
    assert [row.answers["overall"]["confidence"] for row in stored] == [None, None, 5, 4, None]
    assert stored[3].answers["overall"]["reasons"] == ["More correct", "Clearer"]
    assert set(stored[2].answers["overall"]["aspects"]) == {"helpful", "truthful", "harmless"}
    rail(page, "Tasks")
    expect(page.get_by_role("row").filter(has_text="Which is plainer").get_by_role("cell").nth(3)).to_have_text("5")


def judge_all(page: Page) -> None:
    rail(page, "Judge")
    page.get_by_role("link", name="Configure a judge").first.click()
    page.get_by_label("Name", exact=True).fill("Pool")
    page.get_by_label("Where verdicts come from").select_option("simulated")
    press_button(page, "Create judge")
    expect(page.get_by_role("heading", name="Put a judge to work")).to_be_visible()
    page.locator(".judge-run select[name=scope]").select_option("all")
    press_button(page, "Start judging")
    job_done(page)
    page.reload()
    verdicts = page.get_by_role("region", name="Judges beside people").get_by_role("row").nth(1).get_by_role("cell")
    expect(verdicts.nth(1)).to_have_text(str(INSTANCES))


def draw_pilot(page: Page) -> None:
    rail(page, "Routing")
    page.get_by_label("Instances", exact=True).fill("3")
    page.get_by_label("And judged by").select_option("")
    press_button(page, "Draw the pilot")
    expect(page.get_by_text("3 instances are drawn at random")).to_be_visible()


def plan_and_apply(page: Page) -> None:
    page.get_by_role("link", name="Make a plan").click()
    page.get_by_role("radio", name="Judge disagreement:").check()
    page.get_by_label("Budget", exact=True).fill("1.50")
    press_button(page, "Compute the plan")
    expect(page.get_by_role("heading", name="Who labels")).to_be_visible(timeout=JOB_MS)  # the page turns by itself
    press_button(page, "Apply the plan")
    expect(page.get_by_text("The plan is in force")).to_be_visible()
    expect(page.locator(".page-lead .badge")).to_have_text("Applied")


def freeze(page: Page) -> None:
    rail(page, "Datasets")
    page.get_by_role("link", name="Freeze version").first.click()
    page.get_by_label("Train share").fill("0.7")
    page.get_by_label("Validation share").fill("0")
    press_button(page, "Freeze version")
    expect(page.get_by_role("heading", name="Card")).to_be_visible(timeout=JOB_MS)  # the page turns by itself


def download(page: Page) -> None:
    """Fetch each file of the version by its link, the JSON lines of text pairs by a click."""
    lines = page.get_by_role("row").filter(has=page.locator("a[download]"))
    assert lines.count() >= 8
    for line in lines.all():
        link = line.get_by_role("link").get_attribute("href") or ""
        has_told_hash(line, page.request.get(link).body())
    clicked = [fetched(page, line) for line in lines.filter(has_text="preference/jsonl/data/").all()]
    pairs = [json.loads(row) for data in clicked for row in data.splitlines()]
    assert len(pairs) == int(page.locator(".stat-value").first.inner_text())
    assert all(pair["chosen"] != pair["rejected"] for pair in pairs)


def fetched(page: Page, row: Locator) -> bytes:
    """The file that a row of a table links to, by a click."""
    with page.expect_download() as waiting:
        row.get_by_role("link").click()
    return has_told_hash(row, waiting.value.path().read_bytes())


def has_told_hash(row: Locator, data: bytes) -> bytes:
    assert row.locator("[data-copy]").get_attribute("data-copy") == hashlib.sha256(data).hexdigest()
    return data


def train(page: Page, base_model: str) -> None:
    page.get_by_role("link", name="Train on it").click()
    page.get_by_label("Base model").select_option(base_model)
    page.get_by_label("Learning rate").fill("0.001")
    page.get_by_label("Epochs").fill("8")
    page.get_by_text("Advanced settings").click()
    page.get_by_label("Tokens per batch").fill("512")
    page.get_by_label("Evaluate every").fill("4")
    press_button(page, "Start the run")
    expect(page.get_by_role("heading", level=1)).to_have_text("Run 1")
    loss = page.locator("#chart-loss")
    expect(loss.locator(".chart-plot")).to_contain_text("No points yet")
    expect(loss.locator("canvas")).to_be_visible(timeout=JOB_MS)  # nobody reloads: the page follows the run itself
    expect(page.locator("#live .badge")).to_have_text("Finished", timeout=JOB_MS)
    expect(page.get_by_role("heading", name="Evaluation on held-out prompts")).to_be_visible()
    expect(loss.locator("canvas")).to_be_visible()
    loss.get_by_role("button", name="Show table").click()
    values = loss.locator("tbody tr td:nth-child(2)").all_inner_texts()
    assert len([value for value in values if value != "–"]) >= 4
    assert len(set(values)) > 1


def see_model(page: Page) -> None:
    rail(page, "Models")
    page.get_by_role("link", name="Reward model (Bradley–Terry) · run 1").click()
    expect(page.get_by_role("heading", name="Model card")).to_be_visible()
    data = fetched(page, page.get_by_role("row").filter(has_text="model.safetensors"))
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert any(name.startswith("score") for name in header), "a reward model has a head that scores"
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Overview", exact=True).click()
    expect(page.get_by_text("Plan the next round")).to_be_visible()
