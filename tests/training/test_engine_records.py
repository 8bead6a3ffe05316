import json
from pathlib import Path
from typing import Any

import pytest

from training.engine.errors import RunError
from training.engine.readers.files import read_groups
from training.engine.records import Group

ROW: dict[str, Any] = {"id": "a", "prompt": "q", "chosen": "yes", "rejected": "no"}


def read(tmp_path: Path, *rows: Any, margin_scale: float = 0.0) -> list[Group]:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return read_groups([str(path)], margin_scale=margin_scale)


def test_a_bare_row_is_one_certain_preference(tmp_path: Path) -> None:
    edge = read(tmp_path, ROW)[0].preferences[0]
    assert (edge.weight, edge.margin, edge.probability) == (1.0, 0.0, 1.0)


def test_a_row_without_ids_is_named_by_its_place_and_its_prompt(tmp_path: Path) -> None:
    first, second = read(tmp_path, {**ROW, "id": None}, {**ROW, "id": None, "chosen": "other"})
    assert first.id == "rows.jsonl line 1"
    assert first.prompt_id == second.prompt_id


@pytest.mark.parametrize(
    ("fields", "margin", "probability"),
    [
        ({"strength": 2}, 1.0, 1.0),
        ({"strength": -2}, 1.0, 1.0),
        ({"strength": 0}, 0.0, 0.5),
        ({"strength": 2, "margin": 0.3}, 0.15, 1.0),
        ({"soft_label": 0.8}, 0.0, 0.8),
        ({"strength": 0, "soft_label": 0.6}, 0.0, 0.6),
    ],
)
def test_strength_gives_margin_and_ties(
    tmp_path: Path, fields: dict[str, float], margin: float, probability: float
) -> None:
    edge = read(tmp_path, {**ROW, **fields}, margin_scale=0.5)[0].preferences[0]
    assert (edge.margin, edge.probability) == (margin, probability)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{not json", "not a JSON object"),
        ("[1]", "not a JSON object"),
        ("[" * 100_000, "not a JSON object"),
        ({**ROW, "prompt": 3}, "prompt is neither"),
        ({**ROW, "chosen": []}, "chosen is neither"),
        ({**ROW, "chosen": [{"role": "wizard", "content": "x"}]}, "known role"),
        ({**ROW, "chosen": [{"role": "user", "content": None}]}, "without text content"),
        ({**ROW, "rejected": "\ud800"}, "lone surrogate"),
        ({**ROW, "margin": "big"}, "margin is not a number"),
        ({**ROW, "soft_label": 1.5}, "soft_label is outside"),
        ({**ROW, "weight": -1}, "weight is outside"),
        ('{"prompt": "q", "chosen": "a", "rejected": "b", "margin": NaN}', "margin is not a number"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path, row: Any, reason: str) -> None:
    with pytest.raises(RunError, match=reason) as caught:
        read(tmp_path, ROW, row)
    assert caught.value.rows == ["rows.jsonl line 2"]


def test_parquet_and_jsonl_give_the_same_groups(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    messages = [{"role": "user", "content": "q"}]
    rows = [{**ROW, "prompt": messages, "strength": 1.0, "extra": 3}, {**ROW, "id": "b", "prompt": messages}]
    expected = read(tmp_path, *rows)
    for name in ("rows.parquet", "ROWS.PARQUET"):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
        assert read_groups([str(tmp_path / name)]) == expected


def test_a_file_that_is_no_parquet_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(RunError, match="not a readable Parquet"):
        read_groups([str(tmp_path / "rows.parquet")])
