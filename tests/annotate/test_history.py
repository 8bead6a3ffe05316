"""A person's own annotations: all of them, a page at a time, with what they said before."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from feedback.models import Annotation, Assignment
from feedback.services import queue, revisiting, tasks
from tests.conftest import QUESTIONS, Cast, make_cast, make_instances


def annotate(cast: Cast, task: Any = None, value: str = "tie") -> Any:
    lent = queue.next_assignment(task or cast.task, cast.annotator)
    return queue.submit(lent, submission_id=uuid4(), answers={"overall": {"value": value}}, active_ms=0)[0]


@pytest.fixture
def history(db: None, monkeypatch: Any) -> tuple[Cast, list[str]]:
    """Seven annotations of one person, newest first, three to a page."""
    monkeypatch.setattr(revisiting, "PAGE", 3)
    cast = make_cast(instances=7, overlap=2)
    made = [annotate(cast) for _ in range(7)]
    for age, row in enumerate(reversed(made)):
        Annotation.objects.filter(pk=row.pk).update(submitted_at=timezone.now() - timedelta(minutes=age))
    return cast, [str(row.public_id) for row in reversed(made)]


def ids(response: Any) -> list[str]:
    return [str(row["public_id"]) for row in response.context["history"]]


def test_pages_follow_one_another_both_ways(history: tuple[Cast, list[str]], browser: Any) -> None:
    cast, newest_first = history
    client, url = browser(cast.annotator), reverse("history")
    pages = [client.get(url)]
    while pages[-1].context["next_url"]:
        pages.append(client.get(url + pages[-1].context["next_url"]))
    assert [ids(page) for page in pages] == [newest_first[:3], newest_first[3:6], newest_first[6:]]
    assert not pages[0].context["previous_url"]
    back = client.get(url + pages[2].context["previous_url"])
    assert ids(back) == newest_first[3:6]
    assert ids(client.get(url + back.context["previous_url"])) == newest_first[:3]


def test_what_is_submitted_meanwhile_moves_no_page(history: tuple[Cast, list[str]], browser: Any) -> None:
    cast, newest_first = history
    client, url = browser(cast.annotator), reverse("history")
    second = client.get(url).context["next_url"]
    other = make_task(cast)
    annotate(cast, other)
    assert ids(client.get(url + second)) == newest_first[3:6]


def make_task(cast: Cast) -> Any:
    task = tasks.create_task(cast.project, "Another", cast.task.questions, actor=cast.owner)
    make_instances(task, 2)
    tasks.open_task(task, actor=cast.owner)
    return task


def test_one_task_can_be_looked_at(history: tuple[Cast, list[str]], browser: Any) -> None:
    cast, _ = history
    other = make_task(cast)
    mine = annotate(cast, other)
    client = browser(cast.annotator)
    page = client.get(reverse("history"), {"task": str(other.public_id)})
    assert ids(page) == [str(mine.public_id)]
    assert [row.name for row in page.context["tasks"]] == ["Another", cast.task.name]
    assert client.get(reverse("history"), {"task": "x"}).status_code == 404


def test_ids_of_others_mean_the_first_page(history: tuple[Cast, list[str]], browser: Any) -> None:
    cast, _ = history
    lent = queue.next_assignment(cast.task, cast.manager)
    foreign, _made = queue.submit(lent, submission_id=uuid4(), answers={"overall": {"value": "tie"}}, active_ms=0)
    client = browser(cast.annotator)
    page = client.get(reverse("history"), {"after": str(foreign.public_id)})
    assert ids(page) == ids(client.get(reverse("history")))
    assert ids(browser(cast.outsider).get(reverse("history"), {"task": str(cast.task.public_id)})) == []


def test_what_an_answer_said_before_is_shown(cast: Cast, browser: Any) -> None:
    row = annotate(cast, value="both-bad")
    queue.edit(row, {"overall": {"value": "tie"}}, user=cast.annotator)
    (shown,) = browser(cast.annotator).get(reverse("history")).context["history"]
    assert shown["summary"] == "Tie"
    assert [was["summary"] for was in shown["before"]] == ["Both bad"]


def test_a_longer_history_needs_no_more_queries(cast: Cast, browser: Any, django_assert_num_queries: Any) -> None:
    client = browser(cast.annotator)
    annotate(cast)
    with CaptureQueriesContext(connection) as few:
        client.get(reverse("history"))
    for _ in range(3):
        row = annotate(cast)
        queue.edit(row, {"overall": {"value": "both-bad"}}, user=cast.annotator)
    with django_assert_num_queries(len(few)):
        client.get(reverse("history"))


RATED = {"kind": "rating", "name": "rated", "title": "Rate", "scales": [{"name": "helpful"}, {"name": "true"}]}
MARKED = {
    "kind": "span",
    "name": "marked",
    "title": "Mark",
    "types": [{"name": "Wrong"}],
    "severities": {"Major": 5, "Minor": 1},
    "allow_missing": True,
}
WRITTEN = {"kind": "critique", "name": "written", "title": "Write", "ask_refinement": True}
CHOSEN = {"kind": "choice", "name": "chosen", "title": "Choose", "options": ["yes", "no"], "multiple": True}
LACKING = [{"target": 1, "text": "When?"}]


def span(severity: str) -> dict[str, Any]:
    return {"target": 0, "start": 0, "end": 3, "type": "Wrong", "severity": severity}


TOLD: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (RATED, {"ratings": {"helpful": [4, 2], "true": [5, 1]}}, "helpful A 2/5 B 4/5, true A 1/5 B 5/5"),
    (RATED | {"per": "instance"}, {"ratings": {"helpful": [4], "true": [5]}}, "helpful 4/5, true 5/5"),
    (MARKED, {"spans": [span("Major"), span("Minor"), span("Minor")]}, "3 spans · severity 7"),
    (MARKED, {"spans": [span("")], "missing": LACKING}, "1 span · 1 missing piece"),
    (MARKED, {"missing": LACKING}, "1 missing piece"),
    (
        WRITTEN,
        {"critiques": ["Too  long", "Good"], "refinements": [None, "X"]},
        "critique of 3 words · 1 refinement",
    ),
    (WRITTEN, {"critiques": ["", ""], "refinements": ["Shorter", "Better"]}, "2 refinements"),
    (CHOSEN, {"values": ["yes", "no"]}, "yes, no"),
]


@pytest.mark.parametrize(("question", "answer", "words"), TOLD, ids=[words for _, _, words in TOLD])
def test_an_answer_of_each_kind_is_told_in_a_line(
    cast: Cast, browser: Any, question: dict[str, Any], answer: dict[str, Any], words: str
) -> None:
    tasks.edit_task(cast.task, actor=cast.owner, questions=[question])
    cast.task.refresh_from_db()
    lent = queue.next_assignment(cast.task, cast.annotator)
    Assignment.objects.filter(pk=lent.pk).update(order=[1, 0])
    lent.refresh_from_db()
    queue.submit(lent, submission_id=uuid4(), answers={question["name"]: answer}, active_ms=0)
    for _ in range(2):
        (shown,) = browser(cast.annotator).get(reverse("history")).context["history"]
        assert shown["summary"] == words
        tasks.edit_task(cast.task, actor=cast.owner, questions=[*QUESTIONS, question])


def test_several_answers_are_told_in_their_order(cast: Cast, browser: Any) -> None:
    more = [CHOSEN | {"name": f"chosen{n}"} for n in range(3)]
    tasks.edit_task(cast.task, actor=cast.owner, questions=[*QUESTIONS, *more])
    cast.task.refresh_from_db()
    lent = queue.next_assignment(cast.task, cast.annotator)
    answers = {"overall": {"value": "tie"}, **{one["name"]: {"values": ["no"]} for one in more}}
    queue.submit(lent, submission_id=uuid4(), answers=answers, active_ms=0)
    (shown,) = browser(cast.annotator).get(reverse("history")).context["history"]
    assert shown["summary"] == "Tie; no; no …"
