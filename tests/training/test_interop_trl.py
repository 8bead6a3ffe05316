"""What is trained here goes on in TRL, and what TRL trained goes on here."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.test_run_process import _own_signals, prepare, result  # noqa: F401
from tests.training.tiny_models import save_tiny
from training import run as training_run

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def trained_by_trl(kind: str, model: Path, rows: Path, out: Path) -> Path:
    """One step of TRL's own trainer from a model folder and a file of rows; the folder that it saves."""
    import trl
    from datasets import load_dataset

    config, trainer = {
        "dpo": (trl.DPOConfig, trl.DPOTrainer),
        "bt": (trl.RewardConfig, trl.RewardTrainer),
    }[kind]
    plain: dict[str, Any] = {"max_steps": 1, "per_device_train_batch_size": 4, "report_to": "none", "use_cpu": True}
    settings = config(output_dir=str(out), bf16=False, save_strategy="no", **plain)
    data = load_dataset("json", data_files=str(rows), split="train", cache_dir=str(out / "cache"))
    columns = [name for name in data.column_names if name not in ("prompt", "chosen", "rejected")]
    made = trainer(model=str(model), args=settings, train_dataset=data.remove_columns(columns))
    made.train()
    made.save_model(str(out / "model"))
    return out / "model"


@pytest.mark.parametrize("kind", ["dpo", "bt"])
def test_trl_goes_on_from_our_model_and_rows_and_we_from_its_model(tmp_path: Path, kind: str) -> None:
    (tmp_path / "ours").mkdir()
    ours = prepare(tmp_path / "ours", kind, train=16, max_steps=2)
    assert training_run.execute(ours) == 0
    theirs = trained_by_trl(kind, ours / "model", ours / "train.jsonl", tmp_path / "trl")
    assert (theirs / "training_args.bin").exists()  # a pickle that we leave alone
    (tmp_path / "again").mkdir()
    again = prepare(tmp_path / "again", kind, train=16, max_steps=1, base_model=str(theirs))
    assert training_run.execute(again) == 0, result(again)["error"]
    assert result(again)["evaluation"]["test"]["pairs"] == 12


def test_an_adapter_of_ours_goes_on_in_trl(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    (tmp_path / "ours").mkdir()
    base = save_tiny(tmp_path / "base")
    ours = prepare(tmp_path / "ours", "dpo", train=16, max_steps=2, tuning="lora", base_model=str(base))
    assert training_run.execute(ours) == 0
    model = AutoModelForCausalLM.from_pretrained(str(base))
    adapted = PeftModel.from_pretrained(model, str(ours / "model" / "adapter"), is_trainable=True)
    assert json.loads((ours / "model" / "adapter" / "adapter_config.json").read_text())["peft_type"] == "LORA"
    assert any(parameter.requires_grad for parameter in adapted.parameters())
