"""A Celery worker is killed in the middle of a run: another takes the run up and ends with the same weights."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.training.frozen import quick_base

pytestmark = [pytest.mark.slow, pytest.mark.faults]

SCENE = """
import django, json
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from tests.conftest import make_cast
from tests.training.frozen import QUICK, freeze_planted
from training import services
cast = make_cast(instances=0)
version = freeze_planted(cast.task, cast.owner)
run = services.start_run(version, "bt", "folder:quick", QUICK | {"epochs": 20}, cast.manager)
print(json.dumps({"folder": str(run.folder), "run": run.pk, "job": run.job_id}))
"""


@pytest.fixture
def installation(tmp_path: Path) -> dict[str, str]:
    """The environment of an installation of its own: SQLite, filesystem broker, the quick base model."""
    shutil.copytree(quick_base(), tmp_path / "models" / "quick")
    for name in ("queue", "control"):
        (tmp_path / "broker" / name).mkdir(parents=True)
    ours = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    return ours | {
        "VAR_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "annotate.settings",
        "TRAIN_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "ENV_FILE": os.devnull,
    }


class CeleryWorker:
    """A real worker in a session of its own, so that the whole of it can be killed."""

    def __init__(self, env: dict[str, str], log: Path, *options: str) -> None:
        command = [sys.executable, "-m", "celery", "-A", "annotate", "worker", "-c", "1", "-Q", "default,training"]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, *options], cwd=REPOSITORY, env=env, stdout=output, stderr=output, start_new_session=True
            )

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def wait_for(seen: Callable[[], Any], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := seen():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not happen in time")


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "model" / "model.safetensors").read_bytes()).hexdigest()


def test_a_run_survives_the_death_of_its_worker_and_ends_with_the_same_weights(
    installation: dict[str, str], tmp_path: Path
) -> None:
    made = subprocess.run(
        [sys.executable, "-c", SCENE], cwd=REPOSITORY, env=installation, check=True, capture_output=True, text=True
    )
    scene = json.loads(made.stdout.splitlines()[-1])
    folder = Path(scene["folder"])

    def row(table: str, columns: str, key: int, by: str = "id") -> Any:
        with closing(sqlite3.connect(tmp_path / "tiebreak.sqlite3", timeout=30)) as database:
            return database.execute(f"SELECT {columns} FROM {table} WHERE {by} = ?", [key]).fetchone()

    first = CeleryWorker(installation, tmp_path / "first.log")
    try:
        wait_for(lambda: list(folder.glob("checkpoints/step-*")), 90)
        pid = json.loads((folder / "lock").read_text())["pid"]
        assert alive(pid)
    finally:
        first.kill()
    wait_for(lambda: not alive(pid), 5)
    assert not (folder / "result.json").exists()
    assert row("feedback_job", "state", scene["job"]) == ("running",)

    second = CeleryWorker(installation, tmp_path / "second.log", "-B")
    try:
        wait_for(lambda: row("feedback_job", "state", scene["job"])[0] not in ("queued", "running"), 180)
    finally:
        second.kill()
    assert row("feedback_job", "state, attempt, error", scene["job"]) == ("succeeded", 2, "")
    state, step = row("training_run", "state, step", scene["run"])
    assert state == "finished"
    assert row("training_metric", "count(DISTINCT step), max(step)", scene["run"], "run_id") == (step, step)

    untouched = tmp_path / "untouched"
    untouched.mkdir()
    shutil.copy(folder / "run.json", untouched)
    command = [sys.executable, "-m", "training.run", str(untouched)]
    subprocess.run(command, cwd=REPOSITORY, env=installation, check=True, capture_output=True)
    assert weights(untouched) == weights(folder)
