"""From votes to one preference per pair, by hand and against the array aggregation."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.aggregation import Votes, majority
from feedback.preferences import TIE, A, B, Comparison, Expansion, Outcome, comparisons, of_source, outcome
from feedback.questions import parse_questions
from tests.conftest import QUESTIONS


def vote(strength: int | None, source: str = "human", **more: Any) -> Comparison:
    return Comparison(1, source, strength, **more)


def test_majority_share_strength_and_agreement_by_hand() -> None:
    found = outcome([vote(-2), vote(-1), vote(1)])
    assert isinstance(found, Outcome)
    assert (found.label, found.split) == (A, False)
    assert found.p_a == pytest.approx(2 / 3)
    assert found.strength == pytest.approx(-2 / 3)
    assert found.agreement == pytest.approx(2 / 3)


def test_a_shared_first_place_is_a_tie() -> None:
    found = outcome([vote(-2), vote(2)])
    assert isinstance(found, Outcome)
    assert (found.label, found.split, found.p_a) == (TIE, True, 0.5)


@pytest.mark.parametrize(
    ("said", "minimum", "why"),
    [
        ([], 1, "too few annotations"),
        ([vote(1)], 2, "too few annotations"),
        ([vote(None)], 1, "cannot judge"),
        ([vote(None, both_bad=True)], 1, "both bad"),
        ([vote(None, both_bad=True), vote(None, both_bad=True), vote(1)], 1, "both bad"),
    ],
)
def test_a_pair_without_a_preference_says_why(said: list[Comparison], minimum: int, why: str) -> None:
    assert outcome(said, minimum=minimum) == why


def test_both_bad_from_half_keeps_the_pair() -> None:
    found = outcome([vote(None, both_bad=True), vote(1)])
    assert isinstance(found, Outcome)
    assert (found.label, len(found.used)) == (B, 1)


def test_a_judges_own_probability_is_the_soft_label() -> None:
    found = outcome([vote(-2, "judge", p_a=0.83)])
    assert isinstance(found, Outcome)
    assert found.p_a == 0.83


def test_probabilities_on_the_other_side_of_the_majority_do_not_count() -> None:
    said = [vote(-1, "judge", p_a=0.55), vote(-1, "judge", p_a=0.55), vote(2, "judge", p_a=0.01)]
    found = outcome(said)
    assert isinstance(found, Outcome)
    assert found.label == A
    assert found.p_a == pytest.approx(2 / 3)


def test_people_go_before_the_judge() -> None:
    said = [vote(1), vote(-1, "judge"), vote(1, "simulated")]
    assert [one.source for one in of_source(said, "any")] == ["human", "simulated"]
    assert [one.source for one in of_source(said, "judge")] == ["judge"]
    assert [one.source for one in of_source(said[1:2], "any")] == ["judge"]
    assert of_source(said[1:2], "human") == []


def test_a_ranking_speaks_of_every_ranked_pair() -> None:
    [question] = parse_questions([{"kind": "ranking", "name": "rank", "title": "Rank", "allow_partial": True}])
    found = comparisons(question, {"rank": {"groups": [[2], [0, 1]]}}, 4)
    assert found == {(0, 1): (0, False), (0, 2): (1, False), (1, 2): (1, False)}


@pytest.mark.parametrize(
    ("rule", "pairs"),
    [
        ("all", {(0, 1): 0, (0, 2): 1, (0, 3): -1, (1, 2): 1, (1, 3): -1, (2, 3): -1}),
        ("adjacent", {(0, 1): 0, (0, 2): 1, (0, 3): -1, (1, 2): 1, (1, 3): -1}),
        ("best-worst", {(2, 3): -1}),
    ],
)
def test_a_rule_says_which_pairs_a_ranking_gives(rule: Expansion, pairs: dict[tuple[int, int], int]) -> None:
    [question] = parse_questions([{"kind": "ranking", "name": "rank", "title": "Rank", "allow_partial": True}])
    found = comparisons(question, {"rank": {"groups": [[2], [0, 1], [3]]}}, 5, rule)
    assert found == {pair: (strength, False) for pair, strength in pairs.items()}


def test_the_best_of_one_rank_is_not_compared_with_the_worst() -> None:
    [question] = parse_questions([{"kind": "ranking", "name": "rank", "title": "Rank"}])
    assert comparisons(question, {"rank": {"groups": [[0, 1, 2]]}}, 3, "best-worst") == {}


def test_an_answer_of_an_earlier_question_is_none() -> None:
    [question] = parse_questions(QUESTIONS)
    assert comparisons(question, {"other": {"value": "tie"}}, 2) is None
    assert comparisons(question, {"overall": {"value": "a-is-overwhelmingly-better"}}, 2) is None
    assert comparisons(question, {"overall": {"value": "tie"}}, 3) is None


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=9))
def test_the_majority_is_that_of_the_array_aggregation(strengths: list[int]) -> None:
    found = outcome([vote(strength) for strength in strengths])
    labels = [1 + (one > 0) - (one < 0) for one in strengths]
    other = majority(Votes.of([0] * len(labels), range(len(labels)), labels, n_labels=3))
    assert isinstance(found, Outcome)
    assert found.split == bool(other.tied[0])
    if not found.split:
        assert found.label == other.label[0]
    assert found.p_a == pytest.approx(other.soft[0, A] + other.soft[0, TIE] / 2)


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=9))
def test_swapping_the_completions_swaps_the_outcome(strengths: list[int]) -> None:
    one, other = (outcome([vote(sign * strength) for strength in strengths]) for sign in (1, -1))
    assert isinstance(one, Outcome)
    assert isinstance(other, Outcome)
    assert other.label == 2 - one.label
    assert other.strength == pytest.approx(-one.strength)
    assert other.p_a == pytest.approx(1 - one.p_a)
