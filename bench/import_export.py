"""Import and freeze 10,000 instances: time and memory above idle, and the time as a ratio to bare ``sqlite3``.

``python bench/import_export.py [--quick] [--device cpu]``; one JSON object a line. Each figure is measured in a process
of its own on a fresh SQLite database (or DATABASE_URL), so that peaks do not hide each other.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
MIB = 1024
GOALS = {
    "seconds": {"import": 1.2, "import_with_votes": 1.2, "export_parquet": 1.0, "export_jsonl": 1.0},
    "peak_mib_above_idle": 60.0,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one repetition instead of three")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="nothing here runs on a GPU")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(FIGURES[options.one](options.rows)))
        return
    with tempfile.TemporaryDirectory(prefix="tiebreak-bench-") as folder:
        measure(Path(folder), options.rows, 1 if options.quick else 3)


def measure(folder: Path, rows: int, repetitions: int) -> None:
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in FIGURES}
    for repetition in range(repetitions):
        environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "annotate.settings",
            "ENV_FILE": os.devnull,
            "LOG_LEVEL": "ERROR",
        }
        for name in FIGURES:
            # freezing works on what the import with votes left
            environment["VAR_DIR"] = str(folder / f"{repetition}-{'plain' if name == 'import' else 'votes'}")
            command = [sys.executable, __file__, "--one", name, "--rows", str(rows)]
            done = subprocess.run(command, check=True, capture_output=True, env=environment, cwd=REPOSITORY)
            found[name].append(json.loads(done.stdout.splitlines()[-1]))
    for name, runs in found.items():
        if name not in BARE.values():
            tell(name, rows, runs)
    for name, bare in BARE.items():
        ratio(name, rows, found[name], found[bare])


def ratio(name: str, rows: int, ours: list[dict[str, Any]], bare: list[dict[str, Any]]) -> None:
    """In processor time, which a busy machine does not change; both sides ran in turns."""
    least = [min(float(run["cpu_seconds"]) for run in runs) for runs in (ours, bare)]
    value = round(least[0] / max(least[1], 1e-3), 2)
    line = {"figure": f"{name}_{rows}_ratio_to_bare", "value": value, "unit": "x", "goal": None, "holds": None}
    print(json.dumps(line | {"detail": dict(zip(("ours", "bare"), least, strict=True))}))


def tell(name: str, rows: int, runs: list[dict[str, Any]]) -> None:
    best = min(runs, key=lambda run: float(run["seconds"]))
    goal = GOALS["seconds"]
    assert isinstance(goal, dict)
    line = {"figure": f"{name}_{rows}", "value": round(best["seconds"], 3), "unit": "s", "goal": goal[name]}
    print(json.dumps(line | {"holds": best["seconds"] <= goal[name], "detail": best}))
    peak = max(float(run["peak_mib_above_idle"]) for run in runs)
    memory = {"figure": f"{name}_{rows}_peak_above_idle", "value": round(peak, 1), "unit": "MiB"}
    print(json.dumps(memory | {"goal": GOALS["peak_mib_above_idle"], "holds": peak < 60.0, "detail": {}}), flush=True)


def ready() -> Any:
    """Django with a migrated database, one project, one task; the owner."""
    sys.path.insert(0, str(REPOSITORY))
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command

    for name in ("queue", "control"):
        (settings.BROKER_DIR / name).mkdir(parents=True, exist_ok=True)
    call_command("migrate", verbosity=0)
    import feedback.tasks  # noqa: F401 - registers the jobs
    from feedback.models import Task, User
    from feedback.services import people, tasks

    owner, made = User.objects.get_or_create(email="bench@example.org", defaults={"name": "Bench"})
    if made:
        project = people.create_project("Bench", owner=owner)
        question = {"kind": "preference", "name": "overall", "title": "Which is better?"}
        tasks.create_task(project, "Bench", [question], actor=owner)
    return owner, Task.objects.get(name="Bench")


def timed(work: Callable[[], Any]) -> dict[str, Any]:
    before = resource.getrusage(resource.RUSAGE_SELF)
    start = time.perf_counter()
    result = work()
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": seconds,
        "cpu_seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 3),
        "peak_mib_above_idle": (after.ru_maxrss - before.ru_maxrss) / MIB,
        "idle_mib": round(before.ru_maxrss / MIB, 1),
        **result,
    }


def bench_import(rows: int, *, votes: bool = False) -> dict[str, Any]:
    """From an upload to committed instances: hash, guess, check, stage and store."""
    from_file = write_rows(rows, votes=votes)
    owner, task = ready()
    from feedback.services import importing, jobs, uploads

    def work() -> dict[str, Any]:
        with from_file.open("rb") as file:
            stored = uploads.store_upload(iter(lambda: file.read(1 << 20), b""), from_file.name)
        job = importing.start_import(importing.new_batch(task, stored, actor=owner), actor=None)
        jobs.run(job.pk)
        job.refresh_from_db()
        assert job.state == "succeeded", job.error
        return {"bytes": from_file.stat().st_size, "rows": job.result["instances"]}

    warm(task, owner)
    return timed(work)


def warm(task: Any, owner: Any) -> None:
    """One small import, so that the figure holds no imports of modules and no first connection to the broker."""
    from feedback.services import importing, jobs, uploads

    line = json.dumps({"id": "warm", "prompt": "p", "response_a": "a", "response_b": "b"}).encode()
    stored = uploads.store_upload([line], "warm.jsonl")
    job = importing.start_import(importing.new_batch(task, stored, actor=owner), actor=None)
    jobs.run(job.pk)


def warm_freeze(owner: Any, spec: dict[str, Any]) -> None:
    """The same job over one annotation."""
    from uuid import uuid4

    from feedback.models import Annotation, Annotator, Instance, Project
    from feedback.services import datasets, jobs, tasks

    project = Project.objects.get(name="Bench")
    question = {"kind": "preference", "name": "overall", "title": "Which is better?"}
    task = tasks.create_task(project, f"Warm {uuid4()}", [question], actor=owner)
    texts = [{"content": "a", "model": None}, {"content": "b", "model": None}]
    prompt = [{"role": "user", "content": "p"}]
    instance = Instance.objects.create(
        task=task, external_id="w", prompt=prompt, completions=texts, prompt_hash="0" * 64
    )
    annotator = Annotator.objects.get_or_create(project=project, kind="human", name="warm")[0]
    answers = {"overall": {"value": "a-is-clearly-better"}}
    Annotation.objects.create(task=task, instance=instance, annotator=annotator, source="human", answers=answers)
    job = datasets.job_of(datasets.create_version(task, spec, actor=owner))
    assert job is not None
    jobs.run(job.pk)


def write_rows(rows: int, *, votes: bool) -> Path:
    rng = random.Random(7)
    words = [f"word{n}" for n in range(500)]
    path = Path(os.environ["VAR_DIR"]) / f"rows-{votes}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for n in range(rows):
            prompt, a, b = (" ".join(rng.choices(words, k=k)) for k in (20, 60, 60))
            row = {"id": f"r{votes}{n}", "prompt": prompt, "response_a": a, "response_b": b} | (
                {"winner": rng.choice("ab")} if votes else {}
            )
            file.write(json.dumps(row) + "\n")
    return path


def bench_export(file_format: str) -> Callable[[int], dict[str, Any]]:
    def run(rows: int) -> dict[str, Any]:
        owner, task = ready()
        import pyarrow.parquet  # noqa: F401 - loaded in a worker already

        from feedback.services import datasets, jobs

        spec = {"shapes": ["preference"], "formats": [file_format]}
        warm_freeze(owner, spec)

        def work() -> dict[str, Any]:
            version = datasets.create_version(task, spec, actor=owner)
            job = datasets.job_of(version)
            assert job is not None
            jobs.run(job.pk)
            version.refresh_from_db()
            assert version.state == "ready", version.error
            return {"rows": version.rows}

        return timed(work)

    return run


def bare_import(rows: int) -> dict[str, Any]:
    """What nobody can do without: parse each line, write its JSON columns to a table, commit."""
    from_file = write_rows(rows, votes=False)
    database = sqlite3.connect(Path(os.environ["VAR_DIR"]) / "bare.sqlite3")
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("DROP TABLE IF EXISTS bare")
    database.execute("CREATE TABLE bare (id TEXT UNIQUE, prompt TEXT, completions TEXT)")

    def work() -> dict[str, Any]:
        with from_file.open("rb") as file, database:
            database.executemany("INSERT INTO bare VALUES (?, ?, ?)", (bare_row(json.loads(line)) for line in file))
        return {"rows": rows}

    return timed(work)


def bare_row(row: dict[str, Any]) -> tuple[str, str, str]:
    texts = [{"content": row[f"response_{side}"], "model": None} for side in "ab"]
    return row["id"], json.dumps([{"role": "user", "content": row["prompt"]}]), json.dumps(texts)


def bare_export(rows: int) -> dict[str, Any]:
    """The rows of the bare table as JSON lines."""
    bare_import(rows)
    folder = Path(os.environ["VAR_DIR"])

    def work() -> dict[str, Any]:
        with sqlite3.connect(folder / "bare.sqlite3") as database, (folder / "bare.jsonl").open("w") as file:
            for identity, prompt, completions in database.execute("SELECT id, prompt, completions FROM bare"):
                a, b = json.loads(completions)
                row = {"id": identity, "prompt": json.loads(prompt)[0]["content"]}
                file.write(json.dumps(row | {"chosen": a["content"], "rejected": b["content"]}) + "\n")
        return {"rows": rows}

    return timed(work)


# ours, and the bare thing beside it: no checks, no hashes, no transaction of jobs
BARE = {"import": "bare_import", "export_jsonl": "bare_export"}
FIGURES: dict[str, Callable[[int], dict[str, Any]]] = {
    "import": bench_import,
    "import_with_votes": lambda rows: bench_import(rows, votes=True),
    "export_parquet": bench_export("parquet"),
    "export_jsonl": bench_export("jsonl"),
    "bare_import": bare_import,
    "bare_export": bare_export,
}


if __name__ == "__main__":
    main()
