"""The card says what is known of a model, says what is not, and cannot be broken by names."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from training import card
from training.models import Run


@pytest.fixture
def run(cast: Any) -> Run:
    from feedback.models import DatasetVersion, Job

    version = DatasetVersion(task=cast.task, number=3, spec={}, sha256="ab" * 32, rows=1234)
    job = Job(project=cast.project, kind="train")
    return Run(
        number=7, project=cast.project, version=version, objective="bt", base_model="folder:tiny", config={}, job=job
    )


FIGURES = {"accuracy": 0.75, "low": 0.6, "high": 0.875, "pairs": 40, "log_loss": 0.512, "ece": None}


def test_it_names_data_settings_and_figures_with_their_interval(run: Run) -> None:
    run.config, run.evaluation, run.step = {"epochs": 2, "max_steps": None}, {"test": FIGURES}, 11
    text = card.render(run)
    assert "| test | 0.750 | 0.600 to 0.875 | 40 | 0.512 | – |" in text
    assert "version 3 of “Which is better”" in text
    assert "starting from: tiny." in text
    assert "- **`epochs`:** 2" in text
    assert "max_steps" not in text
    assert "AutoModelForSequenceClassification" in text


def test_a_run_without_held_out_pairs_is_said_to_be_unevaluated(run: Run) -> None:
    assert "Not evaluated" in card.render(run)


def test_heads_and_error_types_are_told_where_there_are_any(run: Run) -> None:
    segments = {"Wrong\n# no": {"segments": 40, "marked": 3, "auc": 0.912}}
    run.evaluation = {"test": FIGURES | {"ensemble": {"mean_sd": 0.25, "unanimous": 0.9}, "segments": segments}}
    text = card.render(run)
    assert "- **Heads, test:** differ by 0.250, and take both sides of 10.0%" in text
    assert "- **Wrong # no, test:** 3 of 40 segments, area 0.912" in text
    run.evaluation = {"test": {"ensemble": None, "segments": {}}}
    assert "Heads" not in card.render(run)


def test_a_hostile_task_name_stays_text_on_one_line(run: Run) -> None:
    run.version.task.name = "x\n# Heading\n[link](http://evil.example) <script>"
    text = card.render(run)
    assert "\n# Heading" not in text
    assert "<script>" not in text
    assert "\\[link]" in text


def test_the_hash_of_a_model_is_that_of_what_sha256sum_prints() -> None:
    files = [{"path": "b", "sha256": "22", "bytes": 1}, {"path": "a", "sha256": "11", "bytes": 1}]
    assert card.manifest_sha256(files) == hashlib.sha256(b"11  a\n22  b\n").hexdigest()


def test_the_written_card_is_listed_with_its_own_hash(tmp_path: Path) -> None:
    entry = card.write(tmp_path, "Ä card\n")
    data = (tmp_path / "README.md").read_bytes()
    assert entry == {"path": "README.md", "sha256": hashlib.sha256(data).hexdigest(), "bytes": 8}
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
