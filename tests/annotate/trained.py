"""Runs and models as they stand after training, without training."""

from __future__ import annotations

import hashlib
from typing import Any

from django.utils import timezone

from feedback.services import people, tasks
from tests.conftest import QUESTIONS
from tests.training.frozen import freeze_rows
from training import services
from training.evaluations import start_evaluation
from training.models import Evaluation, Metric, Run, TrainedModel

PAIR = {"id": "p", "prompt": "Q?", "chosen": "yes", "rejected": "no"}
FIGURES = {"accuracy": 0.75, "correct": 15.0, "pairs": 20, "low": 0.55, "high": 0.9, "log_loss": 0.5, "ece": 0.1}
WEIGHTS = b"weights of a model, for a test of ranges"


def version_of(cast: Any) -> Any:
    return cast.task.dataset_versions.first() or freeze_rows(cast.task, cast.owner, {"train": [PAIR], "test": [PAIR]})


def another_version(cast: Any) -> Any:
    return freeze_rows(cast.task, cast.owner, {"train": [PAIR], "test": [PAIR, PAIR]})


def foreign_version(cast: Any) -> Any:
    """One of a project that the cast has no part in."""
    project = people.create_project("Elsewhere", owner=cast.outsider)
    task = tasks.create_task(project, "Theirs", QUESTIONS, actor=cast.outsider)
    return freeze_rows(task, cast.outsider, {"train": [PAIR], "test": [PAIR]})


def queued_run(cast: Any, **config: Any) -> Run:
    return services.start_run(version_of(cast), "bt", "small", config, cast.manager)


CHECKED: dict[str, Any] = {
    "steps": 12,
    "device": "cpu",
    "estimate": {"parameters": 1_000_000, "trained": 1_000_000, "seconds": 42.0, "memory_bytes": 40_000_000},
    "leaked_prompts": {"count": 0, "ids": []},
    "splits": {
        "train": {
            "rows": 3,
            "kept": 1,
            "tokens": 100,
            "longest": 60,
            "truncated": {"count": 0, "ids": []},
            "dropped": [{"reason": "longer than max_length", "count": 2, "ids": ["row-8", "row-9"]}],
            "rendered": [{"id": "row-1", "prompt": "<script>first row</script>", "completions": ["yes", "no"]}],
        }
    },
}


def checked_run(cast: Any, run: Run | None = None) -> Run:
    """A run whose report is there, and which waits for the word to start."""
    run = run or services.start_run(version_of(cast), "bt", "small", {"epochs": 7}, cast.manager, check_first=True)
    Run.objects.filter(pk=run.pk).update(state="checked", preflight=CHECKED)
    now = timezone.now()
    type(run.job).objects.filter(pk=run.job_id).update(state="succeeded", started_at=now, ended_at=now)
    return Run.objects.select_related("job").get(pk=run.pk)


def finished_run(cast: Any) -> Run:
    """A run whose job has ended well, with a short curve, an evaluation and a model of two files."""
    run = queued_run(cast)
    now = timezone.now()
    slices = {"source": {"human": FIGURES}}
    evaluation = {"test": FIGURES | {"slices": slices, "mean_margin": 1.5}}
    Run.objects.filter(pk=run.pk).update(state="finished", started_at=now, ended_at=now, evaluation=evaluation, step=2)
    type(run.job).objects.filter(pk=run.job_id).update(state="succeeded", ended_at=now)
    Metric.objects.bulk_create(Metric(run=run, step=step, name="loss", value=1 / step) for step in (1, 2))
    folder = run.folder / "model"
    folder.mkdir(parents=True)
    files = []
    for name, data in {"model.safetensors": WEIGHTS, "config.json": b"{}"}.items():
        (folder / name).write_bytes(data)
        files.append({"path": name, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)})
    TrainedModel.objects.create(
        run=run,
        name=f"Reward model · run {run.number}",
        kind="reward-model",
        sha256="ab" * 32,
        files=files,
        bytes=sum(file["bytes"] for file in files),
        card="---\ntags: []\n---\n\n# The card\n",
    )
    return Run.objects.select_related("model", "job").get(pk=run.pk)


BINS = [{"low": 0.5, "high": 0.6, "count": 9, "confidence": 0.55, "accuracy": 0.5}]
BINS += [{"low": 0.9, "high": 1.0, "count": 11, "confidence": 0.95, "accuracy": 0.9}]
REPORT: dict[str, Any] = {
    **FIGURES,
    "slices": {"source": {"human": FIGURES}, "language": {"de": FIGURES}, "tag": {"<b>code</b>": FIGURES}},
    "mean_margin": 1.5,
    "reliability": BINS,
    "rows": 20,
    "loss": 0.5,
    "leaked_prompts": 2,
    "benchmark": {
        "score": None,
        "sections": {"Chat": 0.75, "Chat hard": None, "Safety": 0.5, "Reasoning": None},
        "subsets": {"alpacaeval-easy": FIGURES},
        "missing": ["hep-go"],
        "other": [],
    },
    "ensemble": {
        "heads": 3,
        "mean_sd": 0.4,
        "unanimous": 0.8,
        "accuracy_unanimous": 0.85,
        "accuracy_split": 0.5,
    },
}
READ = {
    "rows": 22,
    "kept": 20,
    "truncated": {"count": 1, "ids": ["r1"]},
    "dropped": [{"reason": "longer than 512 tokens", "count": 2, "ids": ["r8", "r9"]}],
}


def finished_evaluation(cast: Any, model: TrainedModel) -> Evaluation:
    """An evaluation whose job has ended well."""
    made = start_evaluation(model, version_of(cast), cast.manager)
    type(made.job).objects.filter(pk=made.job_id).update(
        state="succeeded", started_at=timezone.now(), ended_at=timezone.now()
    )
    Evaluation.objects.filter(pk=made.pk).update(report=REPORT, read=READ, seconds=1.5)
    made.folder.mkdir(parents=True)
    (made.folder / "scores.jsonl").write_text('{"id": "p"}\n')
    return Evaluation.objects.select_related("job", "model").get(pk=made.pk)
