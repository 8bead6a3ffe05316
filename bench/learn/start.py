"""How long a run's process takes from its start to its first update."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from bench.learn import data, models
from bench.learn.measure import report

PAIRS, GOAL = 2000, 4.0
REPOSITORY = Path(__file__).resolve().parents[2]


def bench(folder: Path) -> None:
    """Seconds and CPU seconds to the first update of a reward model over 2,000 pairs of HH's shape, 5M parameters."""
    dialogues = data.hh_shaped(PAIRS)
    models.make_model(folder, models.TINY, dialogues[:160])
    run_dir = folder / "run"
    run_dir.mkdir()
    rows = data.write(folder / "pairs.jsonl", data.pairs(dialogues))
    settings = {"schema": 1, "objective": "bt", "base_model": str(folder), "data": {"train": [rows]}, "threads": 1}
    (run_dir / "run.json").write_text(json.dumps({**settings, "device": "cpu"}), encoding="utf-8")
    begin = time.monotonic()
    with (run_dir / "log.txt").open("wb") as log:
        command = [sys.executable, "-m", "training.run", str(run_dir)]
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=log, stderr=log)
    try:
        while not (run_dir / "metrics.jsonl").exists():
            if process.poll() is not None:
                raise SystemExit((run_dir / "result.json").read_text(encoding="utf-8"))
            time.sleep(0.01)
        seconds, used = time.monotonic() - begin, cpu_seconds(process.pid)
    finally:
        process.kill()
        process.wait()
    load = [round(one, 1) for one in os.getloadavg()]
    figures = {"cpu_seconds": round(used, 2), "pairs": PAIRS, "load": load}
    report("start_to_first_step_seconds", round(seconds, 2), "s", GOAL, seconds <= GOAL, **figures)


def cpu_seconds(pid: int) -> float:
    """What a process has used so far, of Linux's /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
