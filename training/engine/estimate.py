"""What a run will roughly take, before it starts."""

import time
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Share of the speed of one large matrix product that a whole training step reaches.
_EFFICIENCY = 0.4
_SIZE = 384


def estimate(model: "PreTrainedModel", tokens: int, tokens_per_batch: int, vocabulary: int) -> dict[str, Any]:
    """Rough seconds and bytes of training on `tokens` tokens.

    Time: 4 operations per parameter and token (forward, and backward to the inputs) and 2 more for those that learn,
    over the measured speed of a matrix product × 0.4. Memory: 4 bytes per parameter and 12 more for those that learn
    (gradient, two moments), plus about 18 hidden-size floats per layer and token of a batch, plus logits.
    """
    parameters = sum(parameter.numel() for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    config = model.config
    layers, width = config.num_hidden_layers, config.hidden_size
    activations = tokens_per_batch * (18 * layers * width + vocabulary) * 4
    speed = matmul_speed(model.device)
    return {
        "parameters": parameters,
        "trained": trained,
        "seconds": (4.0 * parameters + 2.0 * trained) * tokens / (speed * _EFFICIENCY),
        "memory_bytes": 4 * parameters + 12 * trained + activations,
    }


def matmul_speed(device: torch.device) -> float:
    """Operations per second of a matrix product on the device: the best of three, a few milliseconds in all."""
    left = torch.ones(_SIZE, _SIZE, device=device)
    best = float("inf")
    for _ in range(4):
        begin = time.perf_counter()
        product = left @ left
        product[0, 0].item()  # waits for the device
        best = min(best, time.perf_counter() - begin)
    return 2.0 * _SIZE**3 / best
