"""Models from local folders, and back: safetensors and JSON only, known architectures only, no code from the folder."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported: a folder's content never names a download

import torch

from feedback import model_folder
from training.engine import attention
from training.engine.errors import RunError
from training.engine.files import sha256_file, sha256_json
from training.engine.gate import restore
from training.engine.score_heads import heads_fault, score_heads

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Head = Literal["policy", "reward"]

_PAD = "<|pad|>"


def check_folder(folder: Path) -> dict[str, Any]:
    """The folder's `config.json`, if it is safe to load (:func:`feedback.model_folder.check_folder`), else RunError."""
    try:
        return model_folder.check_folder(folder)
    except model_folder.UnsafeFolder as error:
        raise RunError(str(error)) from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return model_folder.read_json(path)
    except model_folder.UnsafeFolder as error:
        raise RunError(str(error)) from error


def weights_hash(folder: Path) -> str:
    """Hash of a model folder's weights and configuration."""
    files = [folder / "config.json", *sorted(folder.glob("*.safetensors"))]
    return sha256_json([[path.name, sha256_file(path)] for path in files])


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerFast":
    """The folder's fast tokenizer. Raises RunError if it has none that can be loaded."""
    from transformers import PreTrainedTokenizerFast

    if not (folder / "tokenizer.json").is_file():
        raise RunError(f"The model folder {folder} has no tokenizer.json.")
    try:
        # the generic class reads tokenizer.json alone: no tokenizer code is chosen by the folder
        tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast.from_pretrained(str(folder), local_files_only=True)
    except (ValueError, OSError, KeyError, TypeError) as error:
        raise RunError(f"The tokenizer in {folder} cannot be loaded: {error}.") from error
    return tokenizer


def load_model(
    folder: Path,
    head: Head,
    *,
    packed: bool,
    device: torch.device,
    seed: int = 0,
    heads: int = 1,
    how: Mapping[str, Any] | None = None,
) -> "PreTrainedModel":
    """A model in float32, in evaluation mode, on `device`.

    `head` is `policy` (language-model head) or `reward` (`heads` scores; drawn from `seed` where the folder has none).
    Evaluation mode is meant: preferences are learned without dropout, so that a reference and a policy with equal
    weights give equal numbers. `how` are more arguments for transformers (`tuning.quantisation`).
    Raises RunError where the folder is refused or does not fit.
    """
    from safetensors import SafetensorError

    raw = check_folder(folder)
    if head == "policy":
        _check_policy(raw)
    elif fault := heads_fault(score_heads(raw), heads):
        raise RunError(fault)
    attention.register()
    torch.manual_seed(seed)
    try:
        model, found = _class_for(head).from_pretrained(
            str(folder),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation=attention.NAME if packed else "sdpa",
            output_loading_info=True,
            **({"num_labels": heads} if head == "reward" else {}),
            **(how or {}),
        )
    except (ValueError, OSError, RuntimeError, KeyError, SafetensorError) as error:
        raise RunError(f"The model in {folder} cannot be loaded: {error}.") from error
    missing = sorted(set(found["missing_keys"]) - {"score.weight"})
    if missing:
        raise RunError(f"The model in {folder} lacks weights that its configuration names, such as {missing[0]}.")
    if head == "reward" and raw.get("gate"):
        restore(model, folder, raw["gate"])
    loaded: PreTrainedModel = model.eval() if how else model.to(device).eval()
    return loaded


def _class_for(head: Head) -> Any:
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    return AutoModelForCausalLM if head == "policy" else AutoModelForSequenceClassification


def _check_policy(raw: dict[str, Any]) -> None:
    if score_heads(raw):
        raise RunError("This model gives scores and writes no text; choose a language model for this objective.")
    if raw.get("final_logit_softcapping"):
        raise RunError("Models that cap their logits are not supported.")


def can_pack(folder: Path, longest: int) -> bool:
    """Whether packed attention equals the model's own for sequences up to `longest` tokens.

    Not so where a sliding window is shorter than that, or where attention logits are capped.
    """
    raw = _read_json(folder / "config.json")
    if raw.get("attn_logit_softcapping"):
        return False
    sliding = raw.get("sliding_window")
    switched_on = raw.get("use_sliding_window", True)
    return not (sliding and switched_on and sliding < longest)


def position_limit(folder: Path) -> int | None:
    """The longest sequence that the model has positions for, where its configuration says."""
    raw = _read_json(folder / "config.json")
    limit = raw.get("max_position_embeddings") or raw.get("n_positions")
    return int(limit) if limit else None


def ensure_pad(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", last_tokens: set[int]) -> None:
    """Give the model a pad token that no sequence ends with.

    A plain transformers forward scores at the last token that is not the pad token: with pad = end-of-sequence it
    would score one token too early. A pad token is added to the vocabulary where none fits.
    """
    unfit = last_tokens | {tokenizer.eos_token_id}
    candidates = ("pad_token", "unk_token", "bos_token")
    fitting = [name for name in candidates if getattr(tokenizer, f"{name}_id") not in (unfit | {None})]
    if fitting:
        tokenizer.pad_token = getattr(tokenizer, fitting[0])
    else:
        tokenizer.add_special_tokens({"pad_token": _PAD})
    if len(tokenizer) > model.config.vocab_size:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    tokenizer.padding_side = "right"
    model.config.pad_token_id = tokenizer.pad_token_id


def save_model(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerFast", folder: Path, publish: Callable[[Path, Path], None]
) -> None:
    """Write model and tokenizer as a transformers folder; `publish(temporary, folder)` makes it appear at once."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    model.save_pretrained(str(temporary))
    tokenizer.save_pretrained(str(temporary))
    publish(temporary, folder)
