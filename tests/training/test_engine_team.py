import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.test_run_process import ROOT, _own_signals, curve, prepare, result  # noqa: F401
from tests.training.tiny_models import save_tiny
from training import run as training_run
from training.engine.team import ALONE, Team

LAUNCH = [
    *(sys.executable, "-W", "ignore", "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"),
    *("--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"),
]


def test_shares_are_even_in_cost_and_together_everything_in_order() -> None:
    costs = [50, 3, 20, 30, 7, 40, 1]
    indices = [6, 0, 5, 2, 3, 1]
    parts = [Team(rank, 2).share(indices, costs) for rank in range(2)]
    assert sorted(parts[0] + parts[1]) == sorted(indices)
    assert all(part == [index for index in indices if index in part] for part in parts)
    totals = [sum(costs[index] for index in part) for part in parts]
    assert abs(totals[0] - totals[1]) <= 10
    assert Team(1, 2).share([4], costs) == []


def test_alone_every_answer_is_ones_own() -> None:
    assert ALONE.share([3, 1], [1, 1, 1, 1]) == [3, 1]
    assert ALONE.gather("x") == ["x"]
    assert ALONE.first("x") == "x"
    assert ALONE.leads


def launch(folder: Path) -> subprocess.CompletedProcess[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [*LAUNCH, "--main_process_port", port, "-m", "training.run", str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["bt", "kto"])
def test_two_processes_end_where_one_does(tmp_path: Path, objective: str) -> None:
    from safetensors.torch import load_file

    base = str(save_tiny(tmp_path / "base", scale=2.0))
    folders = {}
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        changes: dict[str, Any] = {"gradient_accumulation": 2, "max_steps": 4, "evaluate_every": 2, "base_model": base}
        folders[name] = prepare(tmp_path / name, objective, **changes)
    assert training_run.execute(folders["one"]) == 0
    launched = launch(folders["two"])
    assert launched.returncode == 0, launched.stderr
    answers = [result(folder) for folder in folders.values()]
    assert answers[0]["steps"] == answers[1]["steps"] == 4
    assert answers[0]["tokens"] == answers[1]["tokens"]
    assert json.loads((folders["two"] / "preflight.json").read_text())["processes"] == 2
    for name in ("loss", "grad_norm", "eval_loss"):
        curves = [dict(curve(folder, name)) for folder in folders.values()]
        assert curves[0] == pytest.approx(curves[1], rel=1e-3, abs=1e-5), name
    weights = [load_file(folder / "model" / "model.safetensors") for folder in folders.values()]
    for name, mine in weights[0].items():
        assert (weights[1][name] - mine).abs().max() < 1e-3, name  # Adam turns rounding into a share of its step
    scores = [
        [json.loads(line)["score_chosen"] for line in (folder / "scores.jsonl").read_text().splitlines()]
        for folder in folders.values()
    ]
    assert scores[0] == pytest.approx(scores[1], abs=1e-2)


@pytest.mark.slow
def test_a_fault_of_one_process_is_told_by_all(tmp_path: Path) -> None:
    folder = prepare(tmp_path, learning_rate=10.0, max_grad_norm=1e6, weight_decay=10.0)
    assert launch(folder).returncode != 0
    assert "not finite" in result(folder)["error"]
