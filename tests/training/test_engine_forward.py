from pathlib import Path
from typing import Any

import pytest
import torch

from feedback.model_folder import ARCHITECTURES as SUPPORTED
from tests.training.tiny_models import ARCHITECTURES, make_config, random_groups, save_tiny
from training.engine import loading
from training.engine.attention import NAME
from training.engine.forward import run_model
from training.engine.pack import Path as AttentionPath
from training.engine.pack import make_batch
from training.engine.tokens import TokenGroup

CPU = torch.device("cpu")


def folder(tmp_path: Path, model_type: str, **changes: Any) -> Path:
    return save_tiny(tmp_path / model_type, model_type, scale=4.0, **changes)


def load(path: Path, head: loading.Head, how: AttentionPath) -> Any:
    return loading.load_model(path, head, packed=how != "padded", device=CPU)


def plain_logps(path: Path, groups: list[TokenGroup]) -> list[float]:
    """By the book: one sequence at a time, the model's own forward, log-softmax over everything."""
    model = load(path, "policy", "padded")
    answers = []
    for group in groups:
        for completion in group.completions:
            ids = torch.tensor([[*group.prompt, *completion]])
            with torch.no_grad():
                logps = model(input_ids=ids).logits[0].log_softmax(-1)
            steps = range(len(group.prompt) - 1, ids.shape[1] - 1)
            answers.append(sum(float(logps[step, ids[0, step + 1]]) for step in steps))
    return answers


def test_every_supported_architecture_is_tested() -> None:
    assert set(ARCHITECTURES) == SUPPORTED


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_packed_padded_and_the_models_own_forward_agree(tmp_path: Path, model_type: str) -> None:
    path, groups = folder(tmp_path, model_type), random_groups(5)
    assert loading.can_pack(path, 64)
    expected = torch.tensor(plain_logps(path, groups))
    for how in ("segments", "dense", "varlen", "padded"):
        with torch.no_grad():
            logps = run_model(load(path, "policy", how), make_batch(groups, how, CPU)).logps
        assert logps is not None
        torch.testing.assert_close(logps, expected, atol=2e-4, rtol=1e-5)


@pytest.mark.parametrize("model_type", ARCHITECTURES)
def test_scores_are_those_of_a_plain_sequence_classification_forward(tmp_path: Path, model_type: str) -> None:
    path, groups = folder(tmp_path, model_type), random_groups(4)
    rows = [[*group.prompt, *completion] for group in groups for completion in group.completions]
    width = max(map(len, rows))
    reward = load(path, "reward", "segments")
    reward.config.pad_token_id = 0
    reward.save_pretrained(str(tmp_path / "reward"))
    with torch.no_grad():
        packed = run_model(reward, make_batch(groups, "segments", CPU)).scores
        from transformers import AutoModelForSequenceClassification

        plain = AutoModelForSequenceClassification.from_pretrained(str(tmp_path / "reward")).eval()
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        expected = plain(input_ids=ids, attention_mask=mask).logits
    assert packed is not None
    torch.testing.assert_close(packed, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "qwen3"])
def test_gradients_of_the_packed_and_the_padded_path_agree(tmp_path: Path, model_type: str) -> None:
    path, groups = folder(tmp_path, model_type), random_groups(5)
    gradients = []
    for how in ("segments", "padded"):
        model = load(path, "policy", how)
        logps = run_model(model, make_batch(groups, how, CPU)).logps
        assert logps is not None
        (logps * torch.linspace(-1, 1, 10)).sum().backward()  # type: ignore[no-untyped-call]
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=2e-3, rtol=1e-3, msg=name)


def test_a_short_sliding_window_takes_the_padded_path(tmp_path: Path) -> None:
    path = folder(tmp_path, "mistral", sliding_window=6)
    assert not loading.can_pack(path, 7)
    assert loading.can_pack(path, 6)
    groups = random_groups(4)
    with torch.no_grad():
        logps = run_model(load(path, "policy", "padded"), make_batch(groups, "padded", CPU)).logps
    assert logps is not None
    torch.testing.assert_close(logps, torch.tensor(plain_logps(path, groups)), atol=2e-4, rtol=1e-5)


def test_what_is_in_the_padding_does_not_matter(tmp_path: Path) -> None:
    model = load(folder(tmp_path, "llama"), "policy", "padded")
    groups = random_groups(4)
    with torch.no_grad():
        first, second = (run_model(model, make_batch(groups, "padded", CPU, pad=pad)).logps for pad in (0, 1))
    assert first is not None
    assert second is not None
    torch.testing.assert_close(first, second, atol=0, rtol=0)


def test_the_packed_forward_is_the_same_alone_and_in_company(tmp_path: Path) -> None:
    model = load(folder(tmp_path, "llama"), "policy", "segments")
    assert model.config._attn_implementation == NAME
    groups = random_groups(6)
    with torch.no_grad():
        together = run_model(model, make_batch(groups, "segments", CPU)).logps
        alone = [run_model(model, make_batch([group], "segments", CPU)).logps for group in groups]
    assert together is not None
    torch.testing.assert_close(torch.cat([one for one in alone if one is not None]), together, atol=1e-4, rtol=1e-5)


def test_configs_of_tiny_models_are_what_the_names_say() -> None:
    assert all(make_config(name).model_type == name for name in ARCHITECTURES)


@pytest.mark.parametrize("how", ["segments", "dense", "varlen", "padded"])
def test_bf16_is_near_fp32_with_every_attention(tmp_path: Path, how: AttentionPath) -> None:
    model = load(folder(tmp_path, "llama"), "policy", how)
    batch = make_batch(random_groups(4), how, CPU)
    with torch.no_grad():
        exact, near = (run_model(model, batch, precision).logps for precision in ("fp32", "bf16"))
    assert exact is not None
    assert near is not None
    torch.testing.assert_close(near / batch.scored, exact / batch.scored, atol=5e-2, rtol=1e-2)
