"""The process that evaluates: what it finds is what the training run found, and what a model cannot do it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.training import tiny_models
from training import process
from training.evaluate import Evaluation
from training.run import execute as train

pytestmark = pytest.mark.slow


def trained(folder: Path, objective: str, **changes: Any) -> dict[str, Any]:
    """A run's folder and its result."""
    folder.mkdir(exist_ok=True)
    asked = tiny_models.settings(folder, objective, max_steps=3, **changes)
    (folder / "run.json").write_text(json.dumps(asked))
    assert train(folder) == process.FINISHED
    return dict(json.loads((folder / "result.json").read_text()))


def evaluated(folder: Path, run: Path, **wishes: Any) -> tuple[int, dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    asked = {"schema": 1, "model": str(run / "model"), "shape": "preference", "files": [str(run / "test.jsonl")]}
    (folder / "evaluation.json").write_text(json.dumps(asked | {"threads": 1, "device": "cpu"} | wishes))
    code = process.execute(folder, lambda place, stop: Evaluation(place, stop).work())
    return code, json.loads((folder / "result.json").read_text())


def test_a_reward_model_gets_the_figures_of_its_own_run(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "bt")["evaluation"]["test"]
    code, found = evaluated(tmp_path / "e", tmp_path / "run", objective="bt")
    assert code == process.FINISHED
    report = found["report"]
    for name in ("accuracy", "pairs", "log_loss", "ece", "low", "high"):
        assert report[name] == pytest.approx(run[name], abs=1e-6), name
    assert report["leaked_prompts"] == 0
    assert found["read"]["kept"] == run["rows"]
    scores = [json.loads(line) for line in (tmp_path / "e" / "scores.jsonl").read_text().splitlines()]
    assert len(scores) == report["pairs"]


def test_a_policy_gets_the_figures_of_its_own_run_and_what_it_forgot(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "dpo", objective_options={"beta": 0.2})["evaluation"]["test"]
    wishes = {"objective": "dpo", "objective_options": {"beta": 0.2}, "reference": str(tmp_path / "run" / "base")}
    _, found = evaluated(tmp_path / "e", tmp_path / "run", trained_on=[str(tmp_path / "run" / "train.jsonl")], **wishes)
    assert found["report"]["log_loss"] == pytest.approx(run["log_loss"], abs=1e-5)
    forgot = found["report"]["forgetting"]
    assert forgot["texts"] == run["pairs"]
    assert abs(forgot["nll"] - forgot["reference_nll"]) < 1
    _, itself = evaluated(tmp_path / "i", tmp_path / "run", **wishes | {"reference": str(tmp_path / "run" / "model")})
    assert itself["report"]["forgetting"]["increase"] == 0
    assert itself["report"]["accuracy"] == 0.5


def test_an_ensemble_says_how_far_its_heads_are_apart_and_files_have_subsets(tmp_path: Path) -> None:
    trained(tmp_path / "run", "ensemble", objective_options={"heads": 3})
    rows = [json.loads(line) for line in (tmp_path / "run" / "test.jsonl").read_text().splitlines()]
    path = tmp_path / "benchmark.jsonl"
    tiny_models.write_rows(path, [row | {"id": n, "subset": "hep-go"} for n, row in enumerate(rows)])
    wishes = {"objective": "ensemble", "objective_options": {"heads": 3}, "files": [str(path)]}
    _, found = evaluated(tmp_path / "e", tmp_path / "run", **wishes)
    report = found["report"]
    assert report["ensemble"]["heads"] == 3
    assert report["ensemble"]["mean_sd"] > 0
    assert report["benchmark"]["sections"]["Reasoning"] == report["accuracy"]
    assert report["benchmark"]["score"] is None


def test_every_row_of_an_instance_has_its_marks(tmp_path: Path) -> None:
    trained(tmp_path / "run", "bt")
    rows = [json.loads(line) for line in (tmp_path / "run" / "test.jsonl").read_text().splitlines()]
    path, marks, marked = tmp_path / "rows.jsonl", tmp_path / "marks.jsonl", str(uuid4())
    names = [marked, f"{marked}-0-2", f"{marked}-refined-1-0", *(str(uuid4()) for _ in rows[3:])]
    tiny_models.write_rows(path, [row | {"id": name} for row, name in zip(rows, names, strict=True)])
    tiny_models.write_rows(marks, [{"id": marked, "language": "de"}, {"id": str(uuid4()), "language": "ar"}])
    wishes = {"objective": "bt", "files": [str(path)], "marks": str(marks)}
    code, found = evaluated(tmp_path / "e", tmp_path / "run", **wishes)
    assert code == process.FINISHED, found["error"]
    assert {name: one["pairs"] for name, one in found["report"]["slices"]["language"].items()} == {"de": 3}


def test_rows_that_cannot_be_read_are_named_and_a_request_to_stop_is_heard(tmp_path: Path) -> None:
    trained(tmp_path / "run", "bt")
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"prompt": "Q", "chosen": "a"}\n')
    code, found = evaluated(tmp_path / "e", tmp_path / "run", objective="bt", files=[str(bad)])
    assert code == process.FAILED
    assert "bad.jsonl line 1: rejected is neither text" in found["error"]
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "cancel").touch()
    assert evaluated(tmp_path / "c", tmp_path / "run", objective="bt")[0] == process.CANCELLED
    code, found = evaluated(tmp_path / "u", tmp_path / "run", objective="bt", typo=1)
    assert "typo" in found["error"]
