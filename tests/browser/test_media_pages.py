"""The pages about media files, with some: whole, narrow, accessible, and what they do."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from feedback.services import datasets, jobs
from tests.annotate.test_media import png
from tests.browser.test_screens import AXE, accessibility, look
from tests.browser.visiting import Visitors
from tests.conftest import Cast
from tests.feedback.test_version_media import cast  # noqa: F401 - a fixture

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def freeze(cast: Cast) -> Any:  # noqa: F811
    version = datasets.create_version(cast.task, {"shapes": ["raw"], "formats": ["jsonl"]}, actor=cast.manager)
    job = datasets.job_of(version)
    assert job is not None
    jobs.run(job.pk)
    return version


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_pages_with_media_are_whole(visitors: Visitors, cast: Cast, scheme: str, width: int) -> None:  # noqa: F811
    project = f"/p/{cast.project.public_id}"
    page = visitors.page(cast.owner, width=width, scheme=scheme)
    wrong: list[str] = []
    for address in (f"{project}/datasets/{freeze(cast).public_id}/", f"{project}/tasks/{cast.task.public_id}/media/"):
        wrong += look(page, address)
        for summary in page.locator(".media-change summary").all():
            summary.click()
        page.evaluate(AXE.read_text(encoding="utf-8"))
        wrong += accessibility(page, address, {"resultTypes": ["violations"]})
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert not wrong, "\n".join(wrong)


def test_a_manager_replaces_deletes_and_is_told_why_not(visitors: Visitors, cast: Cast) -> None:  # noqa: F811
    visitors.faults.expected.append("status of 409")
    address = f"/p/{cast.project.public_id}/tasks/{cast.task.public_id}/media/"
    page = visitors.page(cast.manager)
    page.goto(address)
    row = page.get_by_role("row", name="unused.png")
    row.locator("summary").click()
    row.get_by_label("New content of unused.png").set_input_files(
        {"name": "other.png", "mimeType": "image/png", "buffer": png(5)}
    )
    row.get_by_role("button", name="Replace file").click()
    expect(page.get_by_text("unused.png has the new content.")).to_be_visible()
    assert cast.task.media.get(name="unused.png").size == len(png(5))
    row.locator("summary").click()
    row.get_by_role("button", name="Delete file").click()
    expect(page.get_by_text("unused.png was deleted.")).to_be_visible()
    shown = page.get_by_role("row", name="cat.png")
    shown.locator("summary").click()
    shown.get_by_role("button", name="Delete file").click()
    expect(page.get_by_text("cat.png is shown by the instance")).to_be_visible()
    assert set(cast.task.media.values_list("name", flat=True)) == {"cat.png", "gpt.wav"}
