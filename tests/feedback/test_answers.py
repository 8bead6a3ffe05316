"""What may be asked, and what fits as an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.utils.translation import override

from annotate.languages import said
from feedback.answers import check_answers
from feedback.content import Shown
from feedback.formats.shape_table import ordering_question
from feedback.models import Task
from feedback.questions import InvalidAnswer, InvalidQuestions, leading_question, parse_questions
from feedback.services.disagreeing import question_of
from feedback.wording import Sentence

PREFERENCE = {"kind": "preference", "name": "overall", "title": "Which is better?"}
RANKING = {"kind": "ranking", "name": "order", "title": "Order them"}
RATING = {
    "kind": "rating",
    "name": "quality",
    "title": "Rate them",
    "scales": [{"name": "helpful"}, {"name": "true", "low": 1, "high": 100}],
    "widget": "slider",
}
SPAN = {"kind": "span", "name": "errors", "title": "Mark", "types": [{"name": "Wrong"}]}
CRITIQUE = {"kind": "critique", "name": "critique", "title": "What is wrong?"}
SAFE = {"kind": "choice", "name": "safe", "title": "Is it safe?", "options": ["yes", "no"]}
HARM = {
    "kind": "choice",
    "name": "harm",
    "title": "What is harmful?",
    "options": ["violence", "self-harm", "other"],
    "multiple": True,
    "when": {"question": "safe", "values": ["no"]},
}
HOW = {
    "kind": "choice",
    "name": "how",
    "title": "How bad?",
    "options": ["little", "very"],
    "when": {"question": "harm", "values": ["violence", "other"]},
}


def errors_of(questions: list[Any], answers: Any, n: int = 3, *, partial: bool = False) -> dict[str, str]:
    try:
        check_answers(parse_questions(questions), answers, Shown(["text"] * n), partial=partial)
    except InvalidAnswer as error:
        return error.errors
    return {}


def refused(questions: list[Any]) -> dict[str, str]:
    with pytest.raises(InvalidQuestions) as caught:
        parse_questions(questions)
    return caught.value.errors


def test_a_condition_names_an_earlier_choice_and_its_options() -> None:
    assert parse_questions([SAFE, HARM, HOW])
    assert refused([HARM, SAFE]) == {"harm.when": "no choice or preference before it is named 'safe'"}
    assert refused([HARM]) == {"harm.when": "no choice or preference before it is named 'safe'"}
    itself = HARM | {"when": {"question": "harm", "values": ["other"]}}
    assert refused([itself]) == {"harm.when": "no choice or preference before it is named 'harm'"}
    of_a_rating = HARM | {"when": {"question": "quality", "values": ["5"]}}
    assert refused([RATING, of_a_rating]) == {"harm.when": "no choice or preference before it is named 'quality'"}
    maybe = HARM | {"when": {"question": "safe", "values": ["no", "maybe"]}}
    assert refused([SAFE, maybe]) == {"harm.when": "'safe' has no value 'maybe', only yes, no"}


def test_conditions_cannot_go_round_in_a_circle() -> None:
    first = SAFE | {"when": {"question": "harm", "values": ["other"]}}
    assert "safe.when" in refused([first, HARM])


def test_options_and_scales_are_told_apart() -> None:
    assert refused([SAFE | {"options": ["yes", "yes"]}]) == {"0.choice": "two options are the same"}
    twice = RATING | {"scales": [{"name": "helpful"}, {"name": "helpful"}]}
    assert refused([twice]) == {"0.rating": "two scales have the same name"}


def test_a_scale_has_labels_for_its_ends_or_for_all_values_and_fits_its_widget() -> None:
    three = RATING | {"scales": [{"name": "helpful", "labels": ["bad", "fair", "good"]}]}
    assert refused([three]) == {"0.rating.scales.0": "needs no labels, 2 for the ends, or 5 for all values"}
    assert refused([RATING | {"widget": "likert"}]) == {
        "0.rating": "'true' has 100 values; more than 11 need the slider"
    }


def test_a_condition_that_is_met_asks_and_one_that_is_not_refuses() -> None:
    questions = [SAFE, HARM, HOW]
    no, violence = {"values": ["no"]}, {"values": ["violence"]}
    assert errors_of(questions, {"safe": {"values": ["yes"]}}) == {}
    assert errors_of(questions, {"safe": no}) == {"harm": "an answer is required"}
    assert errors_of(questions, {"safe": no, "harm": {"values": ["self-harm"]}}) == {}
    assert errors_of(questions, {"safe": no, "harm": violence}) == {"how": "an answer is required"}
    assert errors_of(questions, {"safe": no, "harm": violence, "how": {"values": ["very"]}}) == {}


@pytest.mark.parametrize("partial", [False, True])
def test_an_answer_to_a_question_that_is_not_asked_is_refused(partial: bool) -> None:
    answers = {"safe": {"values": ["yes"]}, "harm": {"values": ["other"]}}
    assert errors_of([SAFE, HARM], answers, partial=partial) == {"harm": "is asked only when safe is one of: no"}
    hostile = {"safe": {"values": [["no"], {"no": 1}]}, "harm": {"values": ["other"]}}
    assert "harm" in errors_of([SAFE, HARM], hostile, partial=partial)


ANSWERED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (PREFERENCE | {"name": "second"}, {"value": "tie"}),
    (RANKING, {"groups": [[1], [0]]}),
    (RATING, {"ratings": {"helpful": [1, 2], "true": [1, 2]}}),
    (SPAN, {"spans": [{"target": 0, "start": 0, "end": 2, "type": "Wrong"}]}),
    (CRITIQUE, {"critiques": ["bad", ""]}),
    (HARM, {"values": ["other"]}),
]


@pytest.mark.parametrize(("question", "answer"), ANSWERED, ids=[one["kind"] for one, _ in ANSWERED])
def test_a_question_of_any_kind_may_depend_on_an_earlier_preference(question: Any, answer: Any) -> None:
    last = question | {"required": True, "when": {"question": "overall", "values": ["tie", "both-bad"]}}
    questions, name = [PREFERENCE, last], question["name"]
    tie, better = {"overall": {"value": "tie"}}, {"overall": {"value": "a-is-clearly-better"}}
    assert errors_of(questions, tie, n=2) == {name: "an answer is required"}
    assert errors_of(questions, tie | {name: answer}, n=2) == {}
    assert errors_of(questions, better, n=2) == {}
    words = "is asked only when overall is one of: tie, both-bad"
    assert errors_of(questions, better | {name: answer}, n=2) == {name: words}
    assert errors_of(questions, better | {name: answer}, n=2, partial=True) == {name: words}
    assert refused([last, PREFERENCE]) == {f"{name}.when": "no choice or preference before it is named 'overall'"}
    other = last | {"when": {"question": "overall", "values": ["cannot-judge"]}}
    assert refused([PREFERENCE, other])[f"{name}.when"].startswith("'overall' has no value 'cannot-judge', only a-is")


def test_the_question_that_judges_answer_has_no_condition() -> None:
    task = Task(questions=[SAFE, PREFERENCE | {"when": {"question": "safe", "values": ["yes"]}}])
    assert task.preference_question is None
    task = Task(questions=[*task.questions, PREFERENCE | {"name": "always"}])
    assert task.preference_question is not None
    assert task.preference_question.name == "always"


def test_the_question_that_everybody_is_asked_counts_everywhere() -> None:
    when = {"when": {"question": "safe", "values": ["yes"]}}
    task = Task(questions=[SAFE, PREFERENCE | when, RANKING | when, RANKING | {"name": "ranked"}])
    assert ordering_question(task.parsed_questions) == question_of(task) == task.parsed_questions[1]  # the only one
    assert leading_question(task.parsed_questions, "ranking") == task.parsed_questions[3]
    task = Task(questions=[*task.questions, PREFERENCE | {"name": "always"}, PREFERENCE | {"name": "again"}])
    everywhere = [ordering_question(task.parsed_questions), question_of(task), task.preference_question]
    assert [found and found.name for found in everywhere] == ["always"] * 3


def test_a_sentence_remembers_its_pattern() -> None:
    errors = errors_of([RANKING], {"order": {"groups": [[1]]}})
    words = errors["order.groups"]
    assert isinstance(words, Sentence)
    assert (words, words.pattern, words.values) == (
        "all 3 completions must be ranked",
        "all %(n)s completions must be ranked",
        {"n": 3},
    )
    with override("de"):
        assert said(words) == "alle 3 Modellantworten müssen eingeordnet werden"
    assert json.loads(json.dumps(errors)) == {"order.groups": "all 3 completions must be ranked"}


def test_a_preference_is_asked_of_two_completions_only() -> None:
    ranked = {"order": {"groups": [[1], [0, 2]]}}
    assert errors_of([PREFERENCE, RANKING], ranked, n=3) == {}
    assert errors_of([PREFERENCE, RANKING], {"order": {"groups": [[1], [0]]}}, n=2) == {
        "overall": "an answer is required"
    }
    both = {**ranked, "overall": {"value": "tie"}}
    assert errors_of([PREFERENCE, RANKING], both) == {
        "overall": "a preference needs 2 completions, this instance has 3"
    }


def test_nothing_can_be_submitted_where_nothing_is_asked() -> None:
    assert errors_of([PREFERENCE], {}, n=3) == {"answers": "nothing is asked of this instance; skip it"}
    assert errors_of([PREFERENCE], {}, n=3, partial=True) == {}


def test_a_required_rating_has_a_value_for_every_scale_and_completion() -> None:
    whole = {"helpful": [1, 5, 3], "true": [100, 1, 50]}
    assert errors_of([RATING], {"quality": {"ratings": whole}}) == {}
    gap = {"quality": {"ratings": whole | {"true": [100, None, 50]}}}
    assert errors_of([RATING], gap) == {"quality.ratings.true": "every completion needs a value"}
    missing = {"quality": {"ratings": {"helpful": [1, 5, 3]}}}
    assert errors_of([RATING], missing) == {"quality.ratings.true": "every completion needs a value"}
    assert set(errors_of([RATING], {"quality": {"ratings": {}}})) == {"quality.ratings.helpful", "quality.ratings.true"}
    for unfinished in (gap, missing):
        assert errors_of([RATING], unfinished, partial=True) == {}
        assert errors_of([RATING | {"required": False}], unfinished) == {}


def test_a_rating_of_the_instance_has_one_value_for_each_scale() -> None:
    whole = RATING | {"per": "instance"}
    assert errors_of([whole], {"quality": {"ratings": {"helpful": [3], "true": [70]}}}) == {}
    assert errors_of([whole], {"quality": {"ratings": {"helpful": [None], "true": [70]}}}) == {
        "quality.ratings.helpful": "the instance needs a value"
    }
    assert errors_of([whole], {"quality": {"ratings": {"helpful": [3, 3, 3], "true": [101]}}}) == {
        "quality.ratings.helpful": "needs 1 values, has 3",
        "quality.ratings.true": "values run from 1 to 100",
    }


@pytest.mark.parametrize(
    ("answer", "path"),
    [
        ({"groups": [[0], [1]]}, "order.groups"),
        ({"groups": [[0], [1], [3]]}, "order.groups"),
        ({"groups": [[0], [1], [-1]]}, "order.groups"),
        ({"groups": [[0], [1], [1, 2]]}, "order.groups"),
        ({"groups": [[0, 1, 2], []]}, "order.groups"),
        ({"groups": []}, "order.groups"),
        ({"groups": [[0, 1, 2]], "unacceptable": [3]}, "order.unacceptable"),
        ({"groups": [[0, 1, 2]], "unacceptable": [1, 1]}, "order.unacceptable"),
    ],
)
def test_a_ranking_that_does_not_fit_is_refused(answer: Any, path: str) -> None:
    assert list(errors_of([RANKING], {"order": answer})) == [path]


def test_a_ranking_follows_what_its_question_allows() -> None:
    some = RANKING | {"allow_partial": True}
    assert errors_of([some], {"order": {"groups": [[2]]}}) == {}
    assert errors_of([some], {"order": {"groups": [], "unacceptable": [0, 1, 2]}}) == {}
    assert errors_of([some], {"order": {"groups": []}}) == {"order.groups": "rank at least one completion"}
    strict = RANKING | {"allow_ties": False, "allow_unacceptable": False}
    assert errors_of([strict], {"order": {"groups": [[0, 1], [2]], "unacceptable": [2]}}) == {
        "order.groups": "this question does not allow ties",
        "order.unacceptable": "this question does not ask for unacceptable completions",
    }


def test_a_required_choice_is_not_empty() -> None:
    several = SAFE | {"multiple": True}
    assert errors_of([several], {"safe": {"values": []}}) == {"safe.values": "choose at least one option"}
    assert errors_of([several | {"required": False}], {"safe": {"values": []}}) == {}
    assert errors_of([SAFE], {"safe": {"values": ["yes", "no"]}}) == {"safe.values": "choose one option"}


def test_a_name_with_a_line_end_is_no_name() -> None:
    with pytest.raises(InvalidQuestions):
        parse_questions([{"kind": "choice", "name": "x\n", "title": "?", "options": ["a", "b"]}])
