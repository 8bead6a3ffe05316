"""The trail of who did what: in words, without ids, a page at a time."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse

from annotate.trail import WORDS
from feedback.models import AuditEvent, JobKind, TaskState
from feedback.services.curating import ACTIONS
from tests.conftest import Cast
from training.models import ENDED

ROOT = Path(__file__).parents[2]
WRITTEN = re.compile(r'AuditEvent\.write\(\s*(f?)"([^"]+)"')
COMPOSED = {
    "instances.{action}": [f"instances.{action}" for action in ACTIONS],
    "job.{kind}": [f"job.{kind}" for kind in JobKind.values],
    "run.{state}": [f"run.{state}" for state in ENDED],
    "task.{state}": [f"task.{state}" for state in TaskState.values],
}


def test_every_action_that_is_written_has_its_words() -> None:
    written: set[str] = set()
    for floor in ("annotate", "feedback", "routing", "training"):
        for file in (ROOT / floor).rglob("*.py"):
            for composed, name in WRITTEN.findall(file.read_text(encoding="utf-8")):
                written |= set(COMPOSED[name]) if composed else {name}
    assert written == set(WORDS)


@pytest.mark.django_db
def test_the_trail_speaks_and_turns_pages(cast: Cast, browser: Any) -> None:
    for number in range(60):
        AuditEvent.write("task.open", actor=cast.owner, project=cast.project, subject=f"Task {number}")
    AuditEvent.write(
        "job.train", actor=cast.owner, project=cast.project, subject="0f4b1a52-98fa-4f6e-9a2b-3d1c5a7e9b10"
    )
    client = browser(cast.owner)
    address = reverse("settings", args=[cast.project.public_id])
    first = client.get(address).content.decode()
    assert "Opened a task" in first
    assert "Task 59" in first
    assert "Task 10<" not in first
    assert "Queued a job: Train" in first
    assert "0f4b1a52" not in first
    following = re.search(r'href="(\?before=\d+)" rel="next"', first)
    assert following
    second = client.get(address + following[1]).content.decode()
    assert "Task 10<" in second
    assert "Task 11<" not in second
    assert client.get(address + "?before=x").status_code == 200
