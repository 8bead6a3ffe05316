import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.test_run_process import ROOT, _own_signals, curve, prepare, result  # noqa: F401
from tests.training.tiny_models import random_groups, save_tiny
from training import run as training_run
from training.engine import loading, params
from training.engine.batches import Plan, ease
from training.engine.errors import RunError
from training.engine.forward import run_model
from training.engine.pack import make_batch
from training.engine.records import Preference
from training.engine.tokens import TokenGroup
from training.engine.tuning import Tuning, choose_weights, quantisation, without_adapters

CPU = torch.device("cpu")
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "opt"])
@pytest.mark.parametrize("tuning", ["lora", "dora"])
def test_adapters_begin_at_the_base_model_and_leave_it_to_be_seen(
    tmp_path: Path, model_type: str, tuning: Tuning
) -> None:
    model = loading.load_model(save_tiny(tmp_path / "m", model_type, scale=2.0), "policy", packed=True, device=CPU)
    batch = make_batch(random_groups(3), "segments", CPU)

    def logps() -> torch.Tensor:
        with torch.no_grad():
            found = run_model(model, batch).logps
        assert found is not None
        return found

    before = logps()
    adapted = choose_weights(model, tuning, seed=1, rank=4)
    torch.testing.assert_close(logps(), before, atol=1e-4, rtol=1e-5)
    learning = params.weights(model)
    assert learning
    assert all("lora" in name for name in learning)
    with torch.no_grad():
        for parameter in learning.values():
            parameter.add_(0.1)
    assert not torch.allclose(logps(), before, atol=1e-2)
    with without_adapters(adapted):
        assert torch.equal(logps(), before)


def test_half_of_each_layers_weights_are_frozen_by_the_seed(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "m", num_hidden_layers=4)

    def frozen(seed: int) -> set[str]:
        model = loading.load_model(folder, "reward", packed=True, device=CPU)
        choose_weights(model, "half", seed=seed)
        return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}

    chosen = frozen(0)
    assert chosen == frozen(0) != frozen(1)
    assert all(".layers." in name for name in chosen)  # embeddings, last norm and head learn
    for layer in range(4):
        mine = [name for name in chosen if f".layers.{layer}." in name]
        assert sum("self_attn" in name for name in mine) == 2
        assert sum("mlp" in name for name in mine) == 1 + layer % 2
        assert sum("norm" in name for name in mine) == 1


def test_the_frozen_half_ends_as_it_began(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = prepare(tmp_path, "dpo", tuning="half", max_steps=3)
    assert training_run.execute(folder) == 0
    before, after = (load_file(path / "model.safetensors") for path in (folder / "base", folder / "model"))
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert len(same) == 4 + 5  # of two layers: two of attention, one or two of the feed-forward, one norm
    estimate = json.loads((folder / "preflight.json").read_text())["estimate"]
    assert 0 < estimate["trained"] < estimate["parameters"]


def test_a_policys_adapters_begin_at_the_reference_which_is_the_base(tmp_path: Path) -> None:
    folder = prepare(tmp_path, "dpo", tuning="lora", lora_rank=4, max_steps=2)
    assert training_run.execute(folder) == 0
    assert curve(folder)[0][1] == pytest.approx(0.693147, abs=1e-5)
    assert {"model/model.safetensors", "model/adapter/adapter_model.safetensors"} <= {
        entry["path"] for entry in result(folder)["files"]
    }
    assert str(tmp_path) not in (folder / "model" / "adapter" / "adapter_config.json").read_text()


def test_a_run_with_adapters_resumes_to_the_same_bits(tmp_path: Path) -> None:
    ends = []
    base = str(save_tiny(tmp_path / "base"))
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
        changes = {"tuning": "lora", "checkpoint_every": 2, "max_steps": 5, "base_model": base}
        folder = prepare(tmp_path / name, "bt", **changes)
        assert training_run.execute(folder) == 0
        if name == "stopped":  # as if it had been killed after its second step
            (folder / "result.json").unlink()
            for late in sorted((folder / "checkpoints").iterdir())[1:]:
                late.rename(folder / f"lost-{late.name}")
            assert training_run.execute(folder) == 0
        ends.append((folder / "model" / "model.safetensors").read_bytes())
    assert ends[0] == ends[1]


RELOAD = """
import json, sys, torch
from pathlib import Path
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer
folder = Path(sys.argv[1])
rows = [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()]
tokenizer = AutoTokenizer.from_pretrained(str(folder / "model"))
texts = [tokenizer.apply_chat_template(row["prompt"] + row["chosen"], tokenize=False) for row in rows]
batch = tokenizer(texts, padding=True, add_special_tokens=False, return_tensors="pt")
load = AutoModelForSequenceClassification.from_pretrained
whole = load(str(folder / "model")).eval()
base = load(str(folder / "base"), num_labels=1)
base.config.pad_token_id = tokenizer.pad_token_id
adapted = PeftModel.from_pretrained(base, str(folder / "model" / "adapter")).eval()
with torch.no_grad():
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    print(json.dumps([one(**inputs).logits[:, 0].tolist() for one in (whole, adapted)]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("tuning", ["lora", "dora"])
def test_a_reward_head_trained_with_adapters_scores_equally_in_a_fresh_process(tmp_path: Path, tuning: str) -> None:
    folder = prepare(tmp_path, "bt", tuning=tuning, learning_rate=1e-2, max_steps=5)
    assert training_run.execute(folder) == 0
    command = [sys.executable, "-W", "ignore", "-c", RELOAD, str(folder)]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    scores = [json.loads(line)["score_chosen"] for line in (folder / "scores.jsonl").read_text().splitlines()]
    assert max(scores) - min(scores) > 1e-3
    for found in json.loads(printed.splitlines()[-1]):
        assert found == pytest.approx(scores, abs=1e-4)


def test_four_bits_without_cuda_are_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="needs a CUDA device; choose lora"):
        quantisation("qlora", CPU)
    folder = prepare(tmp_path, tuning="qlora")
    assert training_run.execute(folder) == 1
    assert "needs a CUDA device" in result(folder)["error"]


def test_a_folder_of_adapters_is_no_model(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "m")
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/somewhere/else"}))
    with pytest.raises(RunError, match="holds adapters and no whole model"):
        loading.load_model(folder, "policy", packed=True, device=CPU)


def group(number: int, **edge: Any) -> TokenGroup:
    return TokenGroup(str(number), str(number), "", (5, 6), ((7,), (8,)), (Preference(0, 1, **edge),))


def test_easy_first_goes_from_wide_and_sure_to_narrow_and_unsure() -> None:
    groups = [group(n, gap=gap, probability=p) for n, (gap, p) in enumerate([(1, 1), (2, 1), (2, 0.5), (2, 0.8)])]
    assert [ease(one) for one in groups] == pytest.approx([1, 2, 0, 1.2])
    plan = Plan(groups, 5, 1, seed=0, padded=False, order="easy-first")
    assert [step[0][0] for step in plan.epoch(0)] == [1, 3, 0, 2]


def test_equally_easy_rows_stay_as_drawn() -> None:
    groups = [group(n, gap=2.0 if n < 6 else 1.0) for n in range(12)]
    easy = Plan(groups, 5, 1, seed=0, padded=False, order="easy-first")
    orders = [[step[0][0] for step in easy.epoch(number)] for number in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert all(set(order[:6]) == set(range(6)) for order in orders)


def test_an_order_that_the_data_cannot_give_is_refused() -> None:
    with pytest.raises(RunError, match="do not say how far apart"):
        Plan([group(0), group(1)], 100, 1, seed=0, padded=False, order="easy-first")
