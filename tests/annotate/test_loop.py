"""The loop without a browser, end to end on a few instances: a real import, plan, freeze, training and report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from annotate.loop import replay
from tests.conftest import REPOSITORY
from training.base_model import QUICK, make_base_model

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


def test_the_loop_runs_and_reports_on_the_demo(settings: Any, tmp_path: Path, capsys: Any) -> None:
    settings.VAR_DIR, settings.FILES_DIR, settings.MODELS_DIR = tmp_path, tmp_path / "files", tmp_path / "models"
    settings.TRAIN_THREADS = 1
    make_base_model(tmp_path / "models" / "tiny", 0, QUICK)
    call_command("loop", seeds=1, budgets=[0.25], base_model="folder:tiny")
    report = json.loads((tmp_path / "reports" / "loop.json").read_text())
    strategies = {line["strategy"] for line in report["lines"]}
    assert {"random", "disagreement", "all_judge", "all_human"} <= strategies
    assert all(0 <= line["held_out"]["value"] <= 1 for line in report["lines"])
    assert "DPO" in capsys.readouterr().out
    assert "<svg" in (tmp_path / "reports" / "loop.html").read_text()


def test_the_loop_may_be_the_first_thing_that_is_run(tmp_path: Path) -> None:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "ENV_FILE") if name in os.environ}
    command = [sys.executable, "manage.py", "loop", "--labels-only", "--seeds", "1", "--budgets", "0.25"]
    environment = kept | {"VAR_DIR": str(tmp_path)}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "all_human" in done.stdout


def test_a_folder_that_is_no_set_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no set that can be read"):
        call_command("loop", data=tmp_path)


def test_what_a_bought_label_is_checked_against_leaves_its_person_out() -> None:
    _, rows = replay.read_demo()
    draw = replay.Draw.of(rows, seed=1)
    assert not {row.prompt_id for row in draw.pool.values()} & {row.prompt_id for row in draw.held_out.values()}
    for name, row in draw.pool.items():
        others = [replay.side(said) for n, said in enumerate(row.people) if n != draw.person[name]]
        assert draw.others(name) == (None if sum(others) == 1 else float(sum(others) > 1))
