"""The processes that write and score completions, against the real engine on tiny models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.training import tiny_models
from training import generate, process, score
from training.generation.sample import Drawn
from training.run import execute as train

PROMPTS = [{"id": str(n), "prompt": f"Question {n}?"} for n in range(4)]


def test_of_each_so_many_draws_the_highest_score_is_shown() -> None:
    drawn = [Drawn(str(n), 1, True) for n in range(4)]
    assert generate.chosen(drawn, [1.0, 2.0, 3.0, 3.0], 2) == [1, 2]
    assert generate.chosen(drawn, None, 1) == [0, 1, 2, 3]
    assert generate.seed_of(0, "a", "1") != generate.seed_of(0, "a", "2")


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reward")
    (folder / "run.json").write_text(json.dumps(tiny_models.settings(folder, "bt", max_steps=1)))
    assert train(folder) == process.FINISHED
    return folder


def written(folder: Path, reward: Path, **wishes: Any) -> tuple[int, dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    prompts = folder / "prompts.jsonl"
    prompts.write_text("".join(json.dumps(one) + "\n" for one in PROMPTS))
    asked = {
        "schema": 1,
        "sides": [
            {"name": "one", "model": str(reward / "base"), "best_of": 2},
            {"name": "two", "model": str(reward / "base")},
        ],
        "reward_model": str(reward / "model"),
        "prompts": str(prompts),
        "max_new_tokens": 6,
        "threads": 1,
    }
    (folder / "generation.json").write_text(json.dumps(asked | wishes))
    code = process.execute(folder, lambda place, stop: generate.Generation(place, stop).work())
    return code, json.loads((folder / "result.json").read_text())


@pytest.mark.slow
def test_what_was_written_goes_on_after_a_torn_line_with_the_same_texts(tmp_path: Path, reward: Path) -> None:
    code, found = written(tmp_path / "g", reward)
    assert code == process.FINISHED, found["error"]
    path = tmp_path / "g" / "completions.jsonl"
    whole = path.read_text()
    rows = [json.loads(line) for line in whole.splitlines()]
    assert [row["id"] for row in rows] == ["0", "1", "2", "3"]
    for row in rows:
        one = row["sides"]["one"]
        assert one["scores"][one["shown"][0]] == max(one["scores"])
        assert len(row["sides"]["two"]["drawn"]) == 1
    report = found["report"]["one"]
    assert report["mean_reward_shown"] >= report["mean_reward"]
    assert report["completions"] == 8
    lines = whole.splitlines(keepends=True)
    path.write_text("".join(lines[:2]) + lines[2][:20])
    written(tmp_path / "g", reward)
    assert path.read_text() == whole


@pytest.mark.slow
def test_a_prompt_beyond_the_positions_of_a_model_is_left_out_and_the_others_are_written(
    tmp_path: Path, reward: Path
) -> None:
    base, folder = tmp_path / "gpt2", tmp_path / "long"
    tiny_models.save_tiny(base, "gpt2")  # has 256 positions, and fails beyond
    folder.mkdir()
    prompts = [{"id": "1", "prompt": "word " * 400}, {"id": "2", "prompt": "Question?"}]
    (folder / "long.jsonl").write_text("".join(json.dumps(one) + "\n" for one in prompts))
    sides = [{"name": "one", "model": str(base)}]
    wishes = {"sides": sides, "prompts": str(folder / "long.jsonl"), "max_new_tokens": 400, "reward_model": None}
    code, found = written(folder, reward, **wishes)
    assert code == process.FINISHED, found["error"]
    first, second = (json.loads(line) for line in (folder / "completions.jsonl").read_text().splitlines())
    assert "256 tokens" in first["left_out"]
    assert all(one["tokens"] < 256 for one in second["sides"]["one"]["drawn"])
    assert found["report"]["one"]["prompts"] == 1


@pytest.mark.slow
def test_the_best_of_several_needs_a_reward_model_and_a_policy_is_none(tmp_path: Path, reward: Path) -> None:
    code, found = written(tmp_path / "n", reward, reward_model=None)
    assert (code, "none is named" in found["error"]) == (process.FAILED, True)
    sides = [{"name": "one", "model": str(reward / "model")}]
    code, found = written(tmp_path / "p", reward, sides=sides)
    assert (code, "writes no text" in found["error"]) == (process.FAILED, True)


@pytest.mark.slow
def test_a_reward_model_scores_items_and_says_what_it_left_out(tmp_path: Path, reward: Path) -> None:
    items = [{"id": n, "prompt": "Q?", "completions": ["yes", "no", "yes"]} for n in (1, 2)]
    items.append({"id": 3, "prompt": "Q?", "completions": ["word " * 600, "no"]})
    path = tmp_path / "items.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in items))
    wishes = {"schema": 1, "model": str(reward / "model"), "items": str(path), "max_length": 64, "threads": 1}
    (tmp_path / "scoring.json").write_text(json.dumps(wishes))
    assert process.execute(tmp_path, score.work) == process.FINISHED
    rows = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["1", "2", "3"]
    assert rows[0]["scores"][0] == rows[0]["scores"][2] != rows[0]["scores"][1]
    assert rows[0]["scores"] == pytest.approx(rows[1]["scores"], abs=1e-5)
    assert "longer" in rows[2]["error"]
    assert json.loads((tmp_path / "result.json").read_text())["scored"] == 2
    (tmp_path / "scoring.json").write_text(json.dumps(wishes | {"model": str(reward / "base")}))
    assert process.execute(tmp_path, score.work) == process.FAILED
