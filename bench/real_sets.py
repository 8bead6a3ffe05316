"""Real sets from their files to evaluated models: imported, frozen by prompt, trained on, measured on held-out prompts.

`python bench/real_sets.py [--data FOLDER] [--quick] [--device cpu] [--only SET ...]`, with the sets' folders in FOLDER,
by default SHARED_DATA. One JSON object a line: accuracy with its 95% interval over prompts, or the loss where the
objective has no pairs. The base model is made from the texts of the sets that are run and knows next to nothing: that
runs finish and intervals are honest is what this shows.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

SETS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "mtbench-human-gpt4": [("bt", {}), ("strength_voting", {"rounds": 1}), ("dpo", {})],
    "vicuna80-human-judges": [("bt", {}), ("dpo", {})],
    "qa-feedback-finegrained": [
        ("plackett_luce", {}),
        ("fine_grained", {"unmarked": "skip"}),
        ("lipo_lambda", {}),
        ("hindsight", {}),
    ],
    "ilf-code-feedback": [("ilf", {}), ("hindsight", {})],
}
SPLITS = [0.7, 0.0, 0.3]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=shared_data(), help="the folder that holds the sets' folders")
    parser.add_argument("--quick", action="store_true", help="few updates of the base model and of each run")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--only", nargs="*", choices=list(SETS), default=list(SETS))
    options = parser.parse_args()
    present = [name for name in options.only if (options.data / name).is_dir()]
    for name in sorted(set(options.only) - set(present)):
        print(json.dumps({"figure": f"{name}", "skipped": f"there is no {name} in {options.data}"}), flush=True)
    if not present:
        return
    with tempfile.TemporaryDirectory(prefix="tiebreak-bench-") as folder:
        start(Path(folder))
        versions = {name: frozen(options.data / name) for name in present}
        base = base_model(Path(folder), versions, quick=options.quick)
        for name, version in versions.items():
            for objective, given in SETS[name]:
                tell(name, objective, train(Path(folder), version, objective, given, base, options))


def shared_data() -> Path:
    return Path(os.environ.get("SHARED_DATA", REPOSITORY.parent / "shared" / "data"))


def start(folder: Path) -> None:
    """A database of its own."""
    os.environ |= {"DJANGO_SETTINGS_MODULE": "annotate.settings", "ENV_FILE": os.devnull, "LOG_LEVEL": "ERROR"}
    os.environ |= {"VAR_DIR": str(folder / "var")}
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def frozen(folder: Path) -> Any:
    """The set as a dataset version with every shape that training reads, split by prompt."""
    import feedback.tasks  # noqa: F401 - registers the jobs
    from feedback.formats.shape_table import SHAPES
    from feedback.models import Project, User
    from feedback.services import datasets, importing, jobs, people, uploads
    from training.objectives.catalogue import READ_SHAPES

    owner, _ = User.objects.get_or_create(email="bench@example.org", defaults={"name": "Bench"})
    project = Project.objects.first() or people.create_project("Bench", owner=owner)
    stored = uploads.on_disk(folder)
    task = importing.new_task_for(project, stored, name=folder.name, actor=owner)
    job = importing.start_import(importing.new_batch(task, stored, actor=owner), actor=owner, skip_bad_rows=True)
    jobs.run(job.pk)
    readable = [name for name in SHAPES if name in READ_SHAPES]
    shapes = [name for name in readable if SHAPES[name].fits(task.parsed_questions, False)]
    spec = {"shapes": shapes, "formats": ["jsonl"], "splits": SPLITS, "ties": "keep-half"}
    version = datasets.create_version(task, spec, actor=owner)
    freezing = datasets.job_of(version)
    assert freezing is not None
    jobs.run(freezing.pk)
    version.refresh_from_db()
    if version.state != "ready":
        raise SystemExit(f"{folder.name} could not be frozen: {version.error}")
    return version


def base_model(folder: Path, versions: dict[str, Any], *, quick: bool) -> Path:
    """A small language model of the sets' training prompts and completions; no preference goes into it."""
    texts = folder / "texts.jsonl"
    with texts.open("w", encoding="utf-8") as file:
        for version in versions.values():
            for talk in conversations(version):
                file.write(json.dumps(talk) + "\n")
    made = folder / "base"
    command = [sys.executable, "-m", "training.base_model", str(made), "--texts", str(texts)]
    subprocess.run([*command, *(["--steps", "40"] if quick else [])], check=True, capture_output=True, cwd=REPOSITORY)
    return made


def conversations(version: Any) -> list[list[dict[str, str]]]:
    from feedback.services.datasets import folder_of

    talks = {}
    for file in version.manifest["files"]:
        if file.get("split") != "train":
            continue
        with (folder_of(version) / file["path"]).open(encoding="utf-8") as stream:
            for row in map(json.loads, stream):
                for one in (row.get(key) for key in ("chosen", "rejected", "completion")):
                    text = one[-1]["content"] if isinstance(one, list) else one
                    if text and isinstance(row["prompt"], list):
                        talk = [*row["prompt"], {"role": "assistant", "content": text}]
                        talks[json.dumps(talk)] = talk
    return list(talks.values())


def train(
    folder: Path, version: Any, objective: str, given: dict[str, Any], base: Path, options: argparse.Namespace
) -> dict[str, Any]:
    from training.data import data_files
    from training.objectives.catalogue import OBJECTIVES

    place = folder / "runs" / version.task.name / objective
    place.mkdir(parents=True)
    asked = {
        "schema": 1,
        "objective": objective,
        "objective_options": given,
        "base_model": str(base),
        "data": data_files(version, OBJECTIVES[objective]),
        "max_length": 1024,
        "tokens_per_batch": 4096,
        "learning_rate": 1e-3,
        "max_steps": 40 if options.quick else None,
        "device": options.device,
    }
    (place / "run.json").write_text(json.dumps(asked), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "training.run", str(place)], capture_output=True, cwd=REPOSITORY)
    result: dict[str, Any] = json.loads((place / "result.json").read_text())
    return result | {"preflight": json.loads((place / "preflight.json").read_text())}


def tell(name: str, objective: str, result: dict[str, Any]) -> None:
    found = result["evaluation"].get("test", {})
    paired = found.get("accuracy") is not None
    splits = result["preflight"]["splits"]
    detail = {
        "interval": [round(found[end], 3) for end in ("low", "high")] if paired else None,
        **{key: found.get(key) for key in ("pairs", "prompts", "loss", "segments")},
        "steps": result["steps"],
        "train_rows": splits["train"]["kept"],
        "dropped": {one["reason"]: one["count"] for one in splits["train"]["dropped"]},
        "leaked_prompts": result["preflight"]["leaked_prompts"]["count"],
        "error": result["error"],
    }
    line = {
        "figure": f"{name.partition('-')[0]}_{objective}_{'accuracy' if paired else 'loss'}",
        "value": round(found["accuracy" if paired else "loss"], 3) if found else None,
        "unit": "share" if paired else "nats",
        "goal": "finished",
        "holds": result["status"] == "finished",
        "detail": detail,
    }
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
