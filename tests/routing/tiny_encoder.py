"""A BERT of random weights in a folder, small enough to be made anew for every test."""

from __future__ import annotations

import json
from pathlib import Path

WORDS = (
    "river",
    "stone",
    "light",
    "paper",
    "engine",
    "garden",
    "number",
    "letter",
    "window",
    "market",
    "winter",
    "the",
)


def write_tiny_encoder(folder: Path, *, pooling: str = "mean_tokens", seed: int = 7, positions: int = 64) -> None:
    """Written the way a sentence encoder's folder is: model, fast tokenizer with [CLS] and [SEP], pooling."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {token: index for index, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    inner.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=positions, pad_token_id=0,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    (folder / "1_Pooling").mkdir()
    modes = {f"pooling_mode_{name}": name == pooling for name in ("cls_token", "mean_tokens", "max_tokens")}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32, **modes}))
    # as published encoders have it: a list of what they were trained on
    (folder / "data_config.json").write_text(json.dumps([{"name": "pairs.jsonl.gz", "lines": 3}]))
