"""What a run tells those who watch it: metrics, its state, and whether they asked it to stop."""

import json
import os
import resource
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Literal

import torch

from training.engine.errors import CancelledError
from training.engine.files import replace_json, replace_lines

Phase = Literal["loading", "reference", "voting", "training", "evaluating", "generating", "scoring", "saving", "done"]
_STATE_INTERVAL = 0.25  # seconds between state files of one phase


class Progress:
    """Writes `metrics.jsonl` and `state.json` of a run folder; nothing where `silent`."""

    def __init__(self, run_dir: Path, device: torch.device, *, silent: bool = False) -> None:
        self.silent = silent
        self.run_dir = run_dir
        self.device = device
        self.phase: Phase = "loading"
        self.tokens_seen = 0
        self.step, self.total_steps, self.epoch = 0, 0, 0
        self.message = ""
        self._metrics = run_dir / "metrics.jsonl"
        self._written = 0.0

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Append one line per value."""
        if self.silent:
            return
        now = time.time()
        lines = [{"step": step, "name": name, "value": value, "time": now} for name, value in values.items()]
        with self._metrics.open("a", encoding="utf-8") as stream:
            stream.write("".join(json.dumps(line) + "\n" for line in lines))

    def rewind(self, step: int) -> None:
        """Forget metrics after `step` and a torn last line, so that a resumed curve does not double."""
        if self.silent or not self._metrics.exists():
            return
        kept = []
        for line in self._metrics.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                point = json.loads(line)
            except json.JSONDecodeError:
                continue
            if point["step"] <= step:
                kept.append(point)
        replace_lines(self._metrics, kept)

    def enter(self, phase: Phase, message: str = "") -> None:
        """Say that a phase begins."""
        self.phase, self.message = phase, message
        self.write(force=True)

    def write(self, *, eta_seconds: float | None = None, force: bool = False) -> None:
        """Replace `state.json`, at most every quarter of a second unless forced."""
        now = time.monotonic()
        if self.silent or (not force and now - self._written < _STATE_INTERVAL):
            return
        self._written = now
        state = {
            "phase": self.phase,
            "step": self.step,
            "total_steps": self.total_steps,
            "epoch": self.epoch,
            "eta_seconds": eta_seconds,
            "tokens_seen": self.tokens_seen,
            "memory_bytes": peak_memory(self.device),
            "message": self.message,
            "time": time.time(),
            "pid": os.getpid(),
        }
        replace_json(self.run_dir / "state.json", state, durable=False)


class VoteProgress(Progress):
    """The training of a model that only votes: it has no curves, and the run is still before its own training."""

    def __init__(self, run_dir: Path, device: torch.device, message: str, *, silent: bool = False) -> None:
        super().__init__(run_dir, device, silent=silent)
        self._said = message

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Nothing: these are not the run's curves."""

    def rewind(self, step: int) -> None:
        """Nothing, for there is nothing written."""

    def enter(self, phase: Phase, message: str = "") -> None:
        """Say that another model is being trained to vote."""
        super().enter("voting", self._said)


def peak_memory(device: torch.device) -> int:
    """The most memory used so far, in bytes: of the accelerator where there is one, else of this process."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Stop:
    """Whether the run was asked to end: a file `cancel` in its folder, or SIGTERM."""

    def __init__(self, run_dir: Path) -> None:
        self._file = run_dir / "cancel"
        self._signalled = False
        self.deaf = False  # another process of the run listens

    def listen(self) -> None:
        """Take SIGTERM as a request to end after the current step."""
        signal.signal(signal.SIGTERM, self._on_signal)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signalled = True

    def requested(self) -> bool:
        """Whether to end now."""
        return not self.deaf and (self._signalled or self._file.exists())

    def check(self) -> None:
        """Raise CancelledError if the run was asked to end."""
        if self.requested():
            raise CancelledError
