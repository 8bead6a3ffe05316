from pathlib import Path

import pytest
import torch

from tests.training.tiny_models import random_groups, save_tiny
from training.engine import loading
from training.engine.reference import (
    ReferenceCache,
    compute_values,
    group_keys,
    load_values,
    sequence_key,
    store_values,
)

CPU = torch.device("cpu")


def test_the_key_follows_weights_precision_tokens_and_boundary() -> None:
    keys = {
        sequence_key("w", "fp32", [1, 2], [3]),
        sequence_key("v", "fp32", [1, 2], [3]),
        sequence_key("w", "bf16", [1, 2], [3]),
        sequence_key("w", "fp32", [1], [2, 3]),
        sequence_key("w", "fp32", [1, 2], [4]),
    }
    assert len(keys) == 5
    assert sequence_key("w", "fp32", [1, 2], [3]) in keys


def test_values_come_back_bit_by_bit(tmp_path: Path) -> None:
    values = {bytes([number]) * 32: torch.tensor(-0.1 * number).item() for number in range(5)}
    store_values(tmp_path / "v.safetensors", values)
    assert load_values(tmp_path / "v.safetensors") == values
    assert [path.name for path in tmp_path.iterdir()] == ["v.safetensors"]


@pytest.mark.parametrize("cut", [0, 5, 60, 150])
def test_a_torn_store_is_as_good_as_none(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "v.safetensors"
    store_values(path, {b"a" * 32: 1.0})
    path.write_bytes(path.read_bytes()[:cut])
    assert load_values(path) == {}


def test_the_cache_is_shared_by_model_and_split_by_weights(tmp_path: Path) -> None:
    first = ReferenceCache(tmp_path, "w" * 64)
    first.add({b"a" * 32: 1.0})
    first.add({b"b" * 32: 2.0})
    first.add({})
    assert ReferenceCache(tmp_path, "w" * 64).load() == {b"a" * 32: 1.0, b"b" * 32: 2.0}
    assert ReferenceCache(tmp_path, "v" * 64).load() == {}


def test_computed_values_do_not_depend_on_the_batches(tmp_path: Path) -> None:
    model = loading.load_model(save_tiny(tmp_path / "m", scale=3.0), "policy", packed=True, device=CPU)
    groups = random_groups(8)
    keys = group_keys(groups, "w", "fp32")
    heard: list[int] = []
    small, large = (
        compute_values(model, groups, keys, path="segments", budget=b, precision="fp32", after_batch=heard.append)
        for b in (40, 4000)
    )
    assert small.keys() == large.keys() == {key for group in keys for key in group}
    assert all(small[key] == pytest.approx(large[key], abs=1e-4) for key in small)
    assert heard[-1] == 8
