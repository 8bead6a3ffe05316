"""TRL's trainers take exported files unchanged: data preparation and one step on a tiny random model."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from feedback.formats.shapes import PREFERENCE, PREFERENCE_CONVERSATIONAL, Shape, preference_row
from feedback.formats.writers import write_dataset

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    model = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=320, special_tokens=["<unk>", "<pad>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    model.train_from_iterator(["question", "a good reply", "a bad reply"], trainer)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=model, unk_token="<unk>", pad_token="<pad>", eos_token="</s>"
    )
    fast.chat_template = TEMPLATE
    return fast


def tiny(folder: Path, tokenizer: Any, kind: str) -> Any:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=256,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        num_labels=1,
    )
    head = transformers.LlamaForCausalLM if kind == "dpo" else transformers.LlamaForSequenceClassification
    head(config).save_pretrained(folder)  # DPO loads its reference from the model's path
    return head.from_pretrained(folder)


def load(folder: Path, shape: Shape, monkeypatch: pytest.MonkeyPatch) -> Any:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    rows = [
        preference_row(
            shape,
            id=str(n),
            prompt=[{"role": "user", "content": f"question {n}"}],
            chosen=f"a good reply {n}",
            rejected=f"a bad reply {n} with more words",
            split="train",
            strength=1 + n % 2,
            agreement=None,
        )
        for n in range(8)
    ]
    write_dataset(folder / "set", rows, shape, card={"title": "Tiny"}, max_rows_per_shard=3)
    return datasets.load_dataset(str(folder / "set"), split="train", cache_dir=str(folder / "cache"))


@pytest.mark.parametrize("shape", [PREFERENCE, PREFERENCE_CONVERSATIONAL], ids=lambda shape: shape.name)
@pytest.mark.parametrize("kind", ["dpo", "reward"])
def test_a_trainer_takes_a_step_on_the_exported_folder(
    tmp_path: Path, tokenizer: Any, shape: Shape, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trl = pytest.importorskip("trl")
    dataset = load(tmp_path, shape, monkeypatch)
    config_type, trainer_type = {
        "dpo": (trl.DPOConfig, trl.DPOTrainer),
        "reward": (trl.RewardConfig, trl.RewardTrainer),
    }[kind]
    config = config_type(
        output_dir=str(tmp_path / "out"),
        per_device_train_batch_size=4,
        max_steps=1,
        logging_steps=1,
        report_to=[],
        use_cpu=True,
        bf16=False,
        save_strategy="no",
        max_length=128,
        gradient_checkpointing=False,
        disable_tqdm=True,
    )
    trainer = trainer_type(
        model=tiny(tmp_path / "model", tokenizer, kind), args=config, train_dataset=dataset, processing_class=tokenizer
    )
    result = trainer.train()
    assert result.training_loss > 0
    assert len(trainer.train_dataset) == 8
