import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.accuracy import (
    ScoredPair,
    accuracy,
    bootstrap_interval,
    length_gap,
    points,
    slices,
    wilson_interval,
)
from training.evaluation.report import evaluate_pairs


def pair(
    chosen: float, rejected: float, *, probability: float = 1.0, prompt: str = "p", **changes: object
) -> ScoredPair:
    fields = {"id": "i", "prompt_id": prompt, "source": "human", "length_chosen": 10, "length_rejected": 10, **changes}
    return ScoredPair(score_chosen=chosen, score_rejected=rejected, probability=probability, **fields)  # type: ignore[arg-type]


def test_points_by_hand() -> None:
    pairs = [pair(2, 1), pair(1, 2), pair(1, 1), pair(1, 2, probability=0.2), pair(5, 1, probability=0.5)]
    assert points(pairs).tolist()[:4] == [1.0, 0.0, 0.5, 1.0]
    assert np.isnan(points(pairs)[4])


def test_accuracy_is_exact_and_says_its_counts() -> None:
    report = accuracy(
        [pair(2, 1, prompt="a"), pair(1, 2, prompt="b"), pair(1, 1, prompt="b"), pair(1, 0, probability=0.5)]
    )
    assert report["accuracy"] == 0.5
    assert (report["correct"], report["pairs"], report["prompts"]) == (1.5, 3, 2)
    assert (report["label_ties"], report["model_ties"]) == (1, 1)


def test_nothing_to_judge_has_no_accuracy() -> None:
    assert accuracy([])["accuracy"] is None
    assert accuracy([pair(1, 0, probability=0.5)])["low"] is None


def test_the_interval_resamples_prompts_and_not_pairs() -> None:
    values = np.array([1.0, 0.0] * 50)
    apart = bootstrap_interval(values, [str(number) for number in range(100)])
    together = bootstrap_interval(values, ["even", "odd"] * 50)
    assert apart[0] is not None
    assert apart[1] is not None
    assert 0.38 < apart[0] < 0.45 < 0.55 < apart[1] < 0.62  # binomial: 0.5 +- 0.098
    assert together == (0.0, 1.0)


def test_the_interval_of_certain_answers_is_a_point() -> None:
    assert bootstrap_interval(np.ones(5), list("abcde")) == (1.0, 1.0)


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5), st.sampled_from("abc")), min_size=1, max_size=30))
def test_swapping_all_scores_turns_the_accuracy_around(rows: list[tuple[float, float, str]]) -> None:
    forward = accuracy([pair(a, b, prompt=p) for a, b, p in rows], resamples=10)
    backward = accuracy([pair(b, a, prompt=p) for a, b, p in rows], resamples=10)
    assert forward["accuracy"] is not None
    assert backward["accuracy"] is not None
    assert forward["accuracy"] + backward["accuracy"] == pytest.approx(1)
    assert forward["low"] is not None
    assert forward["high"] is not None
    assert 0 <= forward["low"] <= forward["high"] <= 1


@pytest.mark.parametrize(
    ("chosen", "rejected", "name"),
    [(10, 10, "similar length"), (10, 8, "similar length"), (10, 7, "chosen longer"), (7, 10, "chosen shorter")],
)
def test_length_gaps_by_name(chosen: int, rejected: int, name: str) -> None:
    assert length_gap(pair(0, 0, length_chosen=chosen, length_rejected=rejected)) == name


def test_slices_partition_the_pairs() -> None:
    pairs = [pair(1, 0), pair(0, 1, source="judge"), pair(1, 0, length_chosen=30)]
    by = slices(pairs)
    assert {name: report["pairs"] for name, report in by["source"].items()} == {"human": 2, "judge": 1}
    assert by["source"]["judge"]["accuracy"] == 0.0
    assert {name: report["pairs"] for name, report in by["length_gap"].items()} == {
        "similar length": 2,
        "chosen longer": 1,
    }


def test_the_whole_report_is_plain_json_even_of_nothing() -> None:
    import json

    for pairs in ([], [pair(1, 0), pair(0, 3)]):
        json.dumps(evaluate_pairs(pairs), allow_nan=False)


def test_wilson_by_hand() -> None:
    assert wilson_interval(1.0, 5) == pytest.approx((0.5655, 1.0), abs=1e-4)
    assert wilson_interval(0.5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)


def test_few_prompts_that_all_agree_are_no_certainty() -> None:
    report = accuracy([pair(2, 1, prompt=name) for name in "abcde"])
    assert (report["low"], report["high"]) == pytest.approx((0.5655, 1.0), abs=1e-4)
