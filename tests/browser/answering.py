"""What the tests of all kinds of question share: lend instances in a chosen order, submit, and read every place."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import httpx
from django.utils import timezone
from playwright.sync_api import Page, expect

from tests.browser.visiting import Visitors, eventually
from tests.conftest import Cast

Given = tuple[str, list[str], list[int]]


def ask(cast: Cast, questions: list[dict[str, Any]], instances: list[Given], name: str = "Kinds") -> Any:
    """An open task of these questions whose instances are lent to the annotator.

    An instance is given as its external id, its completions in stored order, and their order on the screen.
    """
    from feedback.services import tasks

    task = tasks.create_task(cast.project, name, questions, actor=cast.owner)
    for given in instances:
        _lend(cast, task, *given)
    tasks.open_task(task, actor=cast.owner)
    return task


def _lend(cast: Cast, task: Any, external_id: str, texts: list[str], order: list[int]) -> None:
    from feedback.models import Assignment, Instance
    from feedback.services import queue

    instance = Instance.objects.create(
        task=task,
        external_id=external_id,
        prompt=[{"role": "user", "content": f"Question {external_id}?"}],
        completions=[{"content": text, "model": f"m{n}"} for n, text in enumerate(texts)],
        prompt_hash=external_id.rjust(64, "0"),
    )
    Assignment.objects.create(
        task=task,
        instance=instance,
        annotator=queue.annotator_of(cast.project, cast.annotator),
        order=order,
        lease_expires_at=timezone.now() + timedelta(hours=1),
    )


def open_work(visitors: Visitors, cast: Cast) -> Page:
    """The reading room of the annotator, once its draft is there."""
    page = visitors.page(cast.annotator)
    page.goto(f"/label/{cast.task.public_id}/")
    expect(page.locator("#save-state")).to_have_text("Saved")
    return page


def submit(page: Page, keys: str = "Control+Enter") -> None:
    """Submit by key and wait for the next instance."""
    here = page.locator("#work-data").text_content()
    page.keyboard.press(keys)
    page.wait_for_function("before => document.getElementById('work-data')?.textContent !== before", arg=here)


def stored(task: Any) -> dict[str, dict[str, Any]]:
    from feedback.models import Annotation

    return {row.instance.external_id: row.answers for row in Annotation.objects.filter(task=task)}


def by_api(cast: Cast, url: str, task: Any) -> dict[str, dict[str, Any]]:
    """The answers that the REST API tells, by instance."""
    from feedback.services import people

    secret = people.make_token(cast.owner, "test", ["read"])[1]
    address = f"{url}/api/v1/projects/{cast.project.public_id}/annotations/?limit=100&task={task.public_id}"
    found = httpx.get(address, headers={"Authorization": f"Bearer {secret}"}, trust_env=False)
    return {row["external_id"]: row["answers"] for row in found.raise_for_status().json()["results"]}


def frozen(cast: Cast, task: Any, shapes: list[str], **spec: Any) -> dict[str, list[dict[str, Any]]]:
    """The rows of a version frozen of all annotations, by shape. Needs a worker."""
    from feedback.models import DatasetVersion
    from feedback.services import datasets

    wanted = {"shapes": shapes, "formats": ["jsonl"], "splits": [1, 0, 0], **spec}
    version = datasets.create_version(task, wanted, actor=cast.owner)
    eventually(lambda: DatasetVersion.objects.exclude(state="freezing").filter(pk=version.pk).exists())
    version.refresh_from_db()
    rows: dict[str, list[dict[str, Any]]] = {shape: [] for shape in shapes}
    for file in datasets.files_of(version):
        if file.split:
            text = (datasets.folder_of(version) / file.path).read_text(encoding="utf-8")
            rows[file.shape] += map(json.loads, text.splitlines())
    return rows
