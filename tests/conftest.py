"""The cast: one project with every role, an outsider, and a task with two-completion instances."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.environment import VAR

# how fast a busy machine makes examples says nothing about the code
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

REPOSITORY = Path(__file__).resolve().parent.parent


def shared_data(name: str) -> Path:
    """The folder of a real data set, or a skip that says what is missing."""
    root = Path(os.environ.get("SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    folder = root / name
    if not folder.is_dir():
        pytest.skip(f"real data set {name} is not at {folder}; set SHARED_DATA to its parent folder")
    return folder


QUESTIONS: list[dict[str, Any]] = [
    {
        "kind": "preference",
        "name": "overall",
        "title": "Which completion is better?",
        "steps": 5,
        "aspects": ["helpful", "truthful"],
        "ask_confidence": True,
        "reasons": ["clearer", "more correct"],
    }
]


@dataclass
class Cast:
    """Everybody and everything most tests need."""

    project: Any
    task: Any
    owner: Any
    manager: Any
    reviewer: Any
    annotator: Any
    viewer: Any
    outsider: Any


def make_user(name: str) -> Any:
    from feedback.models import User

    return User.objects.create_user(f"{name}@example.org", None, name=name)


def make_instances(task: Any, count: int, slots: int | None = None) -> list[Any]:
    """Two-completion instances of a task, each open for its overlap."""
    from feedback.models import Instance

    return Instance.objects.bulk_create(
        Instance(
            task=task,
            external_id=f"i{n}",
            prompt=[{"role": "user", "content": f"Question {n}?"}],
            completions=[{"content": f"First {n}", "model": "m1"}, {"content": f"Second {n}", "model": "m2"}],
            prompt_hash=f"{n:064x}",
            open_slots=task.overlap if slots is None else slots,
        )
        for n in range(count)
    )


def make_cast(instances: int = 5, overlap: int = 1) -> Cast:
    from feedback.models import Membership, Role
    from feedback.services import people, tasks

    owner = make_user("owner")
    project = people.create_project("Helpfulness", owner=owner)
    others = {role: make_user(role) for role in ("manager", "reviewer", "annotator", "viewer")}
    for role, user in others.items():
        Membership.objects.create(project=project, user=user, role=Role(role))
    task = tasks.create_task(
        project, "Which is better", QUESTIONS, actor=owner, guideline="Prefer the true one.", overlap=overlap
    )
    if instances:
        make_instances(task, instances)
        tasks.open_task(task, actor=owner)
    return Cast(project=project, task=task, owner=owner, outsider=make_user("outsider"), **others)


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """SQLite tests use a file: threads must see each other's commits."""
    from django.conf import settings

    database = settings.DATABASES["default"]
    if "sqlite" in database["ENGINE"]:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        database.setdefault("TEST", {})["NAME"] = str(Path(VAR) / f"test-{worker}.sqlite3")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> None:
    """Between transactional tests SQLite is emptied by DELETE, which the audit table's trigger refuses."""
    from django.db import connection

    if connection.vendor == "sqlite":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER IF EXISTS audit_no_delete")


@pytest.fixture(autouse=True)
def quiet_broker(settings: Any) -> None:
    """Jobs are run by the tests that mean to; nothing is sent to a broker otherwise."""
    settings.CELERY_BROKER_URL = "memory://"
