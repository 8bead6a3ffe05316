"""Hostile and broken files: each bad row is named, nothing exhausts memory, and the good rows still come."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedback.formats.records import ReadOptions, RowError
from feedback.formats.tables import Row, read_table


def read(path: Path, **options: Any) -> tuple[list[tuple[int, Row]], list[RowError]]:
    entries = list(read_table(path, ReadOptions(**options)))
    return [e for e in entries if not isinstance(e, RowError)], [e for e in entries if isinstance(e, RowError)]


def write(path: Path, data: str | bytes) -> Path:
    raw = data.encode() if isinstance(data, str) else data
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def test_jsonl_names_each_bad_line_and_goes_on(tmp_path: Path) -> None:
    lines = [
        b'{"a": 1}',
        b"{broken",
        b"",
        b"[1]",
        b'{"a": NaN}',
        b'{"a": {"b": "\\u0000"}}',
        b'{"a": "\\ud800"}',
        b'{"a": 1, "a": 2}',
        b'{"a": "\xff"}',
        b'{"a": ' + b"[" * 100_000,
        b'{"a": 2}',
    ]
    rows, errors = read(write(tmp_path / "x.jsonl", b"\xef\xbb\xbf" + b"\r\n".join(lines)))
    assert rows == [(1, {"a": 1}), (11, {"a": 2})]
    assert [(e.line, e.field) for e in errors] == [
        (2, "line"),
        (4, "line"),
        (5, "line"),
        (6, "a.b"),
        (7, "a"),
        (8, "line"),
        (9, "line"),
        (10, "line"),
    ]
    assert errors[1].reason == "must be a JSON object, not list"
    assert errors[3].reason == "holds a control character U+0000 at character 0"
    assert all(e.hint for e in errors if e.line != 4)


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.gz"])
def test_a_line_that_is_too_long_is_skipped_not_read(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, '{"a": 1}\n{"a": "' + "x" * 3_000_000 + '"}\n{"a": 3}\n')
    rows, errors = read(path, max_line_bytes=1024)
    assert [line for line, _ in rows] == [1, 3]
    assert errors == [RowError(2, "line", "the line has more than 1,024 bytes", "Shorten or split it.")]


def test_a_gzip_bomb_is_stopped_early_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=9) as file:
        for _ in range(200):
            file.write(b" " * 1024 * 1024)
    tracemalloc.start()
    rows, errors = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == []
    assert errors == [RowError(1, "file", "expands more than 200 times", "Upload it uncompressed.")]
    assert peak < 40 * 1024 * 1024


def test_a_total_limit_and_damaged_gzip_end_the_file(tmp_path: Path) -> None:
    rows, errors = read(write(tmp_path / "x.jsonl", '{"a": 1}\n' * 1000), max_total_bytes=2048)
    assert len(rows) == 227
    assert (errors[0].line, errors[0].reason) == (228, "holds more than 2,048 bytes")
    whole = gzip.compress(b'{"a": 1}\n' * 10)
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[:-9])
    rows, errors = read(tmp_path / "cut.jsonl.gz")
    assert errors[-1].field == "file"
    assert "cannot be read" in errors[-1].reason


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.dictionaries(st.text("ab", min_size=1), st.integers() | st.text('xé😀"\\[]{},', max_size=9)), max_size=9
    ),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_a_json_array_streams_the_same_rows(
    tmp_path: Path, rows: list[Row], indent: int | None, ascii_only: bool
) -> None:
    path = write(tmp_path / "x.json", json.dumps(rows, indent=indent, ensure_ascii=ascii_only))
    assert read(path) == ([(i, row) for i, row in enumerate(rows, start=1)], [])


def test_a_large_json_array_crosses_buffer_borders(tmp_path: Path) -> None:
    rows = [{"n": n, "text": "é😀" * (n % 700)} for n in range(400)]
    path = write(tmp_path / "x.json.gz", json.dumps(rows, ensure_ascii=False))
    assert [row for _, row in read(path)[0]] == rows


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ('"a"', 1, "must be a JSON array of objects"),
        ('[{"a": 1} {"a": 2}]', 2, "a comma is missing"),
        ('[{"a": 1}, ', 2, "ends early"),
        ('[{"a": 1}] x', 2, "something follows"),
        ('[{"a": 1}, {"a": NaN}]', 2, "holds NaN, which is not JSON"),
        ("[" * 100_000, 1, "nests deeper"),
        ('[{"a": 1}, 3]', 2, "must be a JSON object, not int"),
        ('[{"a": "\\u0000"}]', 1, "U+0000"),
    ],
)
def test_a_broken_json_array_says_where(tmp_path: Path, text: str, line: int, reason: str) -> None:
    _, errors = read(write(tmp_path / "x.json", text))
    assert errors[0].line == line
    assert reason in errors[0].reason


def test_csv_with_quotes_line_breaks_and_other_delimiters(tmp_path: Path) -> None:
    text = 'id;prompt\r\n1;"two\nlines; quoted ""word"""\r\n2;three\r\n'
    assert read(write(tmp_path / "x.csv", text)) == (
        [(2, {"id": "1", "prompt": 'two\nlines; quoted "word"'}), (4, {"id": "2", "prompt": "three"})],
        [],
    )
    assert read(write(tmp_path / "x.tsv.gz", "a\tb\n1,5\t2\n"))[0] == [(2, {"a": "1,5", "b": "2"})]


def test_csv_errors_have_their_line(tmp_path: Path) -> None:
    rows, errors = read(write(tmp_path / "x.csv", b"a,b\n1,2\n1\n\xff,2\n3,4\n"))
    assert rows == [(2, {"a": "1", "b": "2"}), (5, {"a": "3", "b": "4"})]
    assert [(e.line, e.reason) for e in errors] == [(3, "has 1 cells, the header has 2"), (4, "is not UTF-8 (byte 0)")]
    _, errors = read(write(tmp_path / "y.csv", "a,b\n1,2\n" + '"never closed\n' + "1,2\n" * 5000), max_line_bytes=2048)
    assert (errors[0].line, errors[0].hint) == (3, "Look for a quote that is never closed.")
    assert read(write(tmp_path / "z.csv", "a,a\n1,2\n"))[1][0].reason == "the column 'a' stands twice"
    assert read(write(tmp_path / "e.csv", ""))[1] == [RowError(1, "file", "is empty")]


def test_parquet_rows_and_broken_parquet(tmp_path: Path) -> None:
    rows = [{"n": n, "list": ["a", "b"], "none": None} for n in range(600)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    assert [row for _, row in read(tmp_path / "x.parquet")[0]] == rows
    raw = (tmp_path / "x.parquet").read_bytes()
    for broken in (b"", raw[:-5], b"PAR1" + b"\x00" * 50 + b"PAR1", raw[:20] + b"\xff" * 60 + raw[80:]):
        found, errors = read(write(tmp_path / "y.parquet", broken))
        assert errors or len(found) == 600
        assert all("cannot be read as Parquet" in error.reason for error in errors)


def test_a_folder_reads_its_tables_in_order_and_other_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    write(tmp_path / "data" / "train-00001.jsonl", '{"a": 2}\nx\n')
    write(tmp_path / "data" / "train-00000.jsonl", '{"a": 1}\n')
    rows, errors = read(tmp_path)
    assert rows == [(1, {"a": 1}), (2, {"a": 2})]
    assert (errors[0].line, errors[0].field) == (3, "train-00001.jsonl:line")
    assert read(write(tmp_path / "x.xlsx", ""))[1][0].reason == ".xlsx is not a known kind"


def test_memory_stays_flat_over_many_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with path.open("w") as file:
        for n in range(20_000):
            file.write(json.dumps({"id": n, "text": "word " * 200}) + "\n")
    tracemalloc.start()
    assert sum(1 for _ in read_table(path)) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1024 * 1024


def test_a_date_that_python_cannot_hold_is_a_row_error(tmp_path: Path) -> None:
    path = tmp_path / "far.parquet"
    pq.write_table(pa.table({"prompt": pa.array([2**62], pa.timestamp("us"))}), path)
    rows, errors = read(path)
    assert (rows, [error.field for error in errors]) == ([], ["file"])


def test_a_control_character_in_a_json_array_costs_one_element(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('[{"a": "x"}, {"a": "\\u0080"}, {"a": "y"}]')
    first, bad, last = read_table(path)
    assert (first, last) == ((1, {"a": "x"}), (3, {"a": "y"}))
    assert isinstance(bad, RowError)
    assert (bad.line, bad.field) == (2, "a")
