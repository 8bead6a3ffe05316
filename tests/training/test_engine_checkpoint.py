from pathlib import Path

import pytest
import torch

from training.engine import checkpoint as checkpoints
from training.engine import params
from training.engine.checkpoint import Checkpoint


def at(step: int) -> Checkpoint:
    tensors = {"a": torch.full((3, 2), float(step)), "b": torch.arange(4)}
    return Checkpoint(step, {"weights": tensors, "rng": {"cpu": torch.get_rng_state()}}, {"tokens": step * 10})


def test_the_newest_two_are_kept_and_the_newest_is_loaded(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        checkpoints.save(tmp_path, at(step), "f")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000010", "step-000015"]
    loaded = checkpoints.find_latest(tmp_path, "f").checkpoint
    assert loaded is not None
    assert (loaded.step, loaded.state["tokens"]) == (15, 150)
    assert torch.equal(loaded.parts["weights"]["a"], at(15).parts["weights"]["a"])


def test_a_torn_checkpoint_is_never_loaded_wherever_it_is_torn(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, at(1), "f")
    newest = checkpoints.save(tmp_path, at(2), "f")
    tried = 0
    for path in sorted(newest.iterdir()):
        whole = path.read_bytes()
        for cut in {len(whole) * part // 14 for part in range(14)}:
            path.write_bytes(whole[:cut])
            found = checkpoints.find_latest(tmp_path, "f")
            assert found.checkpoint is not None
            assert found.checkpoint.step == 1
            assert found.refused[0].startswith("Checkpoint step-000002 is not used: ")
            tried += 1
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # one flipped bit
        found = checkpoints.find_latest(tmp_path, "f")
        assert found.checkpoint is not None
        assert found.checkpoint.step == 1 or path.name == "manifest.json"
        path.write_bytes(whole)
    assert tried >= 50
    assert checkpoints.find_latest(tmp_path, "f").refused == []


def test_a_missing_or_an_extra_file_makes_a_checkpoint_unfit(tmp_path: Path) -> None:
    newest = checkpoints.save(tmp_path, at(2), "f")
    (newest / "optimizer.pt").write_bytes(b"pickle")
    assert checkpoints.find_latest(tmp_path, "f").checkpoint is None
    (newest / "optimizer.pt").unlink()
    (newest / "rng.safetensors").unlink()
    assert checkpoints.find_latest(tmp_path, "f").checkpoint is None


def test_a_checkpoint_of_other_settings_is_not_continued(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, at(2), "f")
    found = checkpoints.find_latest(tmp_path, "g")
    assert found.checkpoint is None
    assert "other settings" in found.refused[0]


def test_what_an_interrupted_save_left_is_cleared_and_never_seen(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, at(1), "f")
    leftover = tmp_path / ".step-000002.99.tmp"
    leftover.mkdir()
    (leftover / "weights.safetensors").write_bytes(b"half")
    found = checkpoints.find_latest(tmp_path, "f").checkpoint
    assert found is not None
    assert found.step == 1
    checkpoints.clear_leftovers(tmp_path)
    assert not leftover.exists()


def test_saving_the_same_step_again_replaces_it(tmp_path: Path) -> None:
    checkpoints.save(tmp_path, at(1), "f")
    checkpoints.save(tmp_path, at(1), "g")
    assert checkpoints.find_latest(tmp_path, "g").checkpoint is not None
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]


def test_an_optimizer_goes_on_from_its_tensors_bit_by_bit() -> None:
    def model() -> torch.nn.Linear:
        torch.manual_seed(0)
        return torch.nn.Linear(5, 3)

    def steps(linear: torch.nn.Linear, optimizer: torch.optim.Optimizer, count: int) -> None:
        for _ in range(count):
            linear(torch.ones(2, 5)).pow(2).sum().backward()
            optimizer.step()
            optimizer.zero_grad()

    whole, first, second = model(), model(), model()
    steps(whole, params.make_optimizer(whole, 0.1, 0.01), 6)
    optimizer = params.make_optimizer(first, 0.1, 0.01)
    steps(first, optimizer, 3)
    params.restore_weights(second, params.weights(first))
    resumed = params.make_optimizer(second, 0.1, 0.01)
    params.restore_optimizer(resumed, params.optimizer_tensors(optimizer))
    steps(second, resumed, 3)
    assert torch.equal(second.weight, whole.weight)
    assert torch.equal(second.bias, whole.bias)


def test_weights_of_another_model_are_refused() -> None:
    with pytest.raises(ValueError, match="another model"):
        params.restore_weights(torch.nn.Linear(2, 2), {"w": torch.zeros(2, 2)})


@pytest.mark.parametrize(
    ("step", "linear", "cosine", "constant"),
    [(0, 0.25, 0.25, 0.25), (3, 1.0, 1.0, 1.0), (4, 1.0, 1.0, 1.0), (8, 0.5, 0.5, 1.0), (11, 0.125, 0.0380602, 1.0)],
)
def test_the_learning_rate_rises_and_falls_as_drawn(step: int, linear: float, cosine: float, constant: float) -> None:
    rates = [
        params.rate_at(step, peak=1.0, warmup=4, total=12, schedule=shape) for shape in ("linear", "cosine", "constant")
    ]
    assert rates == pytest.approx([linear, cosine, constant], abs=1e-6)
