import json
from pathlib import Path

import pytest

from tests.training.tiny_models import write_rows
from training import run as training_run
from training.base_model import (
    QUICK,
    Size,
    conversations,
    make_base_model,
    planted_quality,
    preference_pairs,
)
from training.engine.files import sha256_file

TINY = Size(hidden=32, layers=1, steps=4, texts=150, rows=4)


def test_pairs_follow_the_planted_rule_and_the_seed() -> None:
    rows = preference_pairs(50, seed=1)
    assert rows == preference_pairs(50, seed=1)
    assert rows != preference_pairs(50, seed=2)
    assert len({row["prompt_id"] for row in rows}) == 50
    for row in rows:
        question = row["prompt"][0]["content"]
        subject = question.split(" the ")[1].split(" ")[0].rstrip("?.")
        qualities = [planted_quality(subject, row[side][0]["content"]) for side in ("chosen", "rejected")]
        assert qualities[0] - qualities[1] >= 2
        assert row["strength"] == (2 if qualities[0] - qualities[1] >= 4 else 1)


def test_length_says_little_about_the_planted_preference() -> None:
    rows = preference_pairs(400)
    longer = sum(len(row["chosen"][0]["content"]) > len(row["rejected"][0]["content"]) for row in rows)
    assert 0.35 < longer / 400 < 0.65


def test_quality_counts_sentences_about_the_subject_against_all_others() -> None:
    assert planted_quality("tea", "The tea is warm. In the north, the tea pleases poets.") == 2
    assert planted_quality("tea", "The tea is warm. The river is deep. It depends.") == -1


def test_conversations_are_turns_of_user_and_assistant() -> None:
    for talk in conversations(20, seed=0):
        assert [message["role"] for message in talk] == ["user", "assistant"] * (len(talk) // 2)


def test_the_same_seed_makes_the_same_model(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder, seed in zip(folders, (0, 0, 1), strict=True):
        make_base_model(folder, seed, TINY)
    weights = [sha256_file(folder / "model.safetensors") for folder in folders]
    assert weights[0] == weights[1] != weights[2]
    assert sha256_file(folders[0] / "tokenizer.json") == sha256_file(folders[1] / "tokenizer.json")


@pytest.mark.slow
def test_a_reward_model_learns_the_planted_rule(tmp_path: Path) -> None:
    loss = make_base_model(tmp_path / "base", 0, QUICK)
    assert loss < 4
    rows = preference_pairs(2900)
    run = {
        "schema": 1,
        "objective": "bt",
        "base_model": str(tmp_path / "base"),
        "data": {
            "train": [write_rows(tmp_path / "train.jsonl", rows[:2500])],
            "test": [write_rows(tmp_path / "test.jsonl", rows[2500:])],
        },
        "learning_rate": 3e-3,
        "warmup_steps": 0.1,
        "tokens_per_batch": 1024,
        "device": "cpu",
    }
    (tmp_path / "run.json").write_text(json.dumps(run))
    assert training_run.execute(tmp_path) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["evaluation"]["test"]["accuracy"] > 0.85


def test_a_model_made_from_texts_knows_their_words(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    talk = [{"role": "user", "content": "Kartoffelpuffer?"}, {"role": "assistant", "content": "Apfelmus dazu. " * 40}]
    source = tmp_path / "texts.jsonl"
    source.write_text(f"{json.dumps(talk)}\n" * 3, encoding="utf-8")
    make_base_model(tmp_path / "base", 0, TINY, source=source)
    tokenizer = Tokenizer.from_file(str(tmp_path / "base" / "tokenizer.json"))
    assert len(tokenizer.encode("Kartoffelpuffer?").ids) <= 2
    assert tokenizer.decode(tokenizer.encode("Ümläute 🙂").ids) == "Ümläute 🙂"


@pytest.mark.parametrize(
    ("line", "reason"),
    [('{"role": "user"}', "line 1: needs a list of messages"), ('[{"role": "user", "content": "Hi"}]', "too few")],
)
def test_texts_that_are_no_conversations_or_too_short_are_refused(tmp_path: Path, line: str, reason: str) -> None:
    source = tmp_path / "texts.jsonl"
    source.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=reason):
        make_base_model(tmp_path / "base", 0, TINY, source=source)
    assert not (tmp_path / "base").exists()
