"""One GPU, a model of half a billion parameters in bf16, at least 16k tokens in a step."""

from pathlib import Path
from typing import Any

import torch

from bench.learn import data, measure, models, sides
from bench.learn.models import Shape
from bench.learn.sides import Bout

PAIRS = 32
# dense bf16 of the data sheets, operations per second
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}


def bench(folder: Path, device: torch.device, rounds: int, shape: Shape = models.HALF_BILLION) -> None:
    """`gpu_dpo_ratio_default`, `gpu_dpo_ratio_tuned` and `gpu_mfu`."""
    rows = data.hh_shaped(8 * PAIRS)
    models.make_model(folder, shape, rows)
    pairs = data.pairs(rows)
    common: dict[str, Any] = {"per_device_train_batch_size": PAIRS, "bf16": True}
    default = sides.dpo(folder, pairs, device, precision="bf16", **common, gradient_checkpointing=True)
    measure.ratio("gpu_dpo_ratio_default", 2.0, default, rounds, device, trl="its defaults")
    del default
    tuned = sides.dpo(folder, pairs, device, precision="bf16", best_peer=True, **common)
    kept = "stored reference, grouped by length, no checkpointing"
    measured = measure.ratio("gpu_dpo_ratio_tuned", 1.4, tuned, rounds, device, trl=kept)
    per_step = measured["seconds_per_pair"]["ours"] * tuned.pairs
    peak = peak_speed(device)
    mfu = step_operations(tuned, shape) / (per_step * peak)
    measure.report("gpu_mfu", round(mfu, 3), "share", 0.40, mfu >= 0.40, peak=peak, **tuned.tokens)


def step_operations(bout: Bout, shape: Shape) -> float:
    """Operations of our forward and backward of a batch: 6 per weight and token, and attention's own.

    The head counts for scored tokens only, attention for the pairs of positions that see each other.
    """
    kv = shape.hidden * shape.kv_heads // shape.heads
    weights = shape.layers * (2 * shape.hidden**2 + 2 * shape.hidden * kv + 3 * shape.hidden * shape.inner)
    total = 0.0
    for members in bout.groups:
        for group in members:
            shared = group.shared
            parts = [len(group.prompt) + len(completion) - shared for completion in group.completions]
            seen = shared**2 / 2 + sum(part * (shared + part / 2) for part in parts)
            scored = sum(parts) + shared - len(group.prompt)
            total += 6 * weights * group.packed_tokens + 6 * shape.vocabulary * shape.hidden * scored
            total += 12 * shape.layers * shape.hidden * seen
    return total / len(bout.groups)


def peak_speed(device: torch.device) -> float:
    """The data sheet's bf16 speed. Raises LookupError for a device that is not listed."""
    name = torch.cuda.get_device_name(device)
    found = [speed for part, speed in PEAKS.items() if part in name]
    if not found:
        raise LookupError(f"The bf16 speed of {name} is not listed in bench/learn/gpu.py; add it.")
    return found[0]
