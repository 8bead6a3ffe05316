"""The reading room: lending, drafts, submits, undo, skip and flag, and that nobody touches another's assignment."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any
from uuid import uuid4

import pytest
from django.urls import reverse
from django.utils.html import escape

from feedback.models import Annotation, Assignment, DatasetVersion, Instance, Membership
from feedback.services import people, queue, tasks
from tests.conftest import Cast, make_cast

ANSWER = {"overall": {"value": "a-is-clearly-better"}}


def page_data(response: Any) -> dict[str, Any]:
    body = response.content.decode()
    start = body.index('<script id="work-data" type="application/json">')
    data: dict[str, Any] = json.loads(body[body.index(">", start) + 1 : body.index("</script>", start)])
    return data


def submission(answers: Any = ANSWER, **more: Any) -> dict[str, Any]:
    return {"submission_id": str(uuid4()), "answers": answers, "active_ms": 1200, **more}


def put(client: Any, url: str, body: Any) -> Any:
    return client.put(url, body, content_type="application/json")


def post(client: Any, url: str, body: Any) -> Any:
    return client.post(url, body, content_type="application/json")


@pytest.fixture
def work(cast: Cast, browser: Any) -> tuple[Any, dict[str, Any]]:
    client = browser(cast.annotator)
    return client, page_data(client.get(reverse("work", args=[cast.task.public_id])))


def test_opening_the_page_twice_shows_the_same_assignment(cast: Cast, browser: Any) -> None:
    client, url = browser(cast.annotator), reverse("work", args=[cast.task.public_id])
    first, second = page_data(client.get(url)), page_data(client.get(url))
    assert first["assignment"] == second["assignment"]
    assert Assignment.objects.count() == 1


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_completions_stand_in_the_order_of_the_assignment(cast: Cast, browser: Any, order: list[int]) -> None:
    assignment = queue.next_assignment(cast.task, cast.annotator)
    Assignment.objects.filter(pk=assignment.pk).update(order=order)
    response = browser(cast.annotator).get(reverse("work", args=[cast.task.public_id]))
    page = response.content.decode()
    shown = re.findall(r'class="completion [^>]*data-letter="(.)" data-index="(.)"', page)
    assert shown == [("A", str(order[0])), ("B", str(order[1]))]
    raw = [unescape(text) for text in re.findall(r'<pre class="raw"[^>]*>\n(.*?)</pre>', page, re.DOTALL)][-2:]
    stored = [completion["content"] for completion in assignment.instance.completions]
    assert raw == [stored[index] for index in order]
    assert page_data(response)["order"] == order


def test_model_names_are_not_on_the_page(cast: Cast, browser: Any) -> None:
    from feedback.models import Instance

    completions = [{"content": "x", "model": "secret-one"}, {"content": "y", "model": "secret-two"}]
    Instance.objects.update(completions=completions)
    body = browser(cast.annotator).get(reverse("work", args=[cast.task.public_id])).content.decode()
    assert "secret-one" not in body
    assert "secret-two" not in body


def test_a_draft_is_kept_and_renews_the_lease(work: tuple[Any, dict[str, Any]]) -> None:
    client, page = work
    response = put(client, page["urls"]["draft"], {"version": 0, "answers": ANSWER, "active_ms": 5})
    assert response.status_code == 200
    assert response.json()["version"] == 1
    assert "lease_expires" in response.json()
    assert Assignment.objects.get().draft == ANSWER


def test_a_draft_of_another_tab_is_not_overwritten(work: tuple[Any, dict[str, Any]]) -> None:
    client, page = work
    put(client, page["urls"]["draft"], {"version": 0, "answers": ANSWER, "active_ms": 5})
    response = put(client, page["urls"]["draft"], {"version": 0, "answers": {}, "active_ms": 5})
    assert response.status_code == 409
    assert response.json()["code"] == "draft-conflict"
    assert (response.json()["version"], response.json()["answers"]) == (1, ANSWER)


def test_a_submit_from_a_stale_tab_is_a_draft_conflict(work: tuple[Any, dict[str, Any]]) -> None:
    client, page = work
    put(client, page["urls"]["draft"], {"version": 0, "answers": ANSWER, "active_ms": 5})
    other = {"overall": {"value": "tie"}}
    assert post(client, page["urls"]["submit"], submission(other, version=0)).json()["code"] == "draft-conflict"
    # the autosave whose answer got lost wrote the same: no conflict
    assert post(client, page["urls"]["submit"], submission(version=0)).status_code == 201


def test_a_submit_is_stored_once(work: tuple[Any, dict[str, Any]]) -> None:
    client, page = work
    body = submission()
    first, again = post(client, page["urls"]["submit"], body), post(client, page["urls"]["submit"], body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["annotation"] == again.json()["annotation"]
    assert first.json()["undo_seconds"] == 30
    assert Annotation.objects.count() == 1


def test_a_submission_id_with_another_answer_is_refused(work: tuple[Any, dict[str, Any]]) -> None:
    client, page = work
    body = submission()
    post(client, page["urls"]["submit"], body)
    response = post(client, page["urls"]["submit"], body | {"answers": {"overall": {"value": "tie"}}})
    assert (response.status_code, response.json()["code"]) == (409, "submission-reused")


def test_a_misfitting_answer_names_its_row(work: tuple[Any, dict[str, Any]]) -> None:
    client, page = work
    response = post(client, page["urls"]["submit"], submission({"overall": {"value": "c-is-better"}}))
    assert response.status_code == 422
    assert "overall.value" in response.json()["errors"]
    assert not Annotation.objects.exists()


@pytest.mark.parametrize(
    ("language", "words"),
    [("de", "eine Antwort ist nötig"), ("ar", "الإجابة مطلوبة"), ("en", "an answer is required")],
)
def test_what_does_not_fit_is_said_in_the_language_of_the_page(
    cast: Cast, work: tuple[Any, dict[str, Any]], language: str, words: str
) -> None:
    client, page = work
    people.prefer(cast.annotator, "language", language)
    response = post(client, page["urls"]["submit"], submission() | {"answers": {}})
    assert response.status_code == 422
    assert response.json()["errors"] == {"overall": words}


BAD_BODIES = {
    "100k deep": "[" * 100_000,
    "deep object": '{"a":' * 100_000,
    "nan": '{"version": NaN, "answers": {}}',
    "huge number": '{"version": 1e999, "answers": {}}',
    "duplicate key": '{"version": 0, "version": 1, "answers": {}}',
    "nul": '{"version": 0, "answers": {"overall": {"value": "\\u0000"}}}',
    "nul in a comment": '{"version": 0, "answers": {}, "reason": "other", "comment": "a\\u0000"}',
    "lone surrogate": '{"version": 0, "answers": {"overall": {"value": "\\ud800"}}}',
    "no object": "[]",
    "null": "null",
    "empty": "",
    "not json": "version=0",
    "latin-1": b'{"version": 0, "answers": {"overall": {"value": "\xe9"}}}',
    "wrong types": '{"version": "x", "answers": [], "active_ms": -1}',
    "huge version": '{"version": 99999999999999999999, "answers": {}}',
    "unknown question": '{"version": 0, "answers": {"other": {"value": "tie"}}}',
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
@pytest.mark.parametrize("what", ["draft", "submit", "skip", "flag"])
def test_a_bad_body_is_a_clear_4xx_and_stores_nothing(work: tuple[Any, dict[str, Any]], what: str, body: Any) -> None:
    client, page = work
    response = (put if what == "draft" else post)(client, page["urls"][what], body)
    assert response.status_code in (400, 422)
    assert response.json()["detail"]
    assignment = Assignment.objects.get()
    assert (assignment.state, assignment.draft) == ("lent", {})


def test_undo_gives_the_answers_back_as_draft(work: tuple[Any, dict[str, Any]]) -> None:
    client, page = work
    post(client, page["urls"]["submit"], submission())
    response = post(client, page["urls"]["undo"], {})
    assert response.status_code == 200
    again = page_data(client.get(response.json()["next"]))
    assert again["assignment"] == page["assignment"]
    assert again["draft"]["answers"]["overall"]["value"] == "a-is-clearly-better"
    assert not Annotation.objects.live().exists()


def test_undo_after_thirty_seconds_is_too_late(work: tuple[Any, dict[str, Any]]) -> None:
    from datetime import timedelta

    from django.utils import timezone

    client, page = work
    post(client, page["urls"]["submit"], submission())
    Annotation.objects.update(submitted_at=timezone.now() - timedelta(seconds=31))
    response = post(client, page["urls"]["undo"], {})
    assert (response.status_code, response.json()["code"]) == (409, "undo-expired")


@pytest.mark.parametrize(("what", "reason"), [("skip", "too-hard"), ("flag", "harmful")])
def test_skip_and_flag_hand_the_instance_back(work: tuple[Any, dict[str, Any]], what: str, reason: str) -> None:
    client, page = work
    response = post(client, page["urls"][what], {"reason": reason, "comment": "because"})
    assert response.status_code == 200
    assert page_data(client.get(response.json()["next"]))["assignment"] != page["assignment"]
    ended = Assignment.objects.get(public_id=page["assignment"])
    assert (ended.reason, ended.comment, ended.instance.open_slots) == (reason, "because", 1)


def test_an_unknown_reason_is_refused(work: tuple[Any, dict[str, Any]]) -> None:
    client, page = work
    response = post(client, page["urls"]["skip"], {"reason": "bored"})
    assert response.status_code == 422
    assert "reason" in response.json()["errors"]


def test_a_draft_of_an_ended_assignment_is_gone(work: tuple[Any, dict[str, Any]]) -> None:
    client, page = work
    post(client, page["urls"]["submit"], submission())
    response = put(client, page["urls"]["draft"], {"version": 0, "answers": ANSWER, "active_ms": 5})
    assert response.status_code == 410


@pytest.mark.parametrize("who", ["owner", "manager", "reviewer", "viewer", "outsider"])
@pytest.mark.parametrize("what", ["draft", "submit", "undo", "skip", "flag"])
def test_only_its_own_annotator_touches_an_assignment(
    cast: Cast, browser: Any, work: tuple[Any, dict[str, Any]], who: str, what: str
) -> None:
    body = {"draft": {"version": 0, "answers": ANSWER}, "submit": submission()}.get(what, {"reason": "other"})
    send = put if what == "draft" else post
    assert send(browser(getattr(cast, who)), work[1]["urls"][what], body).status_code == 404
    assert Assignment.objects.get().state == "lent"


def test_who_left_the_project_cannot_submit_any_more(cast: Cast, work: tuple[Any, dict[str, Any]]) -> None:
    client, page = work
    Membership.objects.filter(user=cast.annotator).delete()
    assert post(client, page["urls"]["submit"], submission()).status_code == 404


def test_a_signed_out_script_gets_a_401_in_json(cast: Cast, browser: Any, work: tuple[Any, dict[str, Any]]) -> None:
    response = put(browser(), work[1]["urls"]["draft"], {"version": 0, "answers": {}})
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")


def test_a_write_without_csrf_token_is_refused(cast: Cast, browser: Any, work: tuple[Any, dict[str, Any]]) -> None:
    strict = browser(cast.annotator, enforce_csrf_checks=True)
    assert post(strict, work[1]["urls"]["submit"], submission()).status_code == 403
    assert not Annotation.objects.exists()


def test_the_last_instance_leads_to_the_done_page(db: None, browser: Any) -> None:
    cast = make_cast(instances=1)
    client, url = browser(cast.annotator), reverse("work", args=[cast.task.public_id])
    post(client, page_data(client.get(url))["urls"]["submit"], submission())
    response = client.get(url)
    assert response.status_code == 200
    assert response.context["done_today"] == 1
    assert "work-data" not in response.content.decode()


def test_a_closed_task_says_so(cast: Cast, browser: Any) -> None:
    tasks.close_task(cast.task, actor=cast.owner)
    response = browser(cast.annotator).get(reverse("work", args=[cast.task.public_id]))
    assert response.status_code == 409
    assert "not open" in response.content.decode()


def test_a_viewer_and_an_outsider_find_no_task_to_label(cast: Cast, browser: Any) -> None:
    for who in (cast.viewer, cast.outsider):
        assert browser(who).get(reverse("work", args=[cast.task.public_id])).status_code == 404


def test_the_queue_counts_done_and_left(cast: Cast, browser: Any, work: tuple[Any, dict[str, Any]]) -> None:
    client, page = work
    row = client.get(reverse("queue")).context["tasks"][0]
    assert (row["done"], row["left"], row["goal"]) == (0, 5, 5)
    post(client, page["urls"]["submit"], submission())
    context = client.get(reverse("queue")).context
    assert (context["tasks"][0]["done"], context["tasks"][0]["left"], context["today"]) == (1, 4, 1)


def test_the_queue_page_asks_a_fixed_number_of_queries(
    cast: Cast, browser: Any, django_assert_max_num_queries: Any
) -> None:
    from tests.conftest import QUESTIONS, make_instances

    for n in range(8):
        more = tasks.create_task(cast.project, f"task {n}", QUESTIONS, actor=cast.owner)
        make_instances(more, 2)
        tasks.open_task(more, actor=cast.owner)
    client = browser(cast.annotator)
    with django_assert_max_num_queries(20):  # the first time a person's place in each task is made
        client.get(reverse("queue"))
    with django_assert_max_num_queries(12):
        assert len(client.get(reverse("queue")).context["tasks"]) == 9


def test_an_answer_in_the_history_says_what_its_annotator_saw(cast: Cast, browser: Any) -> None:
    assignment = queue.next_assignment(cast.task, cast.annotator)
    Assignment.objects.filter(pk=assignment.pk).update(order=[1, 0])
    assignment.refresh_from_db()
    queue.submit(assignment, submission_id=uuid4(), answers=ANSWER, active_ms=0)
    row = browser(cast.annotator).get(reverse("history")).context["history"][0]
    assert row["summary"] == "B is clearly better"


def test_a_submitted_answer_can_be_changed_with_history(cast: Cast, work: tuple[Any, dict[str, Any]]) -> None:
    client, page = work
    url = reverse("annotation-edit", args=[post(client, page["urls"]["submit"], submission()).json()["annotation"]])
    edit = page_data(client.get(url))
    assert edit["draft"]["answers"]["overall"]["value"] == "a-is-clearly-better"
    tie = {"overall": {"value": "tie"}}
    saved = put(client, edit["urls"]["draft"], {"version": edit["draft"]["version"], "answers": tie})
    assert saved.status_code == 200
    assert page_data(client.get(url))["draft"]["answers"] == tie
    assert post(client, edit["urls"]["submit"], submission(tie)).status_code == 200
    annotation = Annotation.objects.get()
    assert annotation.answers["overall"]["value"] == "tie"
    assert annotation.revisions.get().answers["overall"]["value"] == "a-is-clearly-better"


def test_a_refusal_is_said_in_the_language_of_the_person(
    cast: Cast, work: tuple[Any, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, page = work
    people.prefer(cast.annotator, "language", "de")
    misshapen = post(client, page["urls"]["submit"], {"answers": {}})
    assert misshapen.status_code == 422
    assert misshapen.json()["detail"] == "Einige Angaben stimmen nicht; nichts wurde gespeichert."
    edit = reverse("annotation-edit", args=[post(client, page["urls"]["submit"], submission()).json()["annotation"]])
    monkeypatch.setattr(queue.revising, "EDITABLE", 0)
    late = post(client, edit, submission({"overall": {"value": "tie"}}))
    assert late.status_code == 409
    assert late.json()["detail"].startswith("Nur Ihre letzten 0 Antworten lassen sich ändern")


def test_a_frozen_answer_cannot_be_changed(cast: Cast, work: tuple[Any, dict[str, Any]]) -> None:
    client, page = work
    url = reverse("annotation-edit", args=[post(client, page["urls"]["submit"], submission()).json()["annotation"]])
    DatasetVersion.objects.create(task=cast.task, number=1, spec={}, created_by=cast.owner)
    assert client.get(url).status_code == 409
    assert post(client, url, submission({"overall": {"value": "tie"}})).json()["code"] == "frozen"
    assert client.get(reverse("history")).context["history"][0]["edit_url"] is None


def test_nobody_changes_another_persons_answer(cast: Cast, browser: Any, work: tuple[Any, dict[str, Any]]) -> None:
    client, page = work
    url = reverse("annotation-edit", args=[post(client, page["urls"]["submit"], submission()).json()["annotation"]])
    for who in (cast.owner, cast.reviewer, cast.outsider):
        assert browser(who).get(url).status_code == 404
        assert post(browser(who), url, submission({"overall": {"value": "tie"}})).status_code == 404


def test_a_wrong_method_is_a_405(work: tuple[Any, dict[str, Any]]) -> None:
    client, page = work
    assert client.get(page["urls"]["draft"]).status_code == 405
    assert client.get(page["urls"]["submit"]).status_code == 405


def test_cards_to_rank_show_words_beside_texts_that_are_placed_for_spans(cast: Cast, browser: Any) -> None:
    text = "Ein **langer** Satz & noch einer. " * 9
    asked = [
        {"kind": "ranking", "name": "order", "title": "Rank"},
        {"kind": "span", "name": "errors", "title": "Mark", "types": [{"name": "wrong"}]},
    ]
    task = tasks.create_task(cast.project, "Both", asked, actor=cast.owner)
    Instance.objects.create(
        task=task,
        external_id="1",
        prompt=[{"role": "user", "content": "?"}],
        completions=[{"content": text, "model": None}, {"content": "Kurz.", "model": None}],
        prompt_hash="1",
        open_slots=1,
    )
    tasks.open_task(task, actor=cast.owner)
    body = browser(cast.annotator).get(reverse("work", args=[task.public_id])).content.decode()
    shown = re.findall(r'<span class="rank-snippet"[^>]*>(.*?)</span>', body)
    assert sorted(shown) == [escape(text[:120]), "Kurz."]


RANKING = {"kind": "ranking", "name": "order", "title": "Put them in order"}


def of_three(cast: Cast, questions: list[dict[str, Any]]) -> Any:
    """An open task of these questions with one instance of three completions."""
    task = tasks.create_task(cast.project, "Three", questions, actor=cast.owner)
    texts = [{"content": f"Text {n}"} for n in range(3)]
    prompt = [{"role": "user", "content": "Why?"}]
    Instance.objects.create(task=task, external_id="t", prompt=prompt, completions=texts, open_slots=1)
    tasks.open_task(task, actor=cast.owner)
    return task


def test_a_preference_is_not_asked_of_three_completions_and_the_page_says_so(cast: Cast, browser: Any) -> None:
    client = browser(cast.annotator)
    task = of_three(cast, [*cast.task.questions, RANKING])
    page = client.get(f"/label/{task.public_id}/")
    assert "This compares two completions, and this instance has 3" in page.content.decode()
    assert 'data-question="overall"' not in page.content.decode()
    url = page_data(page)["urls"]["submit"]
    ranked = {"order": {"groups": [[2], [0, 1]], "unacceptable": []}}
    refused = post(client, url, submission(ranked | ANSWER))
    assert refused.status_code == 422
    assert refused.json()["errors"] == {"overall": "a preference needs 2 completions, this instance has 3"}
    assert post(client, url, submission(ranked)).status_code == 201
    annotation = Annotation.objects.get(task=task)
    assert annotation.answers == ranked
    letters = [chr(ord("A") + annotation.order.index(index)) for index in range(3)]
    told = f"{letters[2]} > {' = '.join(sorted(letters[:2]))}"
    assert escape(told) in client.get("/label/history/").content.decode()


def test_an_instance_of_which_nothing_is_asked_can_only_be_skipped(cast: Cast, browser: Any) -> None:
    client = browser(cast.annotator)
    task = of_three(cast, cast.task.questions)
    page = client.get(f"/label/{task.public_id}/")
    assert "skip the instance, or flag it as broken" in page.content.decode()
    refused = post(client, page_data(page)["urls"]["submit"], submission({}))
    assert refused.status_code == 422
    assert refused.json()["errors"] == {"answers": "nothing is asked of this instance; skip it"}
    assert not Annotation.objects.filter(task=task).exists()


def test_each_kind_explains_its_keys_once(cast: Cast, browser: Any) -> None:
    again = {**RANKING, "name": "second"}
    task = of_three(cast, [RANKING, again])
    page = browser(cast.annotator).get(f"/label/{task.public_id}/").content.decode()
    assert page.count("Give A to I the next rank, or take it back") == 1
    assert page.count("data-card=") == 6
