"""The watch over a process that can be started anew."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from feedback.models import JobKind
from feedback.services import jobs
from feedback.services.jobs import JobContext
from training.watch import TrainingFailed, watch

WORK = """
import json, os, pathlib, signal, sys
folder = pathlib.Path(sys.argv[2])
starts = folder / "starts"
with starts.open("a") as file:
    file.write(".")
if len(starts.read_text()) <= int(sys.argv[1]):
    ENDING
(folder / "result.json").write_text(json.dumps({"starts": len(starts.read_text())}))
"""
KILLED, ASKED = "os.kill(os.getpid(), signal.SIGKILL)", "sys.exit(3)"


def watched(cast: Any, folder: Path, ending: str, failures: int) -> dict[str, Any]:
    script = folder / "work.py"
    script.write_text(WORK.replace("ENDING", ending))
    job = jobs.enqueue(JobKind.SCORE, cast.project, {}, actor=cast.manager)
    claimed = jobs.claim(job.pk, "here")
    assert claimed is not None
    return watch(folder, [sys.executable, str(script), str(failures)], JobContext(claimed))


@pytest.mark.parametrize("ending", [KILLED, ASKED])
def test_a_process_that_others_end_is_started_again(cast: Any, tmp_path: Path, ending: str) -> None:
    assert watched(cast, tmp_path, ending, 1) == {"starts": 2}


@pytest.mark.parametrize("ending, words", [(KILLED, "signal 9"), (ASKED, "a request from outside")])
def test_one_that_is_ended_again_and_again_fails(cast: Any, tmp_path: Path, ending: str, words: str) -> None:
    with pytest.raises(TrainingFailed, match=f"3 times by {words}"):
        watched(cast, tmp_path, ending, 3)


def test_one_that_fails_says_why_and_is_not_started_again(cast: Any, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="no such thing"):
        watched(cast, tmp_path, "sys.exit('no such thing')", 1)
    assert (tmp_path / "starts").read_text() == "."
