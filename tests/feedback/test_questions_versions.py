"""Changing the questions of a live task: versions, what it means for answers, and work under way."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from feedback.content import Shown
from feedback.exceptions import AnswersMisfit, InvalidInput
from feedback.models import Annotation, Assignment, QuestionsVersion
from feedback.question_changes import carry_over, same_form
from feedback.questions import parse_questions
from feedback.services import questions, queue, tasks
from tests.conftest import QUESTIONS, Cast

TOPIC: dict[str, Any] = {"kind": "choice", "name": "topic", "title": "Topic?", "options": ["maths", "law"]}
BOTH = [*QUESTIONS, TOPIC]


def label(cast: Cast, user: Any = None, **answers: Any) -> Annotation:
    lent = queue.next_assignment(cast.task, user or cast.annotator)
    said = {"overall": {"value": "tie"}} | answers
    return queue.submit(lent, submission_id=uuid4(), answers=said, active_ms=0)[0]


def ask(cast: Cast, asked: list[dict[str, Any]], **more: Any) -> None:
    cast.task = tasks.edit_task(cast.task, actor=cast.owner, questions=asked, **more)


def test_every_version_can_be_read_back(cast: Cast) -> None:
    first = cast.task.questions
    ask(cast, BOTH)
    ask(cast, [TOPIC])
    assert [row.number for row in QuestionsVersion.objects.order_by("number")] == [1, 2, 3]
    assert cast.task.questions_version == 3
    assert cast.task.questions_of(1) == first
    assert [question["name"] for question in cast.task.questions_of(2)] == ["overall", "topic"]
    with pytest.raises(QuestionsVersion.DoesNotExist):
        cast.task.questions_of(4)


def test_the_same_questions_are_no_new_version(cast: Cast) -> None:
    ask(cast, cast.task.questions)
    assert cast.task.questions_version == 1
    assert QuestionsVersion.objects.count() == 1


def test_wording_is_told_from_form() -> None:
    one, reworded, changed = parse_questions(
        [TOPIC, TOPIC | {"name": "b", "title": "Field?"}, TOPIC | {"name": "c", "options": ["maths", "art"]}]
    )
    assert same_form(one, reworded.model_copy(update={"name": "topic"}))
    assert not same_form(one, changed.model_copy(update={"name": "topic"}))


def test_the_impact_counts_answers_by_question(cast: Cast) -> None:
    ask(cast, BOTH)
    label(cast, topic={"values": ["law"]})
    label(cast, topic={"values": ["maths"]})
    queue.next_assignment(cast.task, cast.manager)
    note = {"kind": "critique", "name": "note", "title": "Why?", "required": True}
    new = [QUESTIONS[0] | {"title": "Which one?"}, TOPIC | {"options": ["maths", "art"]}, note]
    found = questions.impact_of(cast.task, new)
    rows = {one.name: one for one in found.questions}
    assert (found.annotations, found.total, found.lent) == (2, 2, 1)
    assert {name: (one.change, one.answers, one.misfits, one.unanswered) for name, one in rows.items()} == {
        "overall": ("reworded", 2, 0, 0),
        "topic": ("changed", 2, 1, 0),
        "note": ("new", 0, 0, 2),
    }
    assert found.misfits == {"topic": 1}
    gone = questions.impact_of(cast.task, QUESTIONS)
    assert [(one.name, one.change, one.answers) for one in gone.questions][1:] == [("topic", "removed", 2)]


def test_the_impact_counts_whom_a_condition_that_is_taken_off_had_spared(cast: Cast) -> None:
    why = {"kind": "choice", "name": "why", "title": "Why?", "options": ["a", "b"], "required": True}
    asked_of_ties = why | {"when": {"question": "overall", "values": ["both-bad"]}}
    ask(cast, [*QUESTIONS, asked_of_ties])
    label(cast)
    for before, after, unanswered in ((asked_of_ties, why, 1), (why, why, 0), (why, asked_of_ties, 0)):
        cast.task.questions = [*QUESTIONS, before]
        cast.task.__dict__.pop("parsed_questions", None)
        found = {one.name: one for one in questions.impact_of(cast.task, [*QUESTIONS, after]).questions}
        assert found["why"].unanswered == unanswered


def test_a_change_that_breaks_answers_needs_a_word(cast: Cast) -> None:
    ask(cast, BOTH)
    kept = label(cast, topic={"values": ["law"]})
    narrower = [*QUESTIONS, TOPIC | {"options": ["maths", "art"]}]
    with pytest.raises(AnswersMisfit) as error:
        ask(cast, narrower)
    assert error.value.errors == {"topic": "1 stored answers no longer fit."}
    cast.task.refresh_from_db()
    assert cast.task.questions_version == 2
    ask(cast, narrower, accept_misfits=True)
    kept.refresh_from_db()
    assert (cast.task.questions_version, kept.questions_version) == (3, 2)
    assert kept.answers["topic"]["values"] == ["law"]


def test_a_change_that_was_not_checked_against_all_answers_needs_a_word(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(cast, BOTH)
    label(cast, topic={"values": ["law"]})
    label(cast, topic={"values": ["law"]})
    monkeypatch.setattr(questions, "COUNTED", 1)
    wider = [*QUESTIONS, TOPIC | {"options": ["maths", "law", "art"]}]
    with pytest.raises(AnswersMisfit) as error:
        ask(cast, wider)
    assert error.value.errors == {"questions": "1 older annotations were not looked at."}
    ask(cast, [QUESTIONS[0] | {"title": "Which one?"}, TOPIC])  # in other words only: nothing to check


def test_another_kind_under_the_same_name_is_refused_even_so(cast: Cast) -> None:
    label(cast)
    with pytest.raises(InvalidInput, match="not right"):
        ask(cast, [TOPIC | {"name": "overall"}], accept_misfits=True)


def test_a_page_that_is_open_finishes_under_the_questions_it_showed(cast: Cast) -> None:
    lent = queue.next_assignment(cast.task, cast.annotator)
    ask(cast, BOTH)
    begun = Assignment.objects.select_related("task", "instance").get(pk=lent.pk)
    assert [question["name"] for question in begun.questions] == ["overall"]
    said = {"overall": {"value": "tie"}}
    annotation, _ = queue.submit(begun, submission_id=uuid4(), answers=said, active_ms=0)
    assert annotation.questions_version == 1


def test_opened_again_it_asks_the_present_questions_and_keeps_what_fits(cast: Cast) -> None:
    ask(cast, BOTH)
    lent = queue.next_assignment(cast.task, cast.annotator)
    said = {"overall": {"value": "tie"}, "topic": {"values": ["law"]}}
    version = queue.save_draft(lent, version=0, answers=said, active_ms=0)
    ask(cast, [QUESTIONS[0] | {"title": "Which one?"}, TOPIC | {"options": ["maths", "art"]}])
    again = queue.next_assignment(cast.task, cast.annotator)
    assert again.pk == lent.pk
    assert (again.questions_version, again.draft_version) == (3, version + 1)
    assert again.draft == {"overall": {"value": "tie"}}
    assert again.set_aside == {"topic": {"values": ["law"]}}
    with pytest.raises(InvalidInput):
        queue.submit(again, submission_id=uuid4(), answers=said, active_ms=0)


def test_carrying_over_asks_unknown_answers_whether_they_fit() -> None:
    asked = parse_questions([TOPIC])
    said = {"topic": {"values": ["law"]}, "gone": {"value": "tie"}}
    assert carry_over([], asked, said, Shown(["x", "y"])) == ({"topic": said["topic"]}, {"gone": said["gone"]})
    wrong = {"topic": {"values": ["sport"]}}
    assert carry_over([], asked, wrong, Shown(["x", "y"])) == ({}, wrong)
