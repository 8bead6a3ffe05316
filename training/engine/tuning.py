"""Which weights of a model learn: all of them, half of them, or low-rank adapters beside them.

    full    every weight
    half    half of each layer's weights, the others stay as they were (HFT, arXiv:2404.18466)
    lora    W + (alpha / rank) B A with W fixed (arXiv:2106.09685), on every linear layer but the head
    dora    as lora, with the length of each column of W learned apart from its direction (arXiv:2402.09353)
    qlora   lora over weights kept in 4 bits (arXiv:2305.14314); on CUDA only

A reward model's head always learns. With adapters the base model is the reference: `without_adapters` shows it.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from training.engine.config import Tuning
from training.engine.errors import RunError
from training.engine.files import replace_json

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

ADAPTERS: frozenset[Tuning] = frozenset({"lora", "dora", "qlora"})
_IN_LAYER = re.compile(r"\.(\d+)\.(.+)$")


def choose_weights(
    model: "PreTrainedModel", tuning: Tuning, *, seed: int, rank: int = 16, alpha: float = 32.0
) -> "PeftModel | None":
    """Leave only what `tuning` says to learn; adapters are put into the model itself, and returned with it.

    What is drawn (the frozen half, the adapters' start) follows from `seed`. Raises RunError without peft.
    """
    torch.manual_seed(seed)
    if tuning == "half":
        freeze_half(model, seed)
    return _add_adapters(model, tuning, rank, alpha) if tuning in ADAPTERS else None


def freeze_half(model: nn.Module, seed: int) -> None:
    """Freeze half of the weights of each layer and kind: matrices by their block (attention, feed-forward), and what
    has one dimension (norms, biases). Of an odd number, the odd one is frozen in every other layer. What belongs to no
    layer learns: embeddings, the last norm, the head.
    """
    kinds: dict[tuple[int, str], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if found := _IN_LAYER.search(name):
            kind = found[2].split(".")[0] if parameter.ndim >= 2 else "vectors"
            kinds.setdefault((int(found[1]), kind), []).append(parameter)
    generator = np.random.default_rng([seed, 3])
    for (layer, _kind), members in sorted(kinds.items(), key=lambda item: item[0]):
        for index in generator.permutation(len(members))[: (len(members) + layer % 2) // 2]:
            members[index].requires_grad_(False)


def _add_adapters(model: "PreTrainedModel", tuning: Tuning, rank: int, alpha: float) -> "PeftModel":
    try:
        from peft import LoraConfig, TaskType, get_peft_model, prepare_model_for_kbit_training
    except ImportError:
        raise RunError("Adapters need the package peft, which this worker lacks; choose tuning full.") from None
    from transformers.pytorch_utils import Conv1D

    scores = getattr(model, "score", None) is not None
    settings = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        lora_dropout=0.0,
        target_modules="all-linear",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
        modules_to_save=["score"] if scores else None,
        use_dora=tuning == "dora",
        task_type=TaskType.SEQ_CLS if scores else TaskType.CAUSAL_LM,
    )
    if tuning == "qlora":
        model = prepare_model_for_kbit_training(  # type: ignore[no-untyped-call]
            model, use_gradient_checkpointing=False
        )
    adapted: PeftModel = get_peft_model(model, settings)  # type: ignore[assignment]
    adapted.eval()
    return adapted


@contextmanager
def without_adapters(adapted: "PeftModel | None") -> Iterator[None]:
    """The base model, for as long as this lasts."""
    if adapted is None:
        yield
        return
    with adapted.disable_adapter():
        yield


def quantisation(tuning: Tuning, device: torch.device) -> dict[str, Any]:
    """How a model is loaded for `tuning`: more arguments for `from_pretrained`.

    Raises RunError where 4 bits are asked for without CUDA or without bitsandbytes.
    """
    if tuning != "qlora":
        return {}
    if device.type != "cuda":
        raise RunError("QLoRA keeps weights in 4 bits, which needs a CUDA device; choose lora.")
    from importlib.util import find_spec

    if find_spec("bitsandbytes") is None:
        raise RunError("QLoRA needs the package bitsandbytes, which this worker lacks; choose lora.")
    from transformers import BitsAndBytesConfig

    four_bits = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    return {"quantization_config": four_bits, "device_map": {"": device}}


def save_adapters(adapted: "PeftModel", folder: Path) -> None:
    """Write the adapters, a reward head among them, as peft reads them beside the base model."""
    adapted.save_pretrained(str(folder), safe_serialization=True, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # an empty form; the model's own card is beside it
    settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    settings["base_model_name_or_path"] = None  # a place on this machine
    replace_json(folder / "adapter_config.json", settings)


def merged(adapted: "PeftModel") -> "PreTrainedModel":
    """The model with its adapters worked into its weights, as any `from_pretrained` loads it."""
    whole: PreTrainedModel = adapted.merge_and_unload()  # type: ignore[operator]
    return whole


def merged_into(base: "PreTrainedModel", folder: Path) -> "PreTrainedModel":
    """A base model with the adapters of a folder worked into its weights."""
    from peft import PeftModel

    return merged(PeftModel.from_pretrained(base, str(folder)))
