"""One child process per folder: started under a lock, on a leash, and never outliving who started it.

The lock is a ``flock`` that the child inherits with its open file, so that it is held for exactly as long as the child
lives, whatever becomes of the supervisor. The lock file names the child's host and pid: a supervisor that owns the
job's fence may end a stale child that still holds the lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from django.conf import settings

GUARD = Path(__file__).with_name("guard.py")
SECRETS = ("SECRET_KEY", "DATABASE_URL", "REDIS_URL")
SECRET_ENDINGS = ("_KEY", "_TOKEN", "_PASSWORD", "_SECRET")


class Busy(Exception):
    """Another process holds the lock of this folder."""


class Child:
    """A running process, its group and its log. As a context manager it leaves nothing running."""

    def __init__(self, command: Sequence[str], *, lock: Path, log: Path) -> None:
        """Start ``command``. Raises Busy when the lock is held."""
        held = acquire(lock)
        try:
            with log.open("ab") as output:
                self.process = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(GUARD), str(os.getpid()), *command],
                    cwd=settings.BASE_DIR,
                    env=environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=[held],
                    start_new_session=True,
                )
            owner = {"host": socket.gethostname(), "pid": self.process.pid}
            os.pwrite(held, json.dumps(owner).encode(), 0)
        finally:
            os.close(held)  # from here on only the child holds the lock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def wait(self, seconds: float) -> int | None:
        """The exit code as soon as there is one (negative for a signal), ``None`` when it still runs after a while."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """End the whole process group at once. A child that has ended is left alone."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def acquire(path: Path) -> int:
    """Take the lock; returns the descriptor that holds it. Raises Busy."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise Busy from error
    os.ftruncate(descriptor, 0)
    return descriptor


def evict(lock: Path, seconds: float = 5.0) -> bool:
    """End the child that holds ``lock``, where it is on this host. Returns whether the lock became free.

    Only for a supervisor whose fence is current: whoever else holds the lock is stale then.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.close(acquire(lock))
            return True
        except Busy:
            _end_owner(lock)
            time.sleep(0.1)
    return False


def _end_owner(lock: Path) -> None:
    try:
        owner = json.loads(lock.read_text(encoding="ascii"))
        if owner["host"] == socket.gethostname():
            os.killpg(int(owner["pid"]), signal.SIGKILL)
    except (ValueError, KeyError, TypeError, OSError):
        return  # just starting, just ended, or not ours to end: the caller looks again


def environment() -> dict[str, str]:
    """This process's environment without its secrets: the child needs no database and no broker."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in SECRETS and not name.endswith(SECRET_ENDINGS) and not name.startswith(("DJANGO_", "CELERY_"))
    }
    return kept | {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
