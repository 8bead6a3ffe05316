"""Watches over one training process: starts it, takes in what it reports, stops it, starts it again when it dies."""

from __future__ import annotations

import shutil
import socket
import sys
import time
from pathlib import Path

from django.conf import settings

from feedback.services.jobs import JobCancelled, JobContext

from . import child, services
from .base_models import SMALL_FOLDER
from .child import Busy, Child
from .ingest import Cursor, read_json, sync_metrics, sync_state
from .models import Run
from .watch import CANCEL_SECONDS, CANCELLED, FINISHED, POLL_SECONDS, STARTS, TrainingFailed, manner, reason, watch

TRAIN = ["-m", "training.run"]
# "multi_gpu" is the launcher's word for several processes; on a machine without GPUs they share its cores
LAUNCH = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1", "--mixed_precision", "no"]
MAKE_SMALL = [sys.executable, "-m", "training.base_model"]
SAVING_SECONDS = 120.0  # a checkpoint that is being written is worth waiting for


class Supervisor:
    """One job's watch over one run. Every write it makes is fenced by the job."""

    def __init__(self, run: Run, context: JobContext) -> None:
        self.run, self.context = run, context
        self.cursor = Cursor()
        self.stopping = False

    def work(self) -> None:
        """Train to the end. Raises TrainingFailed, JobCancelled, FenceLost; no process is left behind."""
        code: int | None = None
        deaths, furthest = 0, ""
        while deaths < STARTS:
            code = self._once()
            if code == FINISHED:
                services.finish(self.run, self.context)
                return
            if self.stopping:
                raise JobCancelled
            if code is not None and self._failed(code):
                raise TrainingFailed(reason(self.run.folder))
            # killed, or told to end by somebody who was not us: go on from the last checkpoint
            saved = self._last_checkpoint()
            self._note(f"The process ended by {manner(code)}; it starts again from {saved or 'the beginning'}.")
            deaths, furthest = (1, saved) if saved > furthest else (deaths + 1, furthest)
        raise TrainingFailed(
            f"The training process was ended {STARTS} times without getting further; perhaps memory is short."
        )

    def _once(self) -> int | None:
        with self._start() as process:
            code = None
            while code is None and not self.stopping:
                code = process.wait(POLL_SECONDS)
                self._take_in()
            if self.stopping:
                code = self._stop(process)
            return code

    def _start(self) -> Child:
        """Start the process, after ending a stale one that a worker left behind."""
        lock = self.run.folder / "lock"
        for _ in range(2):
            self.context.check()
            try:
                return Child([*train_command(), str(self.run.folder)], lock=lock, log=self.run.folder / "log.txt")
            except Busy:
                child.evict(lock)
        raise TrainingFailed("Another machine is still training this run; try again when it has stopped.")

    def _take_in(self) -> None:
        self.cursor = sync_metrics(self.run, self.cursor, self.context)
        try:
            sync_state(self.run, self.context)
        except JobCancelled:
            self.stopping = True

    def _stop(self, process: Child) -> int | None:
        """Ask the process to save and end, or else end it. Returns its exit code, if it had time to give one."""
        (self.run.folder / "cancel").touch()
        begin = time.monotonic()
        code = process.wait(0)
        while code is None and time.monotonic() - begin < self._patience():
            code = process.wait(0.2)
            self.context.hold()
        process.kill()
        self.cursor = sync_metrics(self.run, self.cursor, self.context)
        return code

    def _patience(self) -> float:
        saving = any((self.run.folder / "checkpoints").glob(".step-*.tmp"))
        return SAVING_SECONDS if saving else CANCEL_SECONDS

    def _last_checkpoint(self) -> str:
        """The newest checkpoint's name; names sort by step."""
        return max((path.name for path in (self.run.folder / "checkpoints").glob("step-*")), default="")

    def _note(self, sentence: str) -> None:
        """A line of ours in the run's log."""
        with (self.run.folder / "log.txt").open("a", encoding="utf-8") as log:
            log.write(f"tiebreak: {sentence}\n")

    def _failed(self, code: int) -> bool:
        """Whether the process failed, rather than being ended. A launcher of several answers with one code for both."""
        said = settings.TRAIN_PROCESSES == 1 or bool(read_json(self.run.folder / "result.json").get("error"))
        return said and 0 < code != CANCELLED


def check(run: Run, context: JobContext) -> None:
    """Have the report of a run written before it learns. Raises TrainingFailed, JobCancelled, FenceLost."""
    watch(run.folder, [*train_command(), "--preflight"], context)
    services.checked(run, context)


def train_command() -> list[str]:
    """What trains a run's folder: one process, or as many as `TRAIN_PROCESSES` says (each on its GPU, if there are)."""
    count = settings.TRAIN_PROCESSES
    if count == 1:
        return [sys.executable, *TRAIN]
    port = str(free_port())
    return [sys.executable, *LAUNCH, "--num_processes", str(count), "--main_process_port", port, *TRAIN]


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def ensure_small_base_model(context: JobContext) -> Path:
    """Make the small demo model once per installation, in a process of its own. Raises JobCancelled, TrainingFailed."""
    root = Path(settings.MODELS_DIR)
    folder = root / SMALL_FOLDER
    log = root / f".{SMALL_FOLDER}.log"
    while not (folder / "config.json").is_file():
        root.mkdir(parents=True, exist_ok=True)
        try:
            with Child([*MAKE_SMALL, str(folder)], lock=root / f".{SMALL_FOLDER}.lock", log=log) as process:
                _watch_making(process, folder, log, context)
        except Busy:
            context.progress(0, 0, "Waiting for the small base model, which another run is making")
            time.sleep(POLL_SECONDS)
    return folder


def _watch_making(process: Child, folder: Path, log: Path, context: JobContext) -> None:
    for left in folder.parent.glob(f".{SMALL_FOLDER}.*.tmp"):  # by an earlier process that died; the lock is ours now
        shutil.rmtree(left, ignore_errors=True)
    while (code := process.wait(POLL_SECONDS)) is None:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        said = f": {lines[-1]}" if lines and lines[-1].startswith("step ") else ""
        context.progress(0, 0, f"Making the small base model (once per installation){said}")
    if code != FINISHED:
        raise TrainingFailed("The small base model could not be made; the log beside it says why.")
