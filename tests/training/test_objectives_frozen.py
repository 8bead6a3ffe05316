"""Each objective from annotations, through a version that the freeze wrote, to a model."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import feedback.tasks  # noqa: F401 - registers the jobs
from feedback.formats.shape_table import SHAPES
from feedback.models import Annotation, Annotator, Instance
from feedback.services import datasets, jobs, tasks
from tests.training.tiny_models import save_tiny
from training import run as training_run
from training.base_model import preference_pairs
from training.data import data_files
from training.engine.readers.files import read_groups
from training.objectives.catalogue import OBJECTIVES

pytestmark = pytest.mark.django_db(transaction=True)  # a freeze reads through a connection of its own

QUESTIONS = [
    {"kind": "preference", "name": "overall", "title": "Which is better?"},
    {"kind": "ranking", "name": "order", "title": "Rank them"},
    {"kind": "rating", "name": "rated", "title": "Rate them", "scales": [{"name": "helpful"}, {"name": "short"}]},
    {
        "kind": "span",
        "name": "errors",
        "title": "Mark errors",
        "types": [{"name": "Irrelevant"}],
        "allow_missing": True,
    },
    {"kind": "critique", "name": "critique", "title": "Criticise", "ask_refinement": True},
]


def answers(chosen: str) -> dict[str, Any]:
    marked = {"target": 1, "start": 0, "end": 5, "type": "Irrelevant", "subtype": "", "severity": "", "comment": ""}
    return {
        "overall": {"value": "a-is-clearly-better", "aspects": {}, "confidence": None, "reasons": []},
        "order": {"groups": [[0], [1]], "unacceptable": []},
        "rated": {"ratings": {"helpful": [5, 2], "short": [2, 4]}},
        "errors": {"spans": [marked], "missing": [{"target": 1, "text": "Missing-Answer"}]},
        "critique": {"critiques": ["", "Answer the question."], "refinements": [None, chosen]},
    }


@pytest.fixture
def version(cast: Any, settings: Any, tmp_path: Path) -> Any:
    settings.FILES_DIR = tmp_path / "files"
    task = tasks.create_task(cast.project, "All that is asked", QUESTIONS, actor=cast.owner)
    annotator = Annotator.objects.create(project=cast.project, kind="human", name="planted")
    for number, row in enumerate(preference_pairs(30, seed=6)):
        texts = [str(row[side][-1]["content"]) for side in ("chosen", "rejected")]
        instance = Instance.objects.create(
            task=task,
            external_id=f"i{number}",
            prompt=row["prompt"],
            completions=[{"content": text, "model": None} for text in texts],
            prompt_hash=f"{number:064x}",
        )
        Annotation.objects.create(
            task=task, instance=instance, annotator=annotator, source="human", answers=answers(texts[0])
        )
    shapes = [name for name in SHAPES if name not in ("raw", "language-modelling")]
    spec = {"shapes": shapes, "formats": ["jsonl"], "splits": [0.6, 0.0, 0.4]}
    made = datasets.create_version(task, spec, actor=cast.owner)
    job = datasets.job_of(made)
    assert job is not None
    jobs.run(job.pk)
    made.refresh_from_db()
    assert made.state == "ready", made.error
    return made


def test_every_objective_reads_what_the_freeze_writes(version: Any) -> None:
    for name, objective in OBJECTIVES.items():
        found = data_files(version, objective)
        groups = read_groups(found["train"], objective.consumes[found["shape"]])
        assert groups, name
        assert any(not group.unusable for group in groups), name
        if objective.beside:
            beside = read_groups(found["beside"]["train"], objective.beside[found["beside"]["shape"]])
            assert any(group.preferences for group in beside), name


@pytest.fixture
def own_signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.slow
@pytest.mark.usefixtures("own_signals")
def test_every_objective_learns_from_what_the_freeze_writes(version: Any, tmp_path: Path) -> None:
    base = save_tiny(tmp_path / "base")
    for name, objective in OBJECTIVES.items():
        folder = tmp_path / name
        folder.mkdir()
        asked = {
            "schema": 1,
            "objective": name,
            "base_model": str(base),
            "data": data_files(version, objective),
            "tokens_per_batch": 1024,
            "max_steps": 2,
            "device": "cpu",
            "threads": 1,
        }
        (folder / "run.json").write_text(json.dumps(asked))
        code = training_run.execute(folder)
        result = json.loads((folder / "result.json").read_text())
        assert (name, code, result["error"]) == (name, 0, None)
        assert result["evaluation"]["test"]["rows"] > 0
        assert (folder / "model" / "model.safetensors").is_file()
