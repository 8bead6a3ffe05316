"""Whatever a file, a person or a model writes is text: nothing of it runs, loads from elsewhere, or changes a page."""

from __future__ import annotations

import json
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from annotate.formulas import TAGS
from tests.annotate.routes import routes
from tests.browser.payloads import PAYLOADS, X, short
from tests.browser.visiting import Visitors, eventually

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

ALL = "\n\n".join(PAYLOADS)
# what must not be in a page: handlers, foreign addresses, and in texts of others anything that scripts of ours read
INTRUDERS = """() => {
    const found = [];
    const scheme = /^\\s*(javascript|vbscript|data):/i;
    for (const element of document.querySelectorAll('*')) {
        for (const { name, value } of element.attributes) {
            const address = ['href', 'src', 'action', 'formaction', 'xlink:href', 'data', 'srcdoc'].includes(name);
            const foreign = /^(https?:)?\\/\\//i.test(value) && !value.startsWith(location.origin);
            if (name.startsWith('on') || name === 'style') found.push(`${element.tagName} ${name}=${value}`);
            if (address && (scheme.test(value) || name === 'srcdoc')) found.push(`${element.tagName} ${name}=${value}`);
            if (address && foreign && element.tagName !== 'A') found.push(`${element.tagName} ${name}=${value}`);
            const ours = /^(id|data-|hx-|name|popovertarget)/.test(name);
            if (element.closest('.prose > *') && ours) found.push(`in a text: ${element.tagName} ${name}=${value}`);
        }
    }
    const odd = `math :not(MATHML), math [href], iframe, object, embed, base, video, audio,
        marquee, meta[http-equiv], main style, main link`;
    const preview = 'iframe[src^="/p/"][src$="/preview/room/"]'; // the builder's own
    for (const element of document.querySelectorAll(odd)) {
        if (!element.matches(preview)) found.push(element.outerHTML.slice(0, 200));
    }
    for (const script of document.scripts) {
        const data = script.type === 'application/json';
        if (!data && !script.src.startsWith(`${location.origin}/static/`)) found.push(script.outerHTML.slice(0, 200));
    }
    if (window.__xss !== undefined) found.push('a script ran');
    return found;
}""".replace("MATHML", ", ".join(sorted(TAGS)))


class Hostile:
    """A project where every text that somebody can write is a payload."""

    def __init__(self) -> None:
        from feedback.models import User
        from feedback.services import people, tasks

        self.owner = User.objects.create_user("owner@example.org", None, name=short(120)[0])
        name = short(120)[3]
        self.project = people.create_project(name, owner=self.owner, description=ALL[:4000])
        people.invite(self.project, "someone@example.org", "viewer", actor=self.owner)
        for text in short(120):
            tasks.create_task(self.project, text, [question("x")], actor=self.owner, description=text)
        asked = {
            "description": ALL[:4000],
            "aspects": short(60)[:8],
            "reasons": short(120)[:20],
            "ask_confidence": True,
        }
        title = short(300)[1]
        self.task = tasks.create_task(
            self.project, "The open one", [question(title, **asked)], actor=self.owner, guideline=ALL, overlap=2
        )
        self.instances = make_hostile_instances(self.task)
        tasks.open_task(self.task, actor=self.owner)


def question(title: str, **more: Any) -> dict[str, Any]:
    return {"kind": "preference", "name": "overall", "title": title, **more}


def make_hostile_instances(task: Any) -> list[Any]:
    """The first holds all payloads in its texts; the others carry one each as id, model, role and meta."""
    from feedback.models import Instance

    roles = ("system", "user", "assistant")
    prompt = [{"role": roles[n % 3], "content": text} for n, text in enumerate(PAYLOADS)]
    texts = [ALL, f"~~~~html\n{ALL}\n~~~~\n\n| a | b |\n|---|---|\n" + "\n".join(f"| {t} | x |" for t in short(200))]
    shared = {"task": task, "prompt_hash": "0" * 64, "open_slots": task.overlap}
    completions = [{"content": text, "model": short(120)[4]} for text in texts]
    rows = [Instance(external_id="all", prompt=prompt, completions=completions, **shared)]
    for text in short(200):
        one = [{"content": text, "model": text, "lang": text, "dir": text} for _ in "ab"]
        meta = {text: text, "lang": text, "dir": text}
        said = [{"role": text, "content": {"type": text}}, {"role": "user", "content": text}]
        rows.append(Instance(external_id=text, prompt=said, completions=one, meta=meta, source=text[:80], **shared))
    return Instance.objects.bulk_create(rows)


def harmless(page: Page, address: str) -> None:
    page.goto(address)
    assert page.evaluate(INTRUDERS) == [], address


def address_of(name: str, **ids: Any) -> str:
    return next(route for route in routes() if route.name == name).url(**ids)


def test_payloads_are_many_and_distinct() -> None:
    assert len(set(PAYLOADS)) == len(PAYLOADS) >= 200
    assert len(short(120)) >= 150


def test_the_watch_notices_what_it_is_there_for(visitors: Visitors) -> None:
    """Without this, a page that shows nothing at all would pass every check below."""
    page = visitors.page()
    page.goto("/account/login/")
    page.evaluate(
        "() => document.querySelector('main').insertAdjacentHTML('beforeend', "
        "`<img src=x onerror='window.__xss=1'><p style='color:red'>x</p><a href='javascript:1'>x</a>`)"
    )
    page.evaluate("alert(1)")
    page.evaluate("() => { setTimeout(() => { throw new Error('thrown') }) }")
    page.evaluate("() => fetch('https://evil.example/').catch(() => 0)")
    faults = visitors.faults

    def noted(part: str) -> bool:
        return any(part in line for line in faults.seen)

    for part in ("dialog: 1", "script error: ", "Content Security Policy"):
        eventually(partial(noted, part), page=page)
    assert len(page.evaluate(INTRUDERS)) == 3
    faults.expected.append(".")  # all of it was provoked, and the image's 404 may still come


def test_nothing_runs_in_the_control_room(visitors: Visitors) -> None:
    hostile = Hostile()
    ids = {"project": hostile.project.public_id, "task": hostile.task.public_id}
    hostile_task = hostile.project.tasks.get(name=short(120)[0])
    said_of(hostile)
    page = visitors.page(hostile.owner)
    names = ("overview", "settings", "people", "tasks", "task", "task-edit", "task-create", "instances", "routing")
    names = (*names, "task-questions", "task-preview", "task-preview-room", "task-import", "adjudication", "media")
    for name in (*names, "plan-create", "judge", "datasets", "dataset-create", "training", "import-new"):
        harmless(page, address_of(name, **ids))
    harmless(page, address_of("task", **{**ids, "task": hostile_task.public_id}))
    expect(page.get_by_role("heading", level=1)).to_have_text(short(120)[0])
    for name in ("projects", "queue", "history", "tokens", "keys"):
        harmless(page, address_of(name))
    for instance in (hostile.instances[0], hostile.instances[1], hostile.instances[-1]):
        harmless(page, address_of("instance", **ids, instance=instance.public_id))
    found = page.goto(f"{address_of('instances', **ids)}?q={quote(PAYLOADS[0])}&task={hostile.task.public_id}")
    assert found is not None
    assert found.status == 200
    assert page.evaluate(INTRUDERS) == []
    expect(page.get_by_role("cell", name=PAYLOADS[0]).first).to_be_visible()


def said_of(hostile: Hostile) -> None:
    """Annotations of the first instance: a judge's reasons and a person's own words."""
    from feedback.models import Annotation, Annotator

    answer = {"value": "tie", "aspects": {}, "confidence": 3, "reasons": short(120)[:20], "other_reason": ALL[:4000]}
    for kind in ("judge", "human"):
        who = Annotator.objects.create(project=hostile.project, kind=kind, name=short(120)[5])
        details = {"rationale": ALL, "p_a": 0.5, "orders": {PAYLOADS[0]: PAYLOADS[1]}} if kind == "judge" else {}
        Annotation.objects.create(
            task=hostile.task,
            instance=hostile.instances[0],
            annotator=who,
            source=kind,
            answers={"overall": answer},
            details=details,
            recorded=True,
        )


def test_nothing_runs_in_the_reading_room(visitors: Visitors) -> None:
    hostile = Hostile()
    page = visitors.page(hostile.owner)
    work = address_of("work", task=hostile.task.public_id)
    harmless(page, work)
    page.evaluate("() => document.querySelectorAll('details').forEach((one) => { one.open = true })")
    page.evaluate("() => document.querySelectorAll('[data-raw-toggle]').forEach((one) => one.click())")
    expect(page.locator(".completion .raw").filter(has_text=PAYLOADS[0]).first).to_be_visible()
    page.keyboard.press("g")
    expect(page.locator("#guideline")).to_be_visible()
    for link in page.locator("#guideline .prose a").all():
        link.hover(force=True)
        link.focus()
    page.keyboard.press("Escape")
    page.keyboard.press("3")
    for tick in page.locator(".tick input").all():
        tick.check()
    page.get_by_label("Own reason").fill(ALL[:4000])
    expect(page.locator("#save-state")).to_have_text("Saved")
    harmless(page, work)  # the draft comes back from the server
    expect(page.get_by_label("Own reason")).to_have_value(ALL[:4000].strip())
    before = page.locator("#work-data").text_content()
    page.keyboard.press("Control+Enter")
    page.wait_for_function("before => document.getElementById('work-data')?.textContent !== before", arg=before)
    assert page.evaluate(INTRUDERS) == []  # the next instance came by a swap
    stored = json.loads(page.locator("#work-data").text_content() or "{}")
    assert stored["questions"][0]["reasons"] == short(120)[:20]
    page.keyboard.press("u")
    expect(page.locator(".strength-main input:checked")).to_have_value("tie")
    assert page.evaluate(INTRUDERS) == []


def test_nothing_runs_in_an_import(visitors: Visitors) -> None:
    hostile = Hostile()
    columns = {text: text for text in short(120)[:30]}
    rows: list[dict[str, Any]] = [{"prompt": ALL, "a": text, "b": PAYLOADS[0], **columns} for text in PAYLOADS[:20]]
    rows += [{"prompt": [{"role": PAYLOADS[3], "content": "x"}], "a": "", "b": 3, **columns}]
    body = "\n".join(json.dumps(row) for row in rows).encode()
    page = visitors.page(hostile.owner)
    page.goto(address_of("import-new", project=hostile.project.public_id))
    name = "<img src=x onerror=window.__xss=1>.jsonl"
    page.get_by_label("File").set_input_files({"name": name, "mimeType": "application/jsonl", "buffer": body})
    page.get_by_label("Task", exact=False).first.select_option(str(hostile.task.public_id))
    page.get_by_role("button", name="Look through the file").click()
    assert page.evaluate(INTRUDERS) == []
    page.get_by_label("Prompt", exact=False).first.select_option("prompt")
    page.get_by_role("group", name="Completions").get_by_role("checkbox", name="a", exact=True).check()
    page.get_by_role("group", name="Completions").get_by_role("checkbox", name="b", exact=True).check()
    page.get_by_role("button", name="Look through the file").click()
    expect(page.get_by_role("heading", name="Rows that cannot be imported")).to_be_visible()
    assert page.evaluate(INTRUDERS) == []


@pytest.mark.parametrize("where", ["/account/login/?next=", "/nothing/", "/account/link/", "/account/invitation/"])
def test_nothing_runs_from_an_address(visitors: Visitors, where: str) -> None:
    visitors.faults.expected.append(r"status of 4(04|10)")
    page = visitors.page()
    for text in (PAYLOADS[0], f"javascript:{X}", f"'\"><img src=x onerror={X}>", "//evil.example/"):
        harmless(page, where + quote(text, safe=""))
