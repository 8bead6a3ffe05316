"""Figures by mark, RewardBench's weights, the spread of heads and what was forgotten, against numbers by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.training.tiny_models import write_rows
from training.engine.marks import read_marks
from training.evaluation.accuracy import ScoredPair, slices
from training.evaluation.forgetting import Text, forgetting
from training.evaluation.rewardbench import SECTIONS, section_scores, weighted_mean
from training.evaluation.spread import ensemble_spread


def pair(number: int, *, right: bool, **marks: tuple[str, ...]) -> ScoredPair:
    return ScoredPair(str(number), f"p{number}", "test", float(right), float(not right), 1.0, 5, 5, marks)


def test_a_pair_counts_in_the_slice_of_each_of_its_marks() -> None:
    pairs = [pair(1, right=True, language=("de",), tag=("code", "short")), pair(2, right=False, tag=("code",))]
    found = slices(pairs)
    assert found["language"]["de"]["accuracy"] == 1
    assert (found["tag"]["code"]["accuracy"], found["tag"]["short"]["pairs"]) == (0.5, 1)


def test_of_a_mark_with_many_values_the_most_frequent_are_kept() -> None:
    pairs = [pair(n, right=True, tag=(f"t{n:02}", "all")) for n in range(60)]
    kept = slices(pairs)["tag"]
    assert len(kept) == 40
    assert "all" in kept


def test_marks_are_read_under_the_names_that_sets_use(tmp_path: Path) -> None:
    rows = [{"id": 3, "lang": "de", "tags": ["a", 1, " b "]}, {"subset": "hep-go"}, {"id": "none", "language": ""}]
    path = tmp_path / "rows.jsonl"
    write_rows(path, rows)
    wanted = {"3", "rows.jsonl line 2", "none"}
    assert read_marks(path, wanted) == {
        "3": {"language": ("de",), "tag": ("a", "b")},
        "rows.jsonl line 2": {"subset": ("hep-go",)},
    }
    assert set(read_marks(path, {"3"})) == {"3"}


def test_a_section_is_weighted_by_the_counts_of_the_benchmark() -> None:
    assert SECTIONS["Safety"]["xstest-should-refuse"] == 154
    assert SECTIONS["Safety"]["xstest-should-respond"] == 250
    assert SECTIONS["Reasoning"]["math-prm"] == sum(
        n for name, n in SECTIONS["Reasoning"].items() if name != "math-prm"
    )
    safety = weighted_mean({"xstest-should-refuse": 1.0, "xstest-should-respond": 0.0}, SECTIONS["Safety"])
    assert safety == pytest.approx(154 / 404)
    assert weighted_mean({"other": 1.0}, SECTIONS["Safety"]) is None


def test_the_score_is_the_mean_of_four_sections_and_needs_every_subset() -> None:
    names = [name for section in SECTIONS.values() for name in section]
    right = {"Chat", "Safety"}
    pairs = [
        pair(place, right=next(s for s, subsets in SECTIONS.items() if name in subsets) in right, subset=(name,))
        for place, name in enumerate(names)
    ]
    whole = section_scores(pairs)
    assert whole is not None
    assert (whole["score"], whole["missing"]) == (0.5, [])
    part = section_scores([*pairs[1:], pair(99, right=True, subset=("mine",))])
    assert part is not None
    assert (part["score"], part["missing"], part["other"]) == (None, [names[0]], ["mine"])
    assert section_scores([pair(1, right=True)]) is None


def test_heads_that_agree_are_told_from_heads_that_do_not() -> None:
    differences = np.array([[1.0, 3.0], [-1.0, 2.0], [-2.0, -1.0]])
    found = ensemble_spread(differences, np.array([1.0, 1.0, 1.0]))
    assert found is not None
    assert found["unanimous"] == pytest.approx(2 / 3)
    assert (found["accuracy_unanimous"], found["accuracy_split"]) == (0.5, 1.0)
    assert found["mean_sd"] == pytest.approx((2 + 3 + 1) / math.sqrt(2) / 3)
    assert ensemble_spread(differences[:, :1], np.ones(3)) is None


def test_forgetting_is_the_loss_of_log_probability_per_token() -> None:
    found = forgetting([Text("a", 2, -4.0, -2.0), Text("b", 4, -4.0, -4.0), Text("c", 0, 0.0, 0.0)])
    assert found is not None
    assert (found["texts"], found["tokens"]) == (2, 6)
    assert found["nll"] == pytest.approx(8 / 6)
    assert found["reference_nll"] == pytest.approx(1.0)
    assert found["increase"] == pytest.approx(0.5)
    assert found["low"] <= 0.5 <= found["high"]
    assert forgetting([]) is None
