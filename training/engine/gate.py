"""The gate of a reward model of several attributes: how much each counts, by the prompt."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from training.engine.errors import RunError
from training.objectives.attributes import gated

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_PREFIX = "gate."


class Gate(nn.Module):
    """Rewards from attribute scores: a two-layer network turns the state at the prompt's end into weights that sum to 1
    (ArmoRM, arXiv:2406.12845, section 2.2). Untaught it weighs all attributes alike."""

    def __init__(self, hidden: int, attributes: int, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(hidden, width)
        self.outer = nn.Linear(width, attributes)
        self.scale = nn.Parameter(torch.ones(()))
        self.verbosity = nn.Parameter(torch.zeros(attributes))
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)
        self.requires_grad_(False)  # taught by itself, when the attributes are known

    def weights(self, asked: Tensor) -> Tensor:
        """Weights [R, A] of the attributes from the prompts' states [R, d]."""
        answer: Tensor = self.outer(torch.relu(self.inner(asked.float()))).softmax(dim=1)
        return answer

    def forward(self, asked: Tensor, scores: Tensor, lengths: Tensor) -> Tensor:
        """Rewards [R] from the prompts' states [R, d], attribute scores [R, A] and completions' tokens [R]."""
        return self.scale * gated(scores, self.weights(asked), self.verbosity, lengths)


def attach(model: "PreTrainedModel", attributes: list[str], width: int, seed: int) -> Gate:
    """Give a reward model with a score for each attribute a new gate, and say so in its configuration."""
    torch.manual_seed(seed)
    model.gate = Gate(model.config.hidden_size, len(attributes), width).to(model.device)
    model.config.gate = {"attributes": attributes, "width": width}
    return model.gate


def detach(model: "PreTrainedModel") -> None:
    """Take a gate off: the model will be something else."""
    if getattr(model, "gate", None) is not None:
        del model.gate
    model.config.gate = None


def restore(model: "PreTrainedModel", folder: Path, said: dict[str, Any]) -> None:
    """Give a model back the gate that its folder's configuration tells of. Raises RunError where it is not whole."""
    from safetensors import safe_open

    gate = attach(model, [str(name) for name in said["attributes"]], int(said["width"]), 0)
    found: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as stored:  # type: ignore[no-untyped-call]
            names = [name for name in stored.keys() if name.startswith(_PREFIX)]  # noqa: SIM118 - it is no dict
            found |= {name.removeprefix(_PREFIX): stored.get_tensor(name) for name in names}
    try:
        gate.load_state_dict(found)
    except RuntimeError as error:
        raise RunError("The gate of this reward model is not whole; its folder is damaged.") from error
    gate.to(model.device)
