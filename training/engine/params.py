"""What is optimised, how fast, and the optimizer's state as plain tensors."""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

Schedule = Literal["cosine", "linear", "constant"]


def make_optimizer(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW over the parameters that learn; biases and norms (fewer than two dimensions) do not decay."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.999), eps=1e-8, fused=True)


def rate_at(step: int, *, peak: float, warmup: int, total: int, schedule: Schedule) -> float:
    """Learning rate of update number `step` (from 0) of `total`.

    Rises linearly to `peak` over `warmup` updates, the first of which already moves; then stays, falls linearly, or
    falls as half a cosine, towards 0 after the last update.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    if schedule == "linear":
        return peak * (1 - progress)
    if schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * progress))
    return peak


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state as named tensors (`<parameter number>.<name>`)."""
    state = optimizer.state_dict()["state"]
    return {f"{number}.{name}": value for number, values in state.items() for name, value in values.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Undo `optimizer_tensors`."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def weights(model: nn.Module) -> dict[str, Tensor]:
    """The parameters that learn, by name, shared ones once."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def restore_weights(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy saved parameters into the model. Raises ValueError where the names are not the model's."""
    own = weights(model)
    if own.keys() != tensors.keys():
        raise ValueError("The saved weights are of another model.")
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(tensors[name])
