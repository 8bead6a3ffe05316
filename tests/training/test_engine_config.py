import json
from pathlib import Path
from typing import Any

import pytest

from training.engine.config import load_config, parse_config
from training.engine.errors import RunError


@pytest.fixture
def raw(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "train.jsonl"
    path.write_text("{}\n")
    return {"schema": 1, "objective": "bt", "base_model": "/models/x", "data": {"train": [str(path)]}}


def test_defaults_fill_what_is_left_out(raw: dict[str, Any]) -> None:
    config = parse_config(raw)
    assert (config.max_length, config.tokens_per_batch, config.long_rows) == (512, 4096, "drop")
    assert config.objective_options.margin_scale == 0.0
    assert parse_config({**raw, "objective": "simpo"}).objective_options.beta == 2.0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"objective": "ppo"}, "objective: choose one of bt, dpo"),
        ({"epochs": 0}, "epochs: input should be greater than 0"),
        ({"epochs": "3"}, "epochs: input should be a valid integer"),
        ({"learning_rate": -1}, "learning_rate"),
        ({"evaluate_every": 2**70}, "evaluate_every: input should be less than"),
        (
            {"objective": "dpo", "objective_options": {"beta": 1e308}},
            "objective_options.beta: input should be less than",
        ),
        ({"objective_options": {"beta": 0.1}}, "bt has no option beta; it reads label_smoothing"),
        ({"learnin_rate": 1e-3}, "learnin_rate: extra inputs are not permitted"),
        ({"schema": 2}, "schema"),
        ({"warmup_steps": 1.5}, "warmup_steps: must be a whole number"),
        ({"max_prompt_length": 512}, "max_prompt_length must be smaller"),
        ({"tokens_per_batch": 100}, "tokens_per_batch must be at least half"),
        ({"reference_model": "/x"}, "reference_model is not read by"),
        ({"data": {"train": []}}, "data.train"),
        ({"data": {"train": ["rows.jsonl"]}}, "not an absolute path"),
        ({"data": {"train": ["/rows.csv"]}}, "neither .jsonl nor .parquet"),
        ({"data": {"train": ["/rows.jsonl"]}}, "does not exist"),
        ({"objective_options": {"label_smoothing": 0.5}}, "label_smoothing"),
    ],
)
def test_a_wrong_setting_is_named(raw: dict[str, Any], change: dict[str, Any], says: str) -> None:
    with pytest.raises(RunError) as caught:
        parse_config({**raw, **change})
    assert says in str(caught.value)


def test_every_wrong_setting_is_named_at_once(raw: dict[str, Any]) -> None:
    with pytest.raises(RunError, match=r"epochs.*seed"):
        parse_config({**raw, "epochs": 0, "seed": -1})


@pytest.mark.parametrize(
    ("text", "says"), [(None, "There is no run.json"), ("{", "not valid JSON"), ("[]", "not valid")]
)
def test_a_missing_or_torn_file_is_a_sentence(tmp_path: Path, text: str | None, says: str) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunError, match=says):
        load_config(tmp_path / "run.json")


def test_warm_up_is_a_number_of_steps_or_a_fraction(raw: dict[str, Any]) -> None:
    assert parse_config({**raw, "warmup_steps": 0.1}).warmup(200) == 20
    assert parse_config({**raw, "warmup_steps": 7}).warmup(200) == 7


def test_the_fingerprint_follows_what_decides_the_weights(raw: dict[str, Any]) -> None:
    base = parse_config(raw).fingerprint("w", None)
    assert parse_config({**raw, "checkpoint_every": 7, "threads": 2}).fingerprint("w", None) == base
    assert parse_config({**raw, "seed": 1}).fingerprint("w", None) != base
    assert parse_config(raw).fingerprint("other", None) != base
    Path(raw["data"]["train"][0]).write_text(json.dumps({"changed": True}))
    assert parse_config(raw).fingerprint("w", None) != base
