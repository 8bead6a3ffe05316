from pathlib import Path

import pytest

from tests.training.tiny_models import make_tokenizer, write_rows
from training.base_model import preference_pairs
from training.engine import tokens
from training.engine.readers.files import read_groups
from training.engine.records import Group
from training.engine.token_store import TokenStore
from training.engine.tokens import Lengths, tokenise, tokenizer_hash

LENGTHS = Lengths(400, None, "drop")


@pytest.fixture
def groups(tmp_path: Path) -> list[Group]:
    return read_groups([write_rows(tmp_path / "rows.jsonl", preference_pairs(8))])


def test_stored_tokens_are_those_that_were_encoded_and_are_not_encoded_again(
    tmp_path: Path, groups: list[Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = make_tokenizer()
    store = TokenStore(tmp_path / "tokens", tokenizer_hash(tokenizer))
    plain = tokenise(groups, tokenizer, LENGTHS)
    first = tokenise(groups, tokenizer, LENGTHS, store=store)
    monkeypatch.setattr(tokens, "_encode", None)  # calling it would fail
    again = tokenise(groups, tokenizer, LENGTHS, store=store)
    assert plain[0] == first[0] == again[0]
    assert plain[1] == first[1] == again[1]
    shorter = tokenise(groups, tokenizer, Lengths(60, None, "truncate-prompt-left"), store=store)
    assert shorter[1].kept < 8 or shorter[1].truncated


def test_other_texts_or_another_tokenizer_are_not_found(tmp_path: Path, groups: list[Group]) -> None:
    tokenizer = make_tokenizer()
    store = TokenStore(tmp_path, tokenizer_hash(tokenizer))
    tokenise(groups, tokenizer, LENGTHS, store=store)
    assert store.load(groups) is not None
    assert store.load(groups[:-1]) is None
    assert TokenStore(tmp_path, tokenizer_hash(make_tokenizer(template=False))).load(groups) is None


@pytest.mark.parametrize("kept", [0, 9, 200])
def test_a_torn_file_is_as_good_as_none(tmp_path: Path, groups: list[Group], kept: int) -> None:
    tokenizer = make_tokenizer()
    store = TokenStore(tmp_path / "tokens", tokenizer_hash(tokenizer))
    whole = tokenise(groups, tokenizer, LENGTHS, store=store)
    (path,) = (tmp_path / "tokens").iterdir()
    path.write_bytes(path.read_bytes()[:kept])
    assert store.load(groups) is None
    assert tokenise(groups, tokenizer, LENGTHS, store=store) == whole
    assert store.load(groups) is not None
