"""Data set folders: shapes, shards, manifest, card, and the real ``datasets`` library reading them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.formats.csv_cells import csv_lines, neutral_cell
from feedback.formats.shapes import (
    PREFERENCE,
    PREFERENCE_CONVERSATIONAL,
    Shape,
    preference_row,
    prompt_text,
    raw_row,
    raw_shape,
)
from feedback.formats.splits import SPLITS, prompt_hash, split_of
from feedback.formats.writers import BadExportRow, FileFormat, verify_folder, write_dataset
from feedback.questions import parse_questions

CARD = {
    "title": 'Votes: "first" round',
    "version": 3,
    "license": "cc-by-4.0",
    "languages": ["en"],
    "source": "import of votes.jsonl",
    "guideline_versions": [1, 2],
    "annotators": {"people": 12, "judges": "gpt-4"},
    "agreement": [
        {"measure": "Krippendorff's alpha (ordinal)", "value": 0.512, "low": 0.45, "high": 0.57, "pairs": 300},
        {"measure": "raw", "value": None, "low": None, "high": None, "pairs": 0},
    ],
    "aggregation": "majority",
    "human_share": 0.75,
    "judge_share": 0.25,
    "ties": "dropped",
    "ties_dropped": 4,
    "notes": ["a note"],
}


def rows_of(shape: Shape, count: int) -> Iterator[dict[str, Any]]:
    for n in range(count):
        prompt = [{"role": "user", "content": f"Question {n} é"}]
        split = split_of(prompt_hash(prompt), (0.6, 0.2, 0.2))
        yield preference_row(
            shape, id=f"p{n}", prompt=prompt, chosen=f"good {n}", rejected=f"bad {n}", split=split, annotators=["x1"]
        )


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    package = pytest.importorskip("datasets")
    package.disable_progress_bars()
    monkeypatch.setattr(package.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(package.config, "HF_HUB_OFFLINE", True)
    return package


@pytest.mark.parametrize("file_format", ["parquet", "jsonl", "jsonl.gz"])
@pytest.mark.parametrize("shape", [PREFERENCE, PREFERENCE_CONVERSATIONAL], ids=lambda shape: shape.name)
def test_datasets_loads_the_folder_and_the_files(
    tmp_path: Path, datasets: Any, shape: Shape, file_format: FileFormat
) -> None:
    rows = list(rows_of(shape, 60))
    folder = tmp_path / "set"
    manifest = write_dataset(folder, iter(rows), shape, card=CARD, file_format=file_format, max_rows_per_shard=10)
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert {split: len(part) for split, part in loaded.items()} == manifest.splits
    for split in SPLITS:
        wanted = [row for row in rows if row["split"] == split]
        assert loaded[split].to_list() == wanted
    kind = "parquet" if file_format == "parquet" else "json"
    files = [str(folder / entry.path) for entry in manifest.files if entry.split == "train"]
    assert len(files) > 1
    alone = datasets.load_dataset(kind, data_files=files, split="train", cache_dir=str(tmp_path / "cache2"))
    assert alone["id"][:] == [row["id"] for row in rows if row["split"] == "train"]


def test_names_manifest_and_verification(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    manifest = write_dataset(folder, rows_of(PREFERENCE, 60), PREFERENCE, card=CARD, max_rows_per_shard=20)
    names = sorted(path.name for path in (folder / "data").iterdir())
    assert "train-00000-of-00002.parquet" in names
    assert not any("part" in name for name in names)
    assert json.loads((folder / "manifest.json").read_text())["sha256"] == manifest.sha256
    assert verify_folder(folder) == []
    (folder / "README.md").write_text("other")
    (folder / "data" / "extra").write_text("")
    (folder / "data" / names[0]).unlink()
    assert verify_folder(folder) == [
        f"data/{names[0]} is missing",
        "data/extra is not in the manifest",
        "README.md has changed",
    ]
    with pytest.raises(FileExistsError):
        write_dataset(folder, [], PREFERENCE, card=CARD)


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    formats: tuple[FileFormat, ...] = ("parquet", "jsonl.gz")
    for file_format in formats:
        one, other = (
            write_dataset(tmp_path / f"{file_format}{n}", rows_of(PREFERENCE, 9), PREFERENCE, card=CARD, file_format=f)
            for n, f in enumerate((file_format, file_format))
        )
        assert one == other


def test_an_empty_column_keeps_its_type_and_no_rows_still_load(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", rows_of(PREFERENCE, 3), PREFERENCE, card=CARD)
    write_dataset(tmp_path / "b", [], PREFERENCE, card=CARD)
    for folder in ("a", "b"):
        for path in (tmp_path / folder / "data").iterdir():
            assert pq.read_schema(path).equals(PREFERENCE.schema)
    assert [path.name for path in (tmp_path / "b" / "data").iterdir()] == ["train-00000-of-00001.parquet"]


def test_row_groups_are_bounded(tmp_path: Path) -> None:
    rows = (
        {"id": str(n), "prompt": "x" * 100_000, "chosen": "a", "rejected": "b", "split": "train"} for n in range(400)
    )
    write_dataset(tmp_path / "a", rows, PREFERENCE, card=CARD)
    metadata = pq.read_metadata(tmp_path / "a" / "data" / "train-00000-of-00001.parquet")
    assert metadata.num_rows == 400
    assert max(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)) == 168


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"id": "x", "split": "dev"}, "has the split 'dev'"),
        ({"id": "x", "split": "train", "extra": 1}, "columns that the shape lacks: \\['extra'\\]"),
        ({"id": "x", "split": "train", "strength": "big"}, "column 'strength' near row 'x'"),
        ({"id": "x", "split": "train", "prompt": "\ud800"}, "column 'prompt' near row 'x'"),
        ({"id": "x", "split": "train", "strength": 1000}, "column 'strength'"),
    ],
)
def test_a_row_that_does_not_fit_is_refused(tmp_path: Path, row: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadExportRow, match=reason):
        write_dataset(tmp_path / "a", [row], PREFERENCE, card=CARD)
    assert not (tmp_path / "a" / "manifest.json").exists()


def test_the_card_says_what_it_knows(tmp_path: Path) -> None:
    write_dataset(tmp_path / "a", rows_of(PREFERENCE, 30), PREFERENCE, card=CARD)
    text = (tmp_path / "a" / "README.md").read_text()
    assert text.startswith('---\npretty_name: "Votes: \\"first\\" round"\nlicense: "cc-by-4.0"\n')
    assert "| Krippendorff's alpha (ordinal) | 0.512 | 0.450 to 0.570 | 300 |" in text
    assert "| raw | undefined | – | 0 |" in text
    assert "- **Ties:** dropped; 4 dropped" in text
    assert "- **Labels by people:** 75.0%" in text
    assert "- **Consent:** not recorded" in text
    assert "- **Guideline versions:** 1, 2" in text


QUESTIONS = parse_questions(
    [
        {"kind": "preference", "name": "overall", "title": "T", "aspects": ["helpful"], "ask_confidence": True},
        {"kind": "ranking", "name": "order", "title": "T"},
        {"kind": "rating", "name": "rate", "title": "T", "scales": [{"name": "clear"}]},
        {"kind": "span", "name": "errors", "title": "T", "types": [{"name": "Bad"}]},
        {"kind": "critique", "name": "say", "title": "T", "ask_refinement": True},
        {"kind": "choice", "name": "safe", "title": "T", "options": ["yes", "no"]},
    ]
)


def test_raw_rows_hold_the_answers_and_flat_columns(tmp_path: Path, datasets: Any) -> None:
    answers: dict[str, Any] = {
        "overall": {"value": "b-is-slightly-better", "aspects": {"helpful": "tie"}, "confidence": 4, "reasons": []},
        "order": {"groups": [[1], [0]], "unacceptable": [0]},
        "rate": {"ratings": {"clear": [3, None]}},
        "errors": {"spans": [{"target": 0, "start": 0, "end": 1, "type": "Bad"}], "missing": []},
        "say": {"critiques": ["short", ""], "refinements": [None, "better"]},
        "safe": {"values": ["yes"]},
    }
    common: dict[str, Any] = {
        "prompt": [{"role": "user", "content": "Q"}],
        "completions": [{"content": "a", "model": None}, {"content": "b", "model": "m"}],
        "split": "train",
    }
    rows = [
        raw_row(QUESTIONS, answers, id="1", source="human", annotator="p1", **common),
        raw_row(QUESTIONS, {}, id="2", source="judge", annotator="j1", order="ab", **common),
    ]
    write_dataset(tmp_path / "raw", rows, raw_shape(QUESTIONS), card=CARD)
    loaded = datasets.load_dataset(str(tmp_path / "raw"), split="train", cache_dir=str(tmp_path / "cache"))
    first, second = loaded.to_list()
    assert json.loads(first["answers"]) == answers
    flat = {name: value for name, value in first.items() if name.startswith("answer.")}
    assert flat == {
        "answer.overall": "b-is-slightly-better",
        "answer.overall.strength": 1,
        "answer.overall.confidence": 4,
        "answer.overall.reasons": [],
        "answer.overall.helpful": "tie",
        "answer.order.ranks": [2, 1],
        "answer.order.unacceptable": [0],
        "answer.rate.clear": [3, None],
        "answer.errors.spans": 1,
        "answer.errors.missing": 0,
        "answer.say.critiques": ["short", ""],
        "answer.say.refinements": [None, "better"],
        "answer.safe": ["yes"],
    }
    assert second["answers"] == "{}"
    assert (second["answer.overall"], second["order"]) == (None, "ab")


def test_jsonl_is_exact(tmp_path: Path) -> None:
    row = {"id": "é😀", "prompt": "=1+1\n", "chosen": "\u2028", "rejected": "b", "split": "test", "soft_label": 0.1}
    write_dataset(tmp_path / "a", [row], PREFERENCE, card=CARD, file_format="jsonl.gz")
    (path,) = (tmp_path / "a" / "data").iterdir()
    line = gzip.decompress(path.read_bytes())
    assert line.count(b"\n") == 1
    loaded = json.loads(line)
    assert {key: loaded[key] for key in row} == row
    assert list(loaded) == PREFERENCE.schema.names


def test_a_preference_row_is_checked_and_a_longer_prompt_is_a_dialogue() -> None:
    prompt = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}, {"role": "user", "content": "R"}]
    assert prompt_text(prompt[:1]) == "Q"
    assert prompt_text(prompt) == "\n\nHuman: Q\n\nAssistant: A\n\nHuman: R\n\nAssistant:"
    row = preference_row(PREFERENCE, id="1", prompt=prompt, chosen="a", rejected="b", split="train", strength=2)
    assert (row["margin"], row["annotator_count"]) == (2.0, 0)
    with pytest.raises(ValueError, match="strength at least 1"):
        preference_row(PREFERENCE, id="1", prompt=prompt, chosen="a", rejected="b", split="train", strength=0)


@given(st.lists(st.text(max_size=5), min_size=1, max_size=4), st.integers(0, 9))
def test_a_prompt_has_one_split(texts: list[str], seed: int) -> None:
    prompt = [{"role": "user", "content": text} for text in texts if text.isprintable()]
    same = [{**message, "extra": "x"} for message in prompt]
    assert prompt_hash(prompt) == prompt_hash(same)
    assert split_of(prompt_hash(prompt), seed=seed) == split_of(prompt_hash(same), seed=seed)
    assert split_of(prompt_hash(prompt), (1, 0, 0), seed) == "train"


def test_split_shares_and_growth_of_train() -> None:
    ids = [prompt_hash([{"role": "user", "content": str(n)}]) for n in range(4000)]
    splits = [split_of(one, (0.8, 0.1, 0.1)) for one in ids]
    assert [round(splits.count(split) / 4000, 1) for split in SPLITS] == [0.8, 0.1, 0.1]
    larger = [split_of(one, (0.9, 0.05, 0.05)) for one in ids]
    assert all(new == "train" for old, new in zip(splits, larger, strict=True) if old == "train")
    assert splits != [split_of(one, (0.8, 0.1, 0.1), seed=1) for one in ids]
    assert prompt_hash([{"role": "user", "content": "ab"}]) != prompt_hash([{"role": "system", "content": "ab"}])
    with pytest.raises(ValueError, match="sum to 1"):
        split_of(ids[0], (0.8, 0.1, 0.2))


def test_no_cell_becomes_a_formula() -> None:
    for text in ("=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "  =1", "\n=1", "＝1", "=HYPERLINK()"):
        assert neutral_cell(text) == f"'{text}"
    assert [neutral_cell(value) for value in ("a=1", -1, 2.5, None, "")] == ["a=1", -1, 2.5, None, ""]
    lines = list(csv_lines([{"a": "=1", "b": -2}, {"a": None, "b": 'q"'}], ["a", "b"]))
    assert lines == ['"a","b"\r\n', '"\'=1",-2\r\n', '"","q"""\r\n']
