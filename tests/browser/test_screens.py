"""Every page, in both themes, on a desk and on a phone: it opens, fits, says what it is, and breaks no rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.annotate.routes import routes
from tests.browser.furnished import Furnished, furnish
from tests.browser.visiting import Visitors

AXE = Path(__file__).parent / "vendor" / "axe-4.14.1.min.js"
# the size of targets is a rule of WCAG 2.2 that axe leaves off unless it is asked for
EVERY_RULE: dict[str, Any] = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
RULES: dict[str, dict[str, Any]] = {
    "light": EVERY_RULE,
    "dark": {"resultTypes": ["violations"], "runOnly": ["color-contrast"]},  # nothing else changes with the theme
}

# pages above a project, of a person's own work, and of a project; the last ones are looked at empty too
PERSONAL = ("projects", "project-create", "tokens", "keys", "languages", "queue", "history")
WORKING = ("work", "annotation-edit")
EMPTY = (
    *("overview", "settings", "people", "tasks", "task-create", "task-import", "instances", "import-new", "routing"),
    *("judge", "judge-create", "datasets", "training", "run-create", "models"),
)
OF_A_PROJECT = (
    *EMPTY,
    *("task", "task-edit", "task-questions", "questions-json", "questions-review", "task-preview", "preset", "media"),
    *("task-preview-room", "preset-room", "instance", "import", "plan-create", "plan", "judge-edit", "judge-figures"),
    *("features", "features-tag"),
    *("dataset-create", "dataset", "run", "model"),
    *("evaluation-create", "evaluation", "generation-create", "generation", "scoring-create", "scoring"),
    *("runs-compare", "sweep"),
    *("adjudication", "adjudicate", "adjudication-answer", "thread"),
)
SECRETS = ("login-link", "invitation")
# answers to scripts, parts of pages, files, and addresses that only take a POST
NO_PAGES = {
    *(
        "language",
        "beside",
        "prepared",
        "hand-back",
        "token-revoke",
        "invite",
        "member-role",
        "member-remove",
        "member-abilities",
        "languages-keep",
        "task-open",
        "task-close",
    ),
    *(
        "media-file",
        "media-replace",
        "media-delete",
        "task-export",
        "task-preview-answer",
        "preset-answer",
        "questions-discard",
        "questions-preset",
    ),
    *("question-keep", "question-open", "question-add", "question-duplicate", "question-move", "question-remove"),
    *("draft", "submit", "undo", "skip", "flag", "annotation-draft", "import-run"),
    *("instances-change", "assignment-requeue", "flag-decide", "adjudication-take", "adjudication-undo"),
    *("comment-add", "comment-edit", "comment-delete", "comment-resolve", "comment-reopen"),
    *("pilot-start", "plan-apply", "plan-again", "plan-preview", "plan-progress"),
    *("features-describe", "features-columns"),
    *("plan-next", "plan-stop", "plan-resume", "judge-run", "judge-retire"),
    *("dataset-file", "run-metrics", "run-log", "run-cancel", "run-resume", "run-go", "model-file"),
    *("job-part", "job-cancel"),
    *("evaluation-scores", "runs-compare-metrics", "sweep-cancel"),
}
OF_ACCOUNTS = ("/account/logout/", "/account/2fa/", "/nothing/")
STATUS = {"/account/invitation/x/": 410, "/nothing/": 404}


def test_every_route_is_looked_at_or_known_to_be_no_page() -> None:
    named = {route.name for route in routes() if not route.is_api}
    assert named == {*PERSONAL, *WORKING, *OF_A_PROJECT, *SECRETS, *NO_PAGES}


def addresses(furnished: Furnished) -> dict[str, list[str]]:
    """The addresses of all pages by who looks at them: the owner, an annotator, a visitor."""
    url = {route.name: route.url for route in routes()}
    of_project = {"project": furnished.project.public_id, **furnished.ids}
    of_empty = {"project": furnished.empty.public_id}
    owner = [url[name]() for name in PERSONAL] + [url[name](**of_project) for name in OF_A_PROJECT]
    owner += [url[name](**of_empty) for name in EMPTY] + list(OF_ACCOUNTS)
    annotator = [url[name](**furnished.ids) for name in WORKING] + [url["queue"](), url["history"]()]
    return {"owner": owner, "annotator": annotator, "visitor": ["/account/login/", *(url[n]() for n in SECRETS)]}


def shape_of(page: Page) -> dict[str, Any]:
    """Landmarks, headings and width of the page as it stands."""
    return dict(
        page.evaluate(
            """() => ({
                mains: document.querySelectorAll('main').length,
                headings: [...document.querySelectorAll('h1')]
                    .filter((h) => h.checkVisibility() && !h.closest('.prose')).map((h) => h.innerText),
                title: document.title,
                over: document.documentElement.scrollWidth - document.documentElement.clientWidth,
                wide: [...document.body.querySelectorAll('*')]
                    .filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
                    .slice(0, 5).map((e) => `${e.tagName}.${e.className}`),
            })"""
        )
    )


def look(page: Page, address: str, expected_status: int = 200) -> list[str]:
    """What is wrong with one page, in sentences."""
    response = page.goto(address, wait_until="load")
    status = response.status if response else 0
    if status != expected_status:
        return [f"{address}: status {status}"]
    shape = shape_of(page)
    wrong = []
    if shape["mains"] != 1:
        wrong.append(f"{address}: {shape['mains']} main landmarks")
    if len(shape["headings"]) != 1 or not shape["headings"][0].strip():
        wrong.append(f"{address}: first-level headings {shape['headings']}")
    if not shape["title"].strip():
        wrong.append(f"{address}: no title")
    if shape["over"] > 0:
        wrong.append(f"{address}: {shape['over']} pixels too wide: {shape['wide']}")
    return wrong


def accessibility(page: Page, address: str, rules: dict[str, Any]) -> list[str]:
    """What axe finds on the page as it stands."""
    found = page.evaluate("async (rules) => (await axe.run(document, rules)).violations", rules)
    return [f"{address}: {one['id']}: {one['help']}: {[node['target'] for node in one['nodes'][:3]]}" for one in found]


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_every_page_is_whole(visitors: Visitors) -> None:
    visitors.faults.expected.append(r"status of 4(04|10)")
    furnished = furnish()
    people = {"owner": furnished.owner, "annotator": furnished.annotator, "visitor": None}
    axe = AXE.read_text(encoding="utf-8")
    wrong: list[str] = []
    for scheme in ("light", "dark"):
        for width in (1440, 390):
            for who, pages in addresses(furnished).items():
                page = visitors.page(people[who], width=width, scheme=scheme)
                for address in pages:
                    said = look(page, address, STATUS.get(address, 200))
                    if not said and (scheme, width) != ("dark", 390):  # the colours of a phone are those of a desk
                        page.evaluate(axe)
                        said = accessibility(page, address, RULES[scheme])
                    wrong += [f"{scheme} {width} {line}" for line in said]
                page.context.close()
    assert not wrong, "\n" + "\n".join(wrong)
