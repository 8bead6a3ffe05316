import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.tiny_models import make_tokenizer, save_tiny
from training.engine import loading
from training.engine.errors import RunError

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return save_tiny(tmp_path / "model")


def change_config(folder: Path, name: str = "config.json", **changes: Any) -> None:
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


class Canary:
    """A pickle that writes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.pt", "optimizer.pt", "rng_state.pth", "x.pkl", "sub/model.bin", "modeling.py"]
)
def test_a_folder_with_a_file_that_could_run_code_is_refused_untouched(folder: Path, tmp_path: Path, name: str) -> None:
    canary = tmp_path / "canary"
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(pickle.dumps(Canary(canary)))
    with pytest.raises(RunError, match="only safetensors and JSON are loaded"):
        loading.load_model(folder, "policy", packed=True, device=CPU)
    assert not canary.exists()


def test_what_a_trainer_leaves_beside_its_model_is_never_opened(folder: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (folder / "training_args.bin").write_bytes(pickle.dumps(Canary(canary)))
    loading.load_model(folder, "policy", packed=True, device=CPU)
    loading.load_tokenizer(folder)
    assert not canary.exists()


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "generation_config.json"])
def test_a_folder_that_asks_for_its_own_code_is_refused(folder: Path, name: str) -> None:
    change_config(folder, name, nested={"auto_map": {"AutoModel": "modeling.Evil"}})
    with pytest.raises(RunError, match="auto_map"):
        loading.check_folder(folder)


def test_other_refusals_say_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="There is no model folder"):
        loading.check_folder(tmp_path / "nothing")
    with pytest.raises(RunError, match=r"There is no model folder someone/model"):
        loading.check_folder(Path("someone/model"))
    (folder / "model.safetensors").rename(folder / "weights")
    with pytest.raises(RunError, match="no safetensors weights"):
        loading.check_folder(folder)
    change_config(folder, model_type="bert")
    with pytest.raises(RunError, match="'bert' is not supported"):
        loading.check_folder(folder)
    (folder / "config.json").write_text("[" * 100_000)
    with pytest.raises(RunError, match="not valid JSON"):
        loading.check_folder(folder)


def test_quantised_weights_are_refused_before_anything_is_loaded(folder: Path) -> None:
    change_config(folder, quantization_config={"quant_method": "someones_own"})
    with pytest.raises(RunError, match="stored quantised"):
        loading.load_model(folder, "policy", packed=True, device=CPU)


def test_torn_weights_are_a_sentence(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(RunError, match="cannot be loaded"):
        loading.load_model(folder, "policy", packed=True, device=CPU)


def test_missing_weights_are_not_made_up(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RunError, match=r"lacks weights .* such as model\.layers\.1\.mlp\.up_proj"):
        loading.load_model(folder, "policy", packed=True, device=CPU)


def test_a_reward_model_is_no_policy(folder: Path) -> None:
    change_config(folder, architectures=["LlamaForSequenceClassification"])
    with pytest.raises(RunError, match="gives scores and writes no text"):
        loading.load_model(folder, "policy", packed=True, device=CPU)


def test_the_score_head_is_drawn_from_the_seed(folder: Path) -> None:
    models: list[Any] = [loading.load_model(folder, "reward", packed=True, device=CPU, seed=seed) for seed in (1, 1, 2)]
    heads = [model.score.weight for model in models]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_a_pad_token_that_ends_sequences_is_replaced(folder: Path) -> None:
    model = loading.load_model(folder, "reward", packed=True, device=CPU)
    tokenizer = make_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    before = len(tokenizer)
    loading.ensure_pad(model, tokenizer, {tokenizer.eos_token_id})
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert model.config.pad_token_id == tokenizer.pad_token_id
    assert model.config.vocab_size == len(tokenizer)
    assert len(tokenizer) - before in (0, 1)


def test_a_new_pad_token_gets_an_embedding(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "_PAD", "<|a pad that the vocabulary lacks|>")
    model: Any = loading.load_model(folder, "reward", packed=True, device=CPU)
    tokenizer = make_tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    before = len(tokenizer)
    loading.ensure_pad(model, tokenizer, set())
    assert tokenizer.pad_token_id == before
    assert model.get_input_embeddings().weight.shape[0] == before + 1


def test_the_weights_hash_follows_the_weights(folder: Path, tmp_path: Path) -> None:
    other = save_tiny(tmp_path / "other", seed=1)
    assert loading.weights_hash(folder) == loading.weights_hash(save_tiny(tmp_path / "again"))
    assert loading.weights_hash(folder) != loading.weights_hash(other)
