"""Watches over one process that works in a folder and can be started anew without harm."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from feedback.exceptions import FeedbackError
from feedback.services.jobs import JobCancelled, JobContext

from . import child
from .child import Busy, Child
from .ingest import log_page, read_json, words

FINISHED, CANCELLED = 0, 3
POLL_SECONDS = 1.0
STARTS = 3
CANCEL_SECONDS = 8.0  # a cancel acts within ten


class TrainingFailed(FeedbackError):
    """The training process failed."""

    code = "training-failed"


def prepare(folder: Path, name: str, wishes: Mapping[str, Any]) -> None:
    """Put a settings file into the folder of a process that is about to start."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{name}.tmp"
    temporary.write_text(json.dumps(wishes), encoding="utf-8")
    temporary.replace(folder / name)
    (folder / "cancel").unlink(missing_ok=True)


def watch(folder: Path, command: list[str], context: JobContext) -> dict[str, Any]:
    """Run ``command`` on the folder to its end; returns its ``result.json``. One that others kill or ask to end
    is started again.

    Raises TrainingFailed, JobCancelled, FenceLost; no process is left behind.
    """
    for _ in range(STARTS):
        (folder / "state.json").unlink(missing_ok=True)
        code = _once(folder, command, context)
        if code == FINISHED:
            return read_json(folder / "result.json")
        if 0 < code != CANCELLED:
            raise TrainingFailed(reason(folder))
    raise TrainingFailed(f"The process was ended {STARTS} times by {manner(code)}; perhaps memory is short.")


def _once(folder: Path, command: list[str], context: JobContext) -> int:
    with _start(folder, command, context) as process:
        while (code := process.wait(POLL_SECONDS)) is None:
            try:
                _report(folder, context)
            except JobCancelled:
                _stop(folder, process, context)
                raise
        return code


def _start(folder: Path, command: list[str], context: JobContext) -> Child:
    """Start the process, after ending a stale one that a worker left behind."""
    lock = folder / "lock"
    for _ in range(2):
        context.check()
        try:
            return Child([*command, str(folder)], lock=lock, log=folder / "log.txt")
        except Busy:
            child.evict(lock)
    raise TrainingFailed("Another machine is still at this work; try again when it has stopped.")


def _report(folder: Path, context: JobContext) -> None:
    state = read_json(folder / "state.json")
    said = f"{words(state)}: {state['message']}" if state.get("message") else words(state)
    context.progress(state.get("step", 0), state.get("total_steps", 0), said)


def _stop(folder: Path, process: Child, context: JobContext) -> None:
    """Ask the process to end; the context manager ends one that does not."""
    (folder / "cancel").touch()
    begin = time.monotonic()
    while process.wait(0.2) is None and time.monotonic() - begin < CANCEL_SECONDS:
        context.hold()


def manner(code: int | None) -> str:
    """How a process ended that gave no answer."""
    return f"signal {-code}" if code is not None and code < 0 else "a request from outside"


def reason(folder: Path) -> str:
    """Why the process failed: its own sentence, or else the last line that it printed."""
    error = read_json(folder / "result.json").get("error")
    lines = log_page(folder).text.strip().splitlines()
    return str(error or (lines and lines[-1]) or "The process ended without saying why.")
