"""The training process as its supervisor sees it: a folder in, files and an exit code out."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.training.tiny_models import save_tiny, settings, write_rows
from training import run as training_run
from training.engine import reference_policy
from training.engine.files import sha256_file

ROOT = Path(__file__).resolve().parents[2]


def prepare(folder: Path, objective: str = "bt", **changes: Any) -> Path:
    (folder / "run.json").write_text(json.dumps(settings(folder, objective, **changes)))
    return folder


def start(folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "training.run", str(folder)], cwd=ROOT, env=environment)


def result(folder: Path) -> Any:
    return json.loads((folder / "result.json").read_text())


def curve(folder: Path, name: str = "loss") -> list[tuple[int, float]]:
    points = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [(point["step"], point["value"]) for point in points if point["name"] == name]


def wait_for_step(folder: Path, step: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if (folder / "metrics.jsonl").exists() and f'"step": {step},' in (folder / "metrics.jsonl").read_text():
            return
        time.sleep(0.005)


@pytest.fixture(autouse=True)
def _own_signals() -> Any:
    """A run in this process takes SIGTERM for itself; give it back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("objective", ["bt", "dpo"])
def test_a_run_leaves_a_model_scores_curves_and_a_result(tmp_path: Path, objective: str) -> None:
    folder = prepare(tmp_path, objective, evaluate_every=2)
    assert training_run.execute(folder) == 0
    answer = result(folder)
    assert (answer["status"], answer["error"], answer["error_rows"]) == ("finished", None, [])
    assert answer["steps"] == len(curve(folder)) > 2
    assert answer["evaluation"]["test"]["pairs"] == 12
    assert answer["evaluation"]["test"]["accuracy"] == answer["evaluation"]["test"]["correct"] / 12
    for entry in answer["files"]:
        assert sha256_file(folder / entry["path"]) == entry["sha256"]
    assert {"model/config.json", "model/model.safetensors", "model/tokenizer.json"} <= {
        entry["path"] for entry in answer["files"]
    }
    assert [step for step, _ in curve(folder, "eval_loss")] == list(range(2, answer["steps"] + 1, 2))
    scores = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    assert len(scores) == 12
    assert {"id", "score_chosen", "score_rejected"} <= scores[0].keys()
    state = json.loads((folder / "state.json").read_text())
    assert (state["phase"], state["step"], state["total_steps"]) == ("done", answer["steps"], answer["steps"])
    preflight = json.loads((folder / "preflight.json").read_text())
    assert preflight["splits"]["train"]["kept"] == 40
    assert preflight["steps"] == answer["steps"]
    assert len(preflight["splits"]["train"]["rendered"]) == 3
    assert (preflight["text"]["eos"], preflight["text"]["adds_bos"]) == ("<|end|>", False)
    assert "<|assistant|>" in preflight["text"]["template"]


def test_the_saved_reward_model_scores_equally_by_plain_transformers(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = prepare(tmp_path)
    assert training_run.execute(folder) == 0
    tokenizer = AutoTokenizer.from_pretrained(str(folder / "model"))
    model = AutoModelForSequenceClassification.from_pretrained(str(folder / "model")).eval()
    scores = {row["id"]: row for row in map(json.loads, (folder / "scores.jsonl").read_text().splitlines())}
    rows = [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()]
    for side in ("chosen", "rejected"):
        texts = [tokenizer.apply_chat_template(row["prompt"] + row[side], tokenize=False) for row in rows]
        batch = tokenizer(texts, padding=True, add_special_tokens=False, return_tensors="pt")
        with torch.no_grad():
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, 0]
        assert logits.tolist() == pytest.approx([scores[row["id"]][f"score_{side}"] for row in rows], abs=1e-4)


def test_the_first_dpo_step_starts_at_the_reference(tmp_path: Path) -> None:
    folder = prepare(tmp_path, "dpo", max_steps=1)
    assert training_run.execute(folder) == 0
    assert curve(folder)[0][1] == pytest.approx(0.693147, abs=1e-5)
    assert curve(folder, "margin")[0][1] == pytest.approx(0, abs=1e-5)


def test_a_second_run_makes_no_reference_forward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = str(tmp_path / "cache")
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        if name == "second":
            monkeypatch.setattr(reference_policy, "compute_values", None)  # calling it would fail the run
        options = {"reference_cache": cache, "learning_rate": 1e-3 if name == "first" else 1e-4}
        folder = prepare(tmp_path / name, "dpo", max_steps=2, **options)
        assert training_run.execute(folder) == 0
        assert (result(folder)["reference_forwards"] == 0) is (name == "second")


def test_a_preflight_alone_says_what_a_run_would_do_and_learns_nothing(tmp_path: Path) -> None:
    folder = prepare(tmp_path, "dpo", max_length=120)
    assert training_run.main([str(folder), "--preflight"]) == 0
    alone = json.loads((folder / "preflight.json").read_text())
    assert not (folder / "result.json").exists()
    assert not (folder / "checkpoints").exists()
    assert training_run.main([str(folder)]) == 0
    whole = json.loads((folder / "preflight.json").read_text())
    assert {**alone, "estimate": None} == {**whole, "estimate": None}
    (folder / "result.json").unlink()
    (folder / "run.json").write_text("{")
    assert training_run.main([str(folder), "--preflight"]) == 1
    assert "not valid JSON" in result(folder)["error"]


def test_another_reference_model_is_used(tmp_path: Path) -> None:
    reference = str(save_tiny(tmp_path / "other", seed=9, scale=2.0))
    folder = prepare(tmp_path, "dpo", max_steps=1, reference_model=reference)
    assert training_run.execute(folder) == 0
    assert abs(curve(folder, "reward_chosen")[0][1]) > 0.01


def test_a_finished_run_started_again_is_left_as_it_is(tmp_path: Path) -> None:
    folder = prepare(tmp_path, max_steps=2)
    assert training_run.execute(folder) == 0
    before = (folder / "result.json").read_bytes()
    assert training_run.execute(folder) == 0
    assert (folder / "result.json").read_bytes() == before


def test_a_cancelled_run_says_so_and_goes_on_when_started_again(tmp_path: Path) -> None:
    folder = prepare(tmp_path)
    (folder / "cancel").touch()
    assert training_run.execute(folder) == 3
    assert result(folder)["status"] == "cancelled"
    (folder / "cancel").unlink()
    assert training_run.execute(folder) == 0
    assert result(folder)["status"] == "finished"


@pytest.mark.parametrize(
    ("change", "says", "rows"),
    [
        ({"max_length": 8}, "No training row is left", 40),
        ({"long_rows": "error", "max_length": 30}, "longer than the limit", None),
        ({"base_model": "/nowhere"}, "There is no model folder /nowhere", 0),
        ({"precision": "bf16"}, "bf16 needs a CUDA device", 0),
        ({"unknown": 1}, "unknown: extra inputs are not permitted", 0),
        ({"learning_rate": 10.0, "max_grad_norm": 1e6, "weight_decay": 10.0}, "not finite", None),
    ],
)
def test_a_run_that_fails_says_why_in_a_sentence(
    tmp_path: Path, change: dict[str, Any], says: str, rows: int | None
) -> None:
    folder = prepare(tmp_path, **change)
    assert training_run.execute(folder) == 1
    answer = result(folder)
    assert answer["status"] == "failed"
    assert says in answer["error"]
    assert answer["error"].endswith(".")
    assert rows is None or len(answer["error_rows"]) == rows
    assert rows is not None or answer["error_rows"]


def test_malformed_rows_are_named(tmp_path: Path) -> None:
    folder = prepare(tmp_path)
    write_rows(folder / "train.jsonl", [{"prompt": "a", "chosen": "b"}])
    assert training_run.execute(folder) == 1
    assert result(folder)["error_rows"] == ["train.jsonl line 1"]


def test_prompts_in_both_splits_are_reported(tmp_path: Path) -> None:
    folder = prepare(tmp_path, max_steps=1)
    (folder / "test.jsonl").write_text((folder / "train.jsonl").read_text())
    assert training_run.execute(folder) == 0
    assert json.loads((folder / "preflight.json").read_text())["leaked_prompts"]["count"] == 40


def test_a_torn_checkpoint_is_passed_over_in_words(tmp_path: Path) -> None:
    folder = prepare(tmp_path, checkpoint_every=2, max_steps=4)
    assert training_run.execute(folder) == 0
    weights = (folder / "model" / "model.safetensors").read_bytes()
    (folder / "result.json").unlink()
    newest = folder / "checkpoints" / "step-000004" / "weights.safetensors"
    newest.write_bytes(newest.read_bytes()[:500])
    assert training_run.execute(folder) == 0
    assert (folder / "model" / "model.safetensors").read_bytes() == weights
    assert [step for step, _ in curve(folder)] == [1, 2, 3, 4]


def test_a_folder_that_is_not_there_is_an_error() -> None:
    assert training_run.main(["/nowhere/at/all"]) == 1


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize(
    ("objective", "kill_points"), [("bt", [n / 10 for n in range(10)]), ("dpo", [n / 10 + 0.05 for n in range(10)])]
)
def test_a_run_killed_at_any_moment_ends_bitwise_as_one_that_was_not(
    tmp_path: Path, objective: str, kill_points: list[float]
) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    base = str(save_tiny(tmp_path / "base"))
    changes = {"epochs": 4, "tokens_per_batch": 256, "checkpoint_every": 2, "max_length": 400, "base_model": base}
    whole = prepare(tmp_path / "whole", objective, **changes)
    killed = prepare(tmp_path / "killed", objective, **changes)
    assert start(whole).wait(120) == 0
    steps = result(whole)["steps"]
    for share in kill_points:
        process = start(killed)
        wait_for_step(killed, max(1, round(share * steps)), process)
        process.kill()
        process.wait(60)
    assert start(killed).wait(120) == 0
    assert sha256_file(killed / "model" / "model.safetensors") == sha256_file(whole / "model" / "model.safetensors")
    assert (killed / "scores.jsonl").read_text() == (whole / "scores.jsonl").read_text()
    assert curve(killed) == curve(whole)


@pytest.mark.slow
def test_sigterm_saves_the_step_and_exits_cancelled(tmp_path: Path) -> None:
    folder = prepare(tmp_path, epochs=200, checkpoint_every=10_000)
    process = start(folder)
    wait_for_step(folder, 3, process)
    process.terminate()
    assert process.wait(30) == 3
    answer = result(folder)
    assert answer["status"] == "cancelled"
    assert (folder / "checkpoints" / f"step-{answer['steps']:06d}").is_dir()
