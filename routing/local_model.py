"""Transformers' folders as routing loads them: safetensors and JSON alone, by classes that transformers itself has.

Import this module in a worker only; the folder was checked before (:mod:`feedback.model_folder`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported: a folder's content never names a download

import torch

from feedback.model_folder import UnsafeFolder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


def load_folder(
    folder: Path, device: torch.device, auto_class: str, what: str
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """The model, by transformers' ``auto_class``, ready to be asked, and its tokenizer.

    Raises UnsafeFolder, which calls it ``what``, when it cannot be loaded.
    """
    import transformers
    from safetensors import SafetensorError
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        # the generic class reads tokenizer.json alone: no tokenizer code is chosen by the folder
        tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(str(folder), local_files_only=True)
        model = getattr(transformers, auto_class).from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=torch.float32
        )
    except (ValueError, OSError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise UnsafeFolder(f"{what} cannot be loaded: {error}.") from error
    loaded: Any = model
    return loaded.to(device).eval(), tokenizer
