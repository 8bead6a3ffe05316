"""``manage.py serve`` keeps its parts running, and leaves nothing of a dead one behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.faults]

PART = """
import os, sys, time
os.fork()
with open(sys.argv[1], "a") as told:
    told.write(f"{os.getpid()}\\n")
time.sleep(120)
"""
SUPERVISED = """
import sys
import django
django.setup()
from annotate.management.commands.serve import supervise
supervise({"web": [sys.executable, "-c", sys.argv[1], sys.argv[2]]})
"""


@pytest.fixture
def told(tmp_path: Path) -> Path:
    path = tmp_path / "told"
    path.touch()
    return path


@pytest.fixture
def supervisor(told: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "annotate.settings", "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, "-c", SUPERVISED, PART, str(told)], env=environment)
    yield process
    process.terminate()
    process.wait(20)


def test_a_part_whose_parent_was_killed_starts_anew_and_leaves_no_child(
    supervisor: subprocess.Popen[bytes], told: Path
) -> None:
    first = started(told, 2)
    parent = next(pid for pid in first if parent_of(pid) == supervisor.pid)
    os.kill(parent, signal.SIGKILL)
    second = started(told, 4)[2:]
    assert not any(alive(pid) for pid in first)
    assert all(alive(pid) for pid in second)


def test_stopping_leaves_no_child_of_a_part(supervisor: subprocess.Popen[bytes], told: Path) -> None:
    pids = started(told, 2)
    supervisor.terminate()
    supervisor.wait(20)
    assert not any(alive(pid) for pid in pids)


def started(told: Path, count: int) -> list[int]:
    """The processes that named themselves, once there are ``count`` of them."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        pids = [int(text) for text in told.read_text().split()]
        if len(pids) >= count:
            return pids
        time.sleep(0.05)
    raise AssertionError(f"only {told.read_text().split()} started")


def alive(pid: int) -> bool:
    """Whether it still runs; one that was killed and waits for init to collect it does not. Waits a second for it."""
    for _ in range(20):
        state = stat(pid)[:1]
        if not state or state == ["Z"]:
            return False
        time.sleep(0.05)
    return True


def parent_of(pid: int) -> int:
    return int(stat(pid)[1])


def stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
