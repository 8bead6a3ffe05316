"""The command that replays a table: what goes in, what comes out, what is refused."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command


def row(number: int, **changes: Any) -> dict[str, Any]:
    side = 1 if number % 2 else -1
    return {
        "id": f"i{number}",
        "group": f"g{number // 3}",
        "prompt": f"Explain {number // 3}",
        "a": "short",
        "b": f"rather a longer text {number}",
        "judges": {"gpt": {"ab": side, "ba": -side, "reason": "clear"}, "other": {"one": side}},
        "main": "gpt",
        "human_label": side,
    } | changes


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in rows))
    return path


def run(table: Path, out: Path, *more: str) -> str:
    told = StringIO()
    call_command("route_replay", str(table), "--out", str(out), *more, stdout=told)
    return told.getvalue()


def test_a_plan_has_a_row_for_each_instance_and_budget(tmp_path: Path) -> None:
    table, out = write(tmp_path / "t.jsonl", [row(n) for n in range(40)]), tmp_path / "plan.jsonl"
    assert "10 labels bought of 40" in run(table, out, "--budget", "0.25", "1", "--strategy", "random", "--seed", "3")
    plan = [json.loads(line) for line in out.read_text().splitlines()]
    assert [one["id"] for one in plan] == 2 * [f"i{n}" for n in range(40)]
    assert all(set(one) == {"budget", "id", "source", "n_labels", "p_a", "seed"} for one in plan)
    assert {(one["source"], one["n_labels"]) for one in plan} == {("human", 1), ("judge", 0)}
    assert sum(one["n_labels"] for one in plan if one["budget"] == 0.25) == 10
    assert {one["seed"] for one in plan} == {3}


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    table = write(tmp_path / "t.jsonl", [row(n) for n in range(60)])
    for name in ("one", "two"):
        run(table, tmp_path / name, "--budget", "0.5", "--seed", "1")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (row(1, human_label=2), "line 2, human_label: '2' is not 1"),
        (row(1, human_label=True), "human_label"),
        (row(1, main="nobody"), "line 2, main: 'nobody' is none of this row's judges"),
        (row(1, judges={"gpt": {"ab": 0.5}}), "judges.gpt.ab"),
        (row(1, judges={"gpt": {"sideways": 1}}), "judges.gpt.sideways: is not known"),
        (row(1, judges=[]), "judges: must be an object"),
        (row(1, id="i0"), "is on line 1 already"),
        (row(1, prompt=7), "prompt: must be text"),
        ({k: v for k, v in row(1).items() if k != "group"}, "line 2, group: is missing"),
        ("{not json", "line 2"),
    ],
)
def test_a_bad_row_is_refused_with_line_field_and_reason(tmp_path: Path, bad: Any, told: str) -> None:
    table, out = write(tmp_path / "t.jsonl", [row(0), bad, row(2)]), tmp_path / "plan.jsonl"
    with pytest.raises(CommandError) as error:
        run(table, out, "--budget", "0.5")
    assert told in str(error.value)
    assert not out.exists()


@pytest.mark.parametrize(("budget", "told"), [("1.5", "between 0"), ("nan", "between 0"), ("-1", "between 0")])
def test_a_budget_outside_zero_and_one_is_refused(tmp_path: Path, budget: str, told: str) -> None:
    table = write(tmp_path / "t.jsonl", [row(0)])
    with pytest.raises(CommandError, match=told):
        run(table, tmp_path / "plan.jsonl", f"--budget={budget}")


def test_a_table_that_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    for table in (tmp_path / "none.jsonl", write(tmp_path / "empty.jsonl", [])):
        with pytest.raises(CommandError, match=table.name):
            run(table, tmp_path / "plan.jsonl", "--budget", "0.5")


def test_an_abstention_is_no_fault(tmp_path: Path) -> None:
    table = write(tmp_path / "t.jsonl", [row(n, judges={"gpt": {"ab": None}}) for n in range(9)])
    run(table, tmp_path / "plan.jsonl", "--budget", "0", "--strategy", "all_judge")
    assert all(json.loads(line)["p_a"] == 0.5 for line in (tmp_path / "plan.jsonl").read_text().splitlines())


def test_ids_may_be_numbers_and_come_back_as_they_were(tmp_path: Path) -> None:
    table = write(tmp_path / "t.jsonl", [row(n, id=n, group=n // 3) for n in range(9)])
    run(table, tmp_path / "plan.jsonl", "--budget", "0.5")
    assert [json.loads(line)["id"] for line in (tmp_path / "plan.jsonl").read_text().splitlines()] == list(range(9))
