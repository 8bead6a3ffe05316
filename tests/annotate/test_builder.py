"""The builder: a draft changed by plain posts, its JSON, its preview, and putting it to use."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from django.urls import reverse
from django.utils.html import escape

from annotate.forms.questions import form_of, question_from
from feedback import drafting, presets
from feedback.models import Task
from feedback.questions import parse_questions
from feedback.services import drafts, queue, tasks
from tests.conftest import QUESTIONS, Cast

TOPIC: dict[str, Any] = {"kind": "choice", "name": "topic", "title": "Topic?", "options": ["maths", "law"]}


def url(cast: Cast, name: str, *more: Any) -> str:
    return reverse(name, args=[cast.project.public_id, cast.task.public_id, *more])


def posted(question: dict[str, Any]) -> dict[str, str]:
    """What a browser sends for the form of a question."""
    cells = form_of(question).cells()
    values = {cell.name: ("on" if cell.value else "") if cell.widget == "flag" else cell.value for cell in cells}
    return {name: value for name, value in values.items() if value}


def opened(cast: Cast, place: int = 0, **change: str) -> dict[str, str]:
    """The fields of the builder's page with the question at ``place`` open."""
    draft = drafts.draft_of(cast.task)
    question = draft.questions[place]
    fields = {"_version": str(draft.version), "_place": str(place), "_open_kind": question["kind"]}
    return fields | posted(question) | change


def asked(cast: Cast) -> list[dict[str, Any]]:
    return drafts.draft_of(cast.task).questions


@pytest.mark.parametrize("name", presets.NAMES)
def test_the_form_of_a_question_gives_it_back_unchanged(name: str) -> None:
    for question in presets.preset(name).stored_questions():
        back = question_from(question["kind"], posted(question))
        assert parse_questions([back]) == parse_questions([question])


@pytest.mark.parametrize("kind", drafting.STARTS)
def test_a_new_question_of_each_kind_is_right(kind: str) -> None:
    made = drafting.add([], kind)
    assert drafting.errors_of(made) == [{}]
    assert parse_questions([question_from(kind, posted(made[0]))]) == parse_questions(made)


def test_drafts_are_changed_by_place() -> None:
    draft = drafting.add(drafting.add([], "choice"), "choice")
    draft = drafting.duplicate(draft, 0)
    assert [one["name"] for one in draft] == ["choice", "choice-3", "choice-2"]
    assert [one["name"] for one in drafting.move(draft, 2, 0)] == ["choice-2", "choice", "choice-3"]
    assert [one["name"] for one in drafting.move(draft, 0, 99)] == ["choice-3", "choice-2", "choice"]
    assert [one["name"] for one in drafting.remove(draft, 1)] == ["choice", "choice-2"]
    with pytest.raises(drafting.InvalidChange, match="gone"):
        drafting.remove(draft, 3)
    with pytest.raises(drafting.InvalidChange, match="at most 30"):
        drafting.extend(draft, [draft[0]] * 28)


def test_each_button_keeps_the_open_question_first(cast: Cast, browser: Any) -> None:
    client = browser(cast.manager)
    response = client.post(url(cast, "question-add"), opened(cast, title="Which one?", _kind="choice"))
    assert response.status_code == 302
    assert [(one["kind"], one["title"]) for one in asked(cast)] == [
        ("preference", "Which one?"),
        ("choice", "Does this apply?"),
    ]
    client.post(url(cast, "question-duplicate", 0), opened(cast, 1, options="a\nb\nc"))
    assert [one["name"] for one in asked(cast)] == ["overall", "overall-2", "choice"]
    assert asked(cast)[2]["options"] == ["a", "b", "c"]
    client.post(url(cast, "question-move", 2), opened(cast, 2, _to="0"))
    assert [one["name"] for one in asked(cast)] == ["choice", "overall", "overall-2"]
    client.post(url(cast, "question-remove", 1), opened(cast, 2, title="Again?"))
    assert [(one["name"], one["title"]) for one in asked(cast)] == [
        ("choice", "Does this apply?"),
        ("overall-2", "Again?"),
    ]
    cast.task.refresh_from_db()
    assert len(cast.task.questions) == 1  # nobody is asked any of this yet


@pytest.mark.parametrize("kind", drafting.STARTS)
def test_a_question_of_any_kind_can_depend_on_an_earlier_one(cast: Cast, browser: Any, kind: str) -> None:
    client = browser(cast.manager)
    client.post(url(cast, "question-add"), opened(cast, _kind=kind))
    page = client.get(url(cast, "task-questions"), {"open": 1}).content.decode()
    assert "Ask only when this earlier question" in page
    when = {"when.question": "overall", "when.values": "tie\nboth-bad"}
    client.post(url(cast, "question-open"), opened(cast, 1, **when))
    assert asked(cast)[1]["when"] == {"question": "overall", "values": ["tie", "both-bad"]}
    assert parse_questions(asked(cast))[1].when is not None
    wrong = opened(cast, 1, **{"when.values": "sometimes"})
    said = client.post(url(cast, "question-keep"), wrong, headers={"Accept": "application/json"})
    assert "has no value 'sometimes'" in " ".join(said.json()["errors"].values())


def test_rows_of_a_table_are_added_by_filling_and_removed_by_emptying(cast: Cast, browser: Any) -> None:
    client = browser(cast.manager)
    client.post(url(cast, "question-add"), opened(cast, _kind="span"))
    more = {
        "types.1.name": "Missing",
        "types.1.subtypes": "a\nb",
        "severities.0.name": "Major",
        "severities.0.value": "5",
    }
    client.post(url(cast, "question-open"), opened(cast, 1, **more))
    assert asked(cast)[1]["types"] == [{"name": "Wrong"}, {"name": "Missing", "subtypes": ["a", "b"]}]
    assert asked(cast)[1]["severities"] == {"Major": 5}
    client.post(url(cast, "question-open"), opened(cast, 1, **{"types.0.name": "", "types.0.subtypes": ""}))
    assert [one["name"] for one in asked(cast)[1]["types"]] == ["Missing"]


def test_what_is_not_right_yet_is_kept_and_named(cast: Cast, browser: Any) -> None:
    client = browser(cast.manager)
    client.post(url(cast, "question-add"), opened(cast, _kind="rating"))
    wrong = {"title": "", "name": "Two words", "scales.0.low": "nine"}
    response = client.post(url(cast, "question-keep"), opened(cast, 1, **wrong), headers={"Accept": "application/json"})
    assert response.status_code == 200
    said = response.json()
    assert said["version"] == 2
    assert said["counts"][0] == 0
    assert said["counts"][1] >= 2
    assert "valid integer" in said["errors"]["scales.0.low"]
    assert "at least 1" in said["errors"]["title"]
    assert asked(cast)[1]["scales"][0]["low"] == "nine"
    body = client.get(url(cast, "task-questions"), {"open": 1}).content.decode()
    assert 'value="nine"' in body
    assert "valid integer" in body
    review = client.get(url(cast, "questions-review"))
    assert "Question 2 (Two words), scales.0.low" in review.content.decode()
    refused = client.post(url(cast, "questions-review"), {"_version": "2", "_asked": "1"})
    assert refused.status_code == 422
    cast.task.refresh_from_db()
    assert cast.task.questions_version == 1


def test_another_editor_is_not_overwritten_and_nothing_entered_is_lost(cast: Cast, browser: Any) -> None:
    client = browser(cast.manager)
    stale = opened(cast, title="Mine?")
    client.post(url(cast, "question-open"), opened(cast, title="Theirs?"))
    response = client.post(url(cast, "question-open"), stale)
    assert response.status_code == 409
    assert asked(cast)[0]["title"] == "Theirs?"
    assert "Mine?" in response.content.decode()
    kept = client.post(url(cast, "question-keep"), stale)
    assert (kept.status_code, kept.json()["code"]) == (409, "questions-changed")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("{}", "must be a list"),
        ("[[]]", "must be a list"),
        ('[{"kind": "riddle"}]', "needs a kind"),
        ('[{"kind": "choice", "kind": "span"}]', "twice"),
        ('[{"kind": "choice", "name": "t", "title": "\\ud800", "options": ["a", "b"]}]', "This "),
        ('[{"kind": "choice", "name": "t", "title": "T", "options": ["a"]}]', "Question 1 (t), options"),
        (json.dumps([TOPIC, TOPIC]), "Question 2 (topic), name: two questions have this name"),
        ("[" * 100_000, "This "),
    ],
)
def test_bad_json_says_which_question_which_field_and_why(cast: Cast, browser: Any, text: str, words: str) -> None:
    response = browser(cast.manager).post(url(cast, "questions-json"), {"questions": text, "_version": "0"})
    assert response.status_code == 422
    assert words in response.content.decode()
    assert drafts.draft_of(cast.task).changes is None


@pytest.mark.parametrize("kind", [[], {}, 5, None, True, ["choice"]])
def test_a_kind_that_is_no_word_is_refused(cast: Cast, browser: Any, kind: Any) -> None:
    fields = {"questions": json.dumps([{**TOPIC, "kind": kind}]), "_version": "0"}
    response = browser(cast.manager).post(url(cast, "questions-json"), fields)
    assert response.status_code == 422
    assert "Question 1 needs a kind" in response.content.decode()
    assert drafts.draft_of(cast.task).changes is None


@pytest.mark.parametrize("entered", ["nan", "NaN", "inf", "-Infinity", "1e400", "9" * 400])
def test_a_number_that_json_has_no_word_for_stays_what_was_typed(cast: Cast, browser: Any, entered: str) -> None:
    client = browser(cast.manager)
    client.post(url(cast, "question-add"), opened(cast, _kind="rating"))
    wrong = opened(cast, 1, **{"scales.0.weight": entered})
    said = client.post(url(cast, "question-keep"), wrong, headers={"Accept": "application/json"})
    assert said.status_code == 200
    assert said.json()["errors"]["scales.0.weight"]
    assert asked(cast)[1]["scales"][0]["weight"] == entered
    assert client.get(url(cast, "questions-review")).status_code == 200


def test_json_replaces_the_draft(cast: Cast, browser: Any) -> None:
    client = browser(cast.manager)
    shown = client.get(url(cast, "questions-json")).context["text"]
    assert json.loads(shown) == cast.task.questions
    fields = {"questions": json.dumps([TOPIC]), "_version": "0"}
    assert client.post(url(cast, "questions-json"), fields).status_code == 302
    assert asked(cast) == [TOPIC]
    assert client.post(url(cast, "questions-json"), fields).status_code == 409  # an older page
    client.post(url(cast, "questions-discard"), {"_version": "1"})
    assert drafts.draft_of(cast.task).changes is None


def test_a_discarded_draft_takes_nothing_from_the_tab_that_still_shows_it(cast: Cast, browser: Any) -> None:
    client = browser(cast.manager)
    client.post(url(cast, "question-open"), opened(cast, title="First?"))
    stale = opened(cast, title="From the stale tab?")
    client.post(url(cast, "questions-discard"), opened(cast))
    client.post(url(cast, "question-open"), opened(cast, title="Second?"))
    assert client.post(url(cast, "question-open"), stale).status_code == 409
    refused = client.post(url(cast, "questions-discard"), stale)
    assert refused.status_code == 409
    assert "nothing was overwritten" in refused.content.decode()
    assert "From the stale tab?" in refused.content.decode()
    assert asked(cast)[0]["title"] == "Second?"


def test_a_page_that_shows_earlier_questions_changes_nothing(cast: Cast, browser: Any) -> None:
    stale = opened(cast, title="Of the earlier question?")
    tasks.edit_task(cast.task, actor=cast.owner, questions=[TOPIC])
    assert browser(cast.manager).post(url(cast, "question-open"), stale).status_code == 409
    cast.task.refresh_from_db()
    assert asked(cast) == cast.task.questions


def test_a_preset_is_added_under_free_names(cast: Cast, browser: Any) -> None:
    browser(cast.manager).post(url(cast, "questions-preset"), opened(cast, _preset="multipref"))
    assert [one["name"] for one in asked(cast)] == ["overall", "overall-2", "helpful", "truthful", "harmless"]


def test_the_review_says_what_the_change_means_and_needs_a_word_where_answers_break(cast: Cast, browser: Any) -> None:
    tasks.edit_task(cast.task, actor=cast.owner, questions=[*QUESTIONS, TOPIC])
    cast.task.refresh_from_db()
    lent = queue.next_assignment(cast.task, cast.annotator)
    said = {"overall": {"value": "tie"}, "topic": {"values": ["law"]}}
    queue.submit(lent, submission_id=uuid4(), answers=said, active_ms=0)
    client = browser(cast.manager)
    client.post(url(cast, "question-open"), opened(cast, 1, options="maths\nart"))
    body = client.get(url(cast, "questions-review")).content.decode()
    assert "1 annotation is stored" in body
    assert "1 answer no longer fits" in body
    fields = {"_version": str(drafts.draft_of(cast.task).version), "_asked": "2"}
    assert client.post(url(cast, "questions-review"), fields).status_code == 409
    assert client.post(url(cast, "questions-review"), fields | {"_asked": "1", "accept": "on"}).status_code == 409
    assert client.post(url(cast, "questions-review"), fields | {"accept": "on"}).status_code == 302
    cast.task.refresh_from_db()
    assert (cast.task.questions_version, cast.task.questions[1]["options"]) == (3, ["maths", "art"])
    assert drafts.draft_of(cast.task).changes is None


def test_another_kind_under_an_answered_name_is_told_before_it_is_tried(cast: Cast, browser: Any) -> None:
    lent = queue.next_assignment(cast.task, cast.annotator)
    queue.submit(lent, submission_id=uuid4(), answers={"overall": {"value": "tie"}}, active_ms=0)
    client = browser(cast.manager)
    client.post(url(cast, "question-open"), opened(cast, steps="3"))
    assert "give the new question a new name" in client.get(url(cast, "questions-review")).content.decode()


def room_data(response: Any) -> dict[str, Any]:
    body = response.content.decode()
    start = body.index('<script id="work-data" type="application/json">')
    data: dict[str, Any] = json.loads(body[body.index(">", start) + 1 : body.index("</script>", start)])
    return data


def test_the_preview_is_the_room_and_stores_nothing(cast: Cast, browser: Any) -> None:
    client = browser(cast.manager)
    client.post(url(cast, "question-open"), opened(cast, title="Which one?"))
    response = client.get(url(cast, "task-preview-room"))
    assert response.headers["X-Frame-Options"] == "SAMEORIGIN"
    assert "frame-ancestors 'self'" in response.headers["Content-Security-Policy"]
    data = room_data(response)
    assert data["questions"][0]["title"] == "Which one?"
    before = Task.objects.get().annotations.count(), Task.objects.get().assignments.count()
    body = {"submission_id": str(uuid4()), "answers": {"overall": {"value": "sideways"}}, "active_ms": 1}
    wrong = client.post(data["urls"]["submit"], body, content_type="application/json")
    assert wrong.status_code == 422
    assert "overall.value" in wrong.json()["errors"]
    body["answers"] = {"overall": {"value": "tie"}}
    right = client.post(data["urls"]["submit"], body, content_type="application/json")
    assert right.status_code == 200
    assert "nothing was stored" in client.get(right.json()["next"]).content.decode()
    draft = {"version": 0, "answers": {}, "active_ms": 0}
    assert client.put(data["urls"]["draft"], draft, content_type="application/json").json()["version"] == 1
    skip = client.post(data["urls"]["skip"], {"reason": "other", "comment": ""}, content_type="application/json")
    assert skip.json()["next"].startswith(url(cast, "task-preview-room"))
    assert (Task.objects.get().annotations.count(), Task.objects.get().assignments.count()) == before


@pytest.mark.parametrize("name", presets.NAMES)
def test_each_preset_can_be_looked_at(cast: Cast, browser: Any, name: str) -> None:
    client = browser(cast.manager)
    page = client.get(reverse("preset", args=[cast.project.public_id, name]))
    assert page.status_code == 200
    assert "frame-src 'self'" in page.headers["Content-Security-Policy"]
    room = client.get(reverse("preset-room", args=[cast.project.public_id, name]))
    data = room_data(room)
    assert data["questions"] == presets.preset(name).stored_questions()
    pairs_only = any(question["kind"] == "preference" for question in data["questions"])
    assert len(data["order"]) == (2 if pairs_only else 4)


def test_a_draft_that_is_not_right_has_no_preview_yet(cast: Cast, browser: Any) -> None:
    client = browser(cast.manager)
    client.post(url(cast, "question-open"), opened(cast, title=""))
    assert "not right yet" in client.get(url(cast, "task-preview-room")).content.decode()


def test_the_preview_of_a_draft_that_broke_meanwhile_says_so(cast: Cast, browser: Any) -> None:
    client = browser(cast.manager)
    data = room_data(client.get(url(cast, "task-preview-room")))
    client.post(url(cast, "question-open"), opened(cast, title=""))
    body = {"submission_id": str(uuid4()), "answers": {"overall": {"value": "tie"}}, "active_ms": 1}
    answer = client.post(data["urls"]["submit"], body, content_type="application/json")
    assert answer.status_code == 422
    assert answer.json()["detail"] == "The questions do not fit together; see the draft."


def test_the_annotator_is_told_what_a_change_put_aside(cast: Cast, browser: Any) -> None:
    tasks.edit_task(cast.task, actor=cast.owner, questions=[*QUESTIONS, TOPIC])
    cast.task.refresh_from_db()
    lent = queue.next_assignment(cast.task, cast.annotator)
    said = {"overall": {"value": "tie"}, "topic": {"values": ["law"]}}
    queue.save_draft(lent, version=0, answers=said, active_ms=0)
    tasks.edit_task(cast.task, actor=cast.owner, questions=QUESTIONS)
    response = browser(cast.annotator).get(reverse("work", args=[cast.task.public_id]))
    aside = escape(json.dumps(said["topic"], indent=2))
    assert f'<summary>topic</summary><pre class="mono" dir="auto">{aside}</pre>' in response.content.decode()
    data = room_data(response)
    assert data["draft"]["answers"] == {"overall": {"value": "tie"}}
    assert [question["name"] for question in data["questions"]] == ["overall"]


def test_an_answer_is_changed_under_the_present_questions(cast: Cast, browser: Any) -> None:
    tasks.edit_task(cast.task, actor=cast.owner, questions=[*QUESTIONS, TOPIC])
    cast.task.refresh_from_db()
    lent = queue.next_assignment(cast.task, cast.annotator)
    said = {"overall": {"value": "tie"}, "topic": {"values": ["law"]}}
    annotation, _ = queue.submit(lent, submission_id=uuid4(), answers=said, active_ms=0)
    tasks.edit_task(cast.task, actor=cast.owner, questions=[*QUESTIONS, TOPIC | {"name": "field"}])
    client, page = browser(cast.annotator), reverse("annotation-edit", args=[annotation.public_id])
    data = room_data(client.get(page))
    assert [question["name"] for question in data["questions"]] == ["overall", "field"]
    assert set(data["draft"]["answers"]) == {"overall"}
    changed = {"overall": {"value": "tie"}, "field": {"values": ["law"]}}
    body = {"submission_id": str(uuid4()), "answers": changed, "active_ms": 0}
    assert client.post(page, body, content_type="application/json").status_code == 200
    annotation.refresh_from_db()
    assert (annotation.questions_version, set(annotation.answers)) == (3, {"overall", "field"})


def test_hostile_words_are_text_on_every_page_of_the_builder(cast: Cast, browser: Any) -> None:
    payload = '"><img src=x onerror=alert(1)>'
    client = browser(cast.manager)
    client.post(url(cast, "question-open"), opened(cast, title=payload, description=payload, reasons=payload))
    pages = [url(cast, name) for name in ("task-questions", "questions-json", "questions-review", "task-preview-room")]
    for page in pages:
        body = client.get(page).content.decode()
        assert "onerror" in body
        assert "<img src=x" not in body
    drafts.put_to_use(cast.task, 1, 1, actor=cast.owner)
    assert (
        "<img src=x"
        not in client.get(reverse("task", args=[cast.project.public_id, cast.task.public_id])).content.decode()
    )
