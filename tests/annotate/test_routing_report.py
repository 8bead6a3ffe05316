"""The routing report: what a recorded set becomes, what is measured, what is written."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from annotate.routing_report.page import told_apart
from annotate.routing_report.recorded import recorded_set
from annotate.routing_report.replaying import _oracle, over_prompts, rightness


def make_set(folder: Path, questions: int = 12) -> Path:
    """A folder in MT-Bench's layout: three models, two people, a judge whose orders sometimes disagree."""
    models = ("ant", "bee", "cat")
    (folder / "model_answer").mkdir(parents=True)
    votes, verdicts, prompts = [], [], []
    for number in range(questions):
        prompts.append({"question_id": number, "category": "x", "turns": [f"Question {number}?", "And then?"]})
        for n, (one, other) in enumerate((("ant", "bee"), ("ant", "cat"), ("bee", "cat"))):
            row = {"model_a": one, "model_b": other, "question_id": number, "turn": 1}
            votes += [row | {"judge": f"person-{k}", "winner": "model_b"} for k in range(3)]
            judged = ("model_b", "model_a", "tie (inconsistent)")[(number + n) % 3]
            verdicts.append(row | {"judge": "gpt4_pair", "winner": judged})
    for place, model in enumerate(models):
        answers = [
            {"question_id": n, "model_id": model, "choices": [{"turns": ["word " * (place + 1) * (n + 2), "more"]}]}
            for n in range(questions)
        ]
        write(folder / "model_answer" / f"{model}.jsonl", answers)
    write(folder / "human.jsonl", votes)
    write(folder / "gpt4_pair.jsonl", verdicts)
    write(folder / "question.jsonl", prompts)
    return folder


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def test_a_set_becomes_rows_with_both_orders_and_everybodys_sides(tmp_path: Path) -> None:
    known = recorded_set(make_set(tmp_path / "set"), "gpt-4", panel=False)
    assert len(known.rows) == 36
    assert known.people[0] == (-1, -1, -1)
    assert known.rows[0].judges == {"gpt-4": (-1, -1)}
    assert known.rows[2].judges == {"gpt-4": (1, -1)}
    assert len({row.group for row in known.rows}) == 12
    labels, truth = known.draw(0)
    assert labels == [-1] * 36
    assert (truth == -1).all()


def test_a_judge_that_annotated_nothing_is_refused(tmp_path: Path) -> None:
    from feedback.exceptions import InvalidInput

    with pytest.raises(InvalidInput, match="nobody"):
        recorded_set(make_set(tmp_path / "set"), "nobody", panel=False)


def test_rightness_gives_half_for_an_even_chance() -> None:
    assert rightness(np.array([0.9, 0.5, 0.1]), np.array([1, 1, 1])).tolist() == [1.0, 0.5, 0.0]


def test_the_oracle_buys_only_where_the_person_is_right_and_the_judge_is_not() -> None:
    human, judge = np.array([1.0, 1.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0, 0.5])
    share, right = _oracle(human, judge, 4)
    assert (share, right.tolist()) == (0.5, [1.0, 1.0, 1.0, 1.0])
    assert _oracle(human, judge, 1)[1].tolist() == [1.0, 1.0, 1.0, 0.5]


def test_an_interval_is_over_prompts_and_not_over_items() -> None:
    total, count = np.repeat([1.0, 0.0], 50), np.ones(100)
    two = over_prompts(total, count, np.repeat([0, 1], 50))
    assert (two.value, two.low, two.high) == (0.5, 0.0, 1.0)
    many = over_prompts(total, count, np.arange(100))
    assert many.high - many.low < 0.25


def test_a_difference_is_told_apart_when_its_interval_leaves_zero_out() -> None:
    assert [told_apart(0.1, 1), told_apart(-1, 1), told_apart(-2, -1)] == ["better", "not told apart", "worse"]


def test_the_quick_report_prints_and_writes_both_parts(settings: Any, tmp_path: Path) -> None:
    settings.VAR_DIR = tmp_path / "var"
    told = StringIO()
    call_command("routing_report", "--quick", "--data", str(make_set(tmp_path / "sets" / "one").parent), stdout=told)
    known = json.loads((tmp_path / "var" / "reports" / "routing.json").read_text())
    page = (tmp_path / "var" / "reports" / "routing.html").read_text()
    assert {line["strategy"] for line in known["replay"]} >= {"adaptive_advantage", "random", "oracle", "disagreement"}
    assert {line["strategy"] for line in known["simulation"]} >= {"adaptive_advantage", "hyper_topk", "oracle"}
    assert "one, gpt-4 routed, it alone as evidence" in told.getvalue()
    assert "36 instances of 12 prompts, 36 with a truth" in page
    assert "<svg" in page
    assert "http" not in page.replace("http-equiv", "")
    assert {line["model"] for line in known["prediction"]} >= {"gp", "ridge", "linear_ols", "quadratic_ols"}
    claims = {line["claim"].split()[0] for line in known["claims"]}
    assert claims == {"C1", "C2", "C3", "C4", "C5", "C8", "C10"}
    assert known["replication"][0]["data"] == "one"
    assert {line["tag"] for line in known["gains"]} == {"alike completions"}  # few tags are carried by thirty here
    ours = next(one for one in known["replay"] if (one["strategy"], one["offered"]) == ("adaptive_advantage", 0.5))
    assert ours["spent"] <= 0.5
    assert ours["right"]["low"] <= ours["right"]["value"] <= ours["right"]["high"]


def test_a_folder_of_sets_is_its_sets_and_a_set_is_itself(tmp_path: Path) -> None:
    from annotate.management.commands.routing_report import sets_of

    one, two = make_set(tmp_path / "sets" / "one"), make_set(tmp_path / "sets" / "two")
    assert sets_of(tmp_path / "sets") == [one, two]
    assert sets_of(one) == [one]


def test_a_folder_without_a_known_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="None of these"):
        call_command("routing_report", "--quick", "--data", str(tmp_path))
