"""Embeddings and BERTScore by a local sentence encoder, and what happens where it cannot be used."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from feedback.model_folder import UnsafeFolder
from routing.features.embedding import FORMAT_DIMS
from routing.features.encoder import SentenceEncoder
from routing.features.table import PAIR_NAMES, describe_pairs, fit_bins, tag_matrix, tag_names
from routing.features.texts import PairText
from routing.models import PairDescription, TaskFeatures
from routing.services import encoders
from routing.services.describing import described
from tests.routing.planning_cast import World, make_world, planned
from tests.routing.tiny_encoder import WORDS, write_tiny_encoder

TEXTS = ("river stone light", "paper", "The garden, the WINTER market", "", "stone " * 200, "xyz 123")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models") / "tiny-encoder"
    made.mkdir()
    write_tiny_encoder(made)
    return made


@pytest.fixture(scope="module")
def encoder(folder: Path) -> SentenceEncoder:
    return SentenceEncoder(folder)


def by_hand(folder: Path, text: str) -> Any:
    """Token vectors of a text alone, as transformers gives them, and which of them are markers."""
    import torch
    from transformers import BertModel, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(str(folder))
    one = tokenizer(text, truncation=True, max_length=62, return_special_tokens_mask=True, return_tensors="pt")
    model: Any = BertModel.from_pretrained(str(folder))
    with torch.inference_mode():
        hidden = model.eval()(one["input_ids"]).last_hidden_state[0]
    return hidden.numpy(), one["special_tokens_mask"][0].numpy().astype(bool)


def test_embeddings_are_the_mean_of_tokens_whatever_the_batch(folder: Path, encoder: SentenceEncoder) -> None:
    together = encoder.embed(TEXTS)
    assert together.shape == (len(TEXTS), 32)
    for row, text in enumerate(TEXTS):
        hidden, _ = by_hand(folder, text)
        mean = hidden.mean(axis=0)
        assert np.allclose(together[row], mean / np.linalg.norm(mean), atol=1e-5), text
        assert np.allclose(encoder.embed([text])[0], together[row], atol=1e-5)


def test_a_folder_that_pools_by_its_first_token_does(tmp_path: Path) -> None:
    folder = tmp_path / "cls"
    folder.mkdir()
    write_tiny_encoder(folder, pooling="cls_token")
    hidden, _ = by_hand(folder, TEXTS[0])
    own = SentenceEncoder(folder).embed([TEXTS[0]])[0]
    assert np.allclose(own, hidden[0] / np.linalg.norm(hidden[0]), atol=1e-5)
    modes = json.loads((folder / "1_Pooling" / "config.json").read_text())
    modes = dict.fromkeys(modes, False) | {"pooling_mode_max_tokens": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(modes))
    with pytest.raises(UnsafeFolder, match="max_tokens"):
        SentenceEncoder(folder)


def test_bert_score_is_greedy_matching_without_markers(folder: Path, encoder: SentenceEncoder) -> None:
    pairs = [(TEXTS[0], TEXTS[2]), (TEXTS[2], TEXTS[0]), (TEXTS[0], TEXTS[0]), (TEXTS[1], ""), ("xyz 123", "paper")]
    first, second, found = encoder.compare(pairs)
    assert np.allclose(first, encoder.embed([a for a, _ in pairs]), atol=1e-5)
    assert np.allclose(second, encoder.embed([b for _, b in pairs]), atol=1e-5)
    for (a, b), score in zip(pairs, found, strict=True):
        tokens = []
        for text in (a, b):
            hidden, special = by_hand(folder, text)
            plain = hidden[~special]
            tokens.append(plain / np.linalg.norm(plain, axis=1, keepdims=True))
        if not len(tokens[0]) or not len(tokens[1]):
            assert score == 0.0
            continue
        similar = tokens[0] @ tokens[1].T
        precision, recall = similar.max(axis=1).mean(), similar.max(axis=0).mean()
        assert score == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-5)
    assert found[0] == pytest.approx(found[1], abs=1e-6)
    assert found[2] == pytest.approx(1.0, abs=1e-5)


def test_hidden_states_of_a_few_pairs_are_kept_at_a_time(
    encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [(f"{WORDS[n % 5]} {n}", f"{WORDS[n % 7]} {n} {n}") for n in range(150)]
    kept: list[int] = []
    batches = SentenceEncoder._batches

    def counted(self: SentenceEncoder, texts: Any) -> Any:
        kept.append(len(texts))
        return batches(self, texts)

    monkeypatch.setattr(SentenceEncoder, "_batches", counted)
    first, second, scores = encoder.compare(pairs)
    assert len(kept) == 3
    assert max(kept) <= 128
    for row in (0, 63, 64, 149):
        alone = encoder.compare(pairs[row : row + 1])
        assert np.allclose(first[row], alone[0][0], atol=1e-5)
        assert np.allclose(second[row], alone[1][0], atol=1e-5)
        assert scores[row] == pytest.approx(alone[2][0], abs=1e-5)


def test_an_encoder_gives_its_own_columns_each_with_its_bins(encoder: SentenceEncoder) -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, size=int(rng.integers(2, 20)))) for _ in range(120)]
    pairs = [PairText(texts[n], texts[n + 40], texts[n + 80]) for n in range(40)]
    found = describe_pairs(pairs, encoder=encoder, encoder_name="tiny-1")
    assert found.version == "features-1-encoder-tiny-1"
    assert found.difference.shape == (40, 32 + FORMAT_DIMS)
    scores = found.table.column("bert_score")
    adjusted = found.table.column("length_adjusted_bert_score")
    sizes = np.array([sorted((len(pair.a.split()), len(pair.b.split()))) for pair in pairs])
    assert np.allclose(adjusted, scores * sizes[:, 0] / sizes[:, 1], atol=1e-6)
    bins = fit_bins(found.table)
    names = tag_names(bins, found.table.names)
    for feature in ("bert_score", "length_adjusted_bert_score"):
        columns = [n for n, name in enumerate(names) if name.startswith(f"{feature}=")]
        assert (tag_matrix(found.table, bins)[:, columns].sum(axis=1) == 1).all()
    assert "bert_score" not in names
    phi = encoder.embed([pair.a for pair in pairs]), encoder.embed([pair.b for pair in pairs])
    cosines = np.clip((phi[0] * phi[1]).sum(axis=1), 0, 1)
    assert np.allclose(found.table.column("cosine_similarity"), cosines, atol=1e-5)


@pytest.fixture
def installed(folder: Path, tmp_path: Path, settings: Any) -> Path:
    settings.MODELS_DIR = tmp_path / "installed"
    shutil.copytree(folder, settings.MODELS_DIR / "tiny-encoder")
    return Path(settings.MODELS_DIR) / "tiny-encoder"


@pytest.fixture
def world(db: None) -> World:
    return make_world(size=40, votes=20)


@pytest.mark.django_db
def test_a_plan_embeds_with_the_installed_encoder_and_says_so(world: World, installed: Path) -> None:
    plan = planned(world, "adv_topk", 5)
    assert plan.state == "ready", plan.error
    features = plan.summary["features"]
    assert features["recipe"].startswith("features-1-encoder-tiny-encoder-")
    assert "tiny-encoder" in features["why"]
    found = described(world.cast.task)
    assert found.features.table.names == (*PAIR_NAMES, "bert_score", "length_adjusted_bert_score")
    assert found.features.difference.shape == (40, 32 + FORMAT_DIMS)
    assert TaskFeatures.objects.get().why == features["why"]


@pytest.mark.django_db
def test_other_weights_are_another_recipe(world: World, installed: Path, settings: Any) -> None:
    first = described(world.cast.task)
    shutil.rmtree(installed)
    installed.mkdir()
    write_tiny_encoder(installed, seed=8)
    second = described(world.cast.task)
    assert first.recipe != second.recipe
    assert not np.allclose(first.features.difference, second.features.difference)
    settings.SENTENCE_ENCODER = "none"
    third = described(world.cast.task)
    assert third.recipe == "features-1-hashed-256-0"
    assert "turns encoders off" in third.why
    assert PairDescription.objects.values("recipe").distinct().count() == 3


@pytest.mark.django_db
@pytest.mark.parametrize("harm", ["pickle", "code", "weights", "no width", "absent", "gone"])
def test_an_encoder_that_cannot_be_used_is_named_and_hashing_is_used(
    world: World, installed: Path, settings: Any, harm: str
) -> None:
    config = json.loads((installed / "config.json").read_text())
    if harm == "pickle":
        (installed / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    elif harm == "code":
        (installed / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "evil.Model"}}))
    elif harm == "weights":
        (installed / "model.safetensors").write_bytes(b"not safetensors")
    elif harm == "no width":
        (installed / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "hidden_size"}))
    elif harm == "absent":
        settings.SENTENCE_ENCODER = "another"
    else:
        shutil.rmtree(installed)
    found = described(world.cast.task)
    assert found.recipe == "features-1-hashed-256-0"
    assert "hashed" in found.why


@pytest.mark.django_db
def test_a_worker_without_torch_reads_what_another_described_and_hashes_what_is_new(
    world: World, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    described(world.cast.task)
    encoders._loaded.cache_clear()
    monkeypatch.setitem(sys.modules, "routing.features.encoder", None)
    assert described(world.cast.task).recipe.startswith("features-1-encoder-")
    PairDescription.objects.filter(instance=world.instances[0]).delete()
    found = described(world.cast.task)
    assert found.recipe == "features-1-hashed-256-0"
    assert "has no torch" in found.why
