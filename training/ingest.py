"""What a training process writes into its folder, taken into the database while it works."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from django.db import transaction

from feedback.services.jobs import JobContext

from .models import Metric, Run

READ_AT_ONCE = 2**22
LOG_TAIL = 2**14


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object that the training process wrote whole, or nothing when there is none yet."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


@dataclass(frozen=True, slots=True)
class LogPage:
    """A part of what a process printed, in whole lines where it has any; ``start`` is where it begins in the file."""

    text: str
    start: int


def log_page(folder: Path, before: int | None = None) -> LogPage:
    """The last lines of what the process of a folder printed, or the lines that end at the byte ``before``."""
    try:
        with (folder / "log.txt").open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            end = size if before is None else min(before, size)
            start = max(0, end - LOG_TAIL)
            file.seek(start)
            data = file.read(end - start)
    except FileNotFoundError:
        return LogPage("", 0)
    if start and (cut := data.find(b"\n") + 1) < len(data):
        start, data = start + cut, data[cut:]
    return LogPage(data.decode("utf-8", "replace").replace("\x00", ""), start)


@dataclass(frozen=True)
class Cursor:
    """How far a run's metrics file was read. A file that was cut back is a new file, which its inode tells."""

    inode: int = 0
    offset: int = 0


def sync_metrics(run: Run, cursor: Cursor, context: JobContext) -> Cursor:
    """Take in the metrics written since ``cursor``; returns where to go on.

    A file that began anew (the run went on from a checkpoint) is read from its start, and stored points past its end
    are forgotten. Raises FenceLost, and then nothing is written.
    """
    try:
        with (run.folder / "metrics.jsonl").open("rb") as file:
            inode = os.fstat(file.fileno()).st_ino
            anew = inode != cursor.inode
            offset = 0 if anew else cursor.offset
            last = 0
            while chunk := _whole_lines(file, offset):
                offset += len(chunk)
                last = max(last, _store(run, _points(chunk), context))
            if anew:
                _forget_after(run, last, context)
    except FileNotFoundError:
        return cursor
    return Cursor(inode, offset)


def _whole_lines(file: IO[bytes], offset: int) -> bytes:
    """The next part of the file that ends with a line's end; a line still being written is left for later."""
    file.seek(offset)
    chunk = file.read(READ_AT_ONCE)
    return chunk[: chunk.rfind(b"\n") + 1]


def _points(chunk: bytes) -> list[dict[str, Any]]:
    points = []
    for line in chunk.splitlines():
        try:
            point = json.loads(line)
        except ValueError:  # torn by a crash; the process forgets it too when it goes on
            continue
        if math.isfinite(point["value"]):
            points.append(point)
    return points


def _store(run: Run, points: list[dict[str, Any]], context: JobContext) -> int:
    """Write points, the newer value of the same step over the older; returns the last step."""
    newest = {(point["name"], point["step"]): point["value"] for point in points}
    rows = [Metric(run=run, name=name[:60], step=step, value=value) for (name, step), value in newest.items()]
    with transaction.atomic():
        Metric.objects.bulk_create(
            rows,
            batch_size=1000,
            update_conflicts=True,
            unique_fields=["run", "name", "step"],
            update_fields=["value"],
        )
        context.hold()
    return max((step for _, step in newest), default=0)


def _forget_after(run: Run, step: int, context: JobContext) -> None:
    with transaction.atomic():
        Metric.objects.filter(run=run, step__gt=step).delete()
        context.hold()


def sync_state(run: Run, context: JobContext) -> None:
    """Take in how far the process is, and tell the job. Raises FenceLost, or JobCancelled when asked to stop."""
    state = read_json(run.folder / "state.json")
    if state:
        fields = {
            "phase": state["phase"],
            "message": state["message"][:1000],
            "step": state["step"],
            "total_steps": state["total_steps"],
            "eta_seconds": state["eta_seconds"],
            "tokens": state["tokens_seen"],
            "memory_bytes": state["memory_bytes"],
        }
        with transaction.atomic():
            if not run.preflight:
                run.preflight = read_json(run.folder / "preflight.json")
            Run.objects.filter(pk=run.pk).update(preflight=run.preflight, **fields)
            context.hold()
    context.progress(state.get("step", 0), state.get("total_steps", 0), words(state))


def words(state: dict[str, Any]) -> str:
    """A process's state as a person says it."""
    phases = {
        "loading": "Loading model and data",
        "reference": "Computing the reference policy",
        "voting": "Letting reward models vote on the labels",
        "training": "Training",
        "evaluating": "Evaluating on held-out prompts",
        "generating": "Writing completions",
        "scoring": "Scoring completions",
        "saving": "Saving the model",
        "done": "Finishing",
    }
    return phases.get(state.get("phase", ""), "Starting")


@dataclass(frozen=True, slots=True)
class Score:
    """How a finished run scored one held-out pair."""

    id: str
    prompt_id: str
    score_chosen: float
    score_rejected: float

    @property
    def correct(self) -> float:
        """1 when the chosen completion scores higher, ½ for equal scores, else 0."""
        return 0.5 if self.score_chosen == self.score_rejected else float(self.score_chosen > self.score_rejected)


def scores_of(run: Run, split: str = "test") -> list[Score]:
    """The scores of every evaluated pair of a split, as the run's process wrote them."""
    path = run.folder / "scores.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = [json.loads(line) for line in lines]
    fields = ("id", "prompt_id", "score_chosen", "score_rejected")
    return [Score(*(row[name] for name in fields)) for row in rows if row["split"] == split]
