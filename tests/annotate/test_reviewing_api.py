"""Finding, changing, commenting and deciding over REST."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.db.models import Value
from django.db.models.functions import Concat
from django.urls import reverse

from feedback.models import Adjudication, Annotation, AuditEvent, Comment
from feedback.services import people, queue, tasks
from tests.annotate.test_instances_pages import say
from tests.conftest import QUESTIONS, Cast

pytestmark = pytest.mark.django_db


def path(cast: Cast, rest: str) -> str:
    return f"projects/{cast.project.public_id}/{rest}"


def test_instances_are_found_by_the_filters_of_the_page(cast: Cast, api: Any) -> None:
    first, second, *_ = cast.task.instances.order_by("pk")
    say(cast, first, "a-is-clearly-better", "Ann")
    say(cast, first, "b-is-clearly-better", "Bob")
    cast.task.instances.filter(pk=second.pk).update(meta={"category": "math"})
    client = api(cast.viewer)

    def found(query: str) -> Any:
        response = client.send("GET", path(cast, f"instances/?{query}"))
        if response.status_code != 200:
            return response.status_code, sorted(response.json().get("errors", {}))
        return [one["external_id"] for one in response.json()["results"]]

    assert found(f"task={cast.task.public_id}&disagreement=people") == ["i0"]
    assert found("meta.category=math") == ["i1"]
    assert found("q=Question+3&by=none") == ["i3"]
    assert found("disagreement=people") == (400, ["disagreement"])
    assert found("prompt__contains=a")[0] == 400
    assert found("state=lost")[0] == 400
    assert found("task=nonsense")[0] == 400


def test_several_instances_are_changed_at_once(cast: Cast, api: Any) -> None:
    ids = [str(one.public_id) for one in cast.task.instances.order_by("pk")[:2]]
    client = api(cast.reviewer)
    done = client.send("POST", path(cast, "instances/change/"), {"action": "remove", "instances": ids})
    assert done.json() == {"changed": 2}
    again = client.send("POST", path(cast, "instances/change/"), {"action": "remove", "instances": ids})
    assert again.json() == {"changed": 0}
    bad = client.send("POST", path(cast, "instances/change/"), {"action": "shred", "instances": ids})
    assert bad.status_code == 422


def test_comments(cast: Cast, api: Any) -> None:
    instance = cast.task.instances.order_by("pk")[0]
    thread = path(cast, f"instances/{instance.public_id}/comments/")
    client = api(cast.viewer)
    made = client.send("POST", thread, {"text": "Why <b>?"})
    assert made.status_code == 201
    comment = path(cast, f"comments/{made.json()['id']}/")
    assert [one["text"] for one in client.send("GET", thread).json()["results"]] == ["Why <b>?"]
    assert client.send("POST", thread, {"text": ""}).status_code == 422
    assert api(cast.owner).send("PATCH", comment, {"text": "mine"}).status_code == 403
    assert client.send("PATCH", comment, {"text": "Better"}).json()["text"] == "Better"
    assert api(cast.owner).send("POST", f"{comment}resolve/").json()["resolved_by"] == str(cast.owner.public_id)
    assert client.send("POST", f"{comment}reopen/").json()["resolved_at"] is None
    assert api(cast.reviewer).send("DELETE", comment).status_code == 403
    assert client.send("DELETE", comment).status_code == 204
    assert client.send("GET", thread).json()["results"] == []
    assert Comment.objects.get().text == ""


def test_an_annotator_reads_the_threads_of_what_was_lent_to_them(cast: Cast, api: Any) -> None:
    lent = queue.next_assignment(cast.task, cast.annotator).instance
    other = cast.task.instances.exclude(pk=lent.pk).first()
    foreign = Comment.objects.create(instance=other, author=cast.owner, text="secret")
    client = api(cast.annotator)
    assert client.send("GET", path(cast, f"instances/{lent.public_id}/comments/")).status_code == 200
    assert client.send("GET", path(cast, f"instances/{other.public_id}/comments/")).status_code == 404
    assert client.send("POST", path(cast, f"comments/{foreign.public_id}/resolve/")).status_code == 404


def test_a_thread_names_nobody_to_annotators(cast: Cast, api: Any, django_assert_max_num_queries: Any) -> None:
    lent = queue.next_assignment(cast.task, cast.annotator).instance
    for author in (cast.reviewer, cast.annotator) * 5:
        Comment.objects.create(instance=lent, author=author, text="x")
    thread = path(cast, f"instances/{lent.public_id}/comments/")
    client = api(cast.annotator)
    with django_assert_max_num_queries(12):
        said = client.send("GET", thread).json()["results"]
    assert {(one["author_name"], one["author"]) for one in said} == {
        ("You", str(cast.annotator.public_id)),
        ("Reviewer 1", None),
    }
    said = api(cast.reviewer).send("GET", thread).json()["results"]
    assert {(one["author_name"], one["author"]) for one in said} == {
        (one.name, str(one.public_id)) for one in (cast.annotator, cast.reviewer)
    }


def test_annotators_are_not_told_where_an_instance_comes_from(cast: Cast, api: Any, browser: Any) -> None:
    cast.task.instances.update(external_id=Concat(Value("gpt-x-"), "external_id"))
    client = api(cast.annotator)
    lent = client.send("POST", path(cast, "assignments/next/"), {"task": str(cast.task.public_id)})
    one = path(cast, f"assignments/{lent.json()['id']}/")
    body = {"submission_id": str(uuid4()), "answers": {"overall": {"value": "tie"}}}
    made = client.send("POST", f"{one}submit/", body).json()["annotation"]
    answers = {"answers": {"overall": {"value": "both-bad"}}}
    told = [
        lent,
        client.send("GET", one),
        client.send("GET", path(cast, "assignments/")),
        client.send("PUT", path(cast, f"annotations/{made}/"), answers),
        browser(cast.annotator).get(reverse("history")),
        browser(cast.annotator).get(reverse("work", args=[cast.task.public_id])),
        browser(cast.annotator).get(reverse("annotation-edit", args=[made])),
        client.send("POST", path(cast, f"annotations/{made}/undo/")),
    ]
    assert [response.status_code for response in told] == [200] * len(told)
    assert not [response for response in told if "gpt-x-" in response.content.decode()]


def test_decisions(cast: Cast, api: Any) -> None:
    instance = cast.task.instances.order_by("pk")[0]
    vote = say(cast, instance, "a-is-clearly-better", "Ann")
    say(cast, instance, "tie", "Bob")
    client, decisions = api(cast.reviewer), path(cast, "adjudications/")
    body = {"instance": str(instance.public_id), "reason": "Ann read it"}
    assert client.send("POST", decisions, body).status_code == 422
    made = client.send("POST", decisions, body | {"took": str(vote.public_id)})
    assert made.status_code == 201, made.content
    assert made.json()["answers"] == vote.answers
    assert (made.json()["took"], len(made.json()["saw"])) == (str(vote.public_id), 2)
    assert client.send("POST", decisions, body | {"answers": vote.answers}).status_code == 409
    listed = client.send("GET", f"{decisions}?state=standing").json()["results"]
    assert [one["id"] for one in listed] == [made.json()["id"]]
    undone = client.send("POST", path(cast, f"adjudications/{made.json()['id']}/undo/"))
    assert undone.json()["state"] == "undone"
    anew = client.send("POST", decisions, body | {"answers": {"overall": {"value": "tie"}}})
    assert anew.json()["took"] is None
    assert Adjudication.objects.count() == 2


def test_an_instance_is_given_to_somebody_else_once(cast: Cast, api: Any) -> None:
    lent = queue.next_assignment(cast.task, cast.annotator)
    queue.submit(lent, submission_id=uuid4(), answers={"overall": {"value": "tie"}}, active_ms=0)
    client = api(cast.reviewer)
    (told,) = client.send("GET", path(cast, f"annotations/?instance={lent.instance.public_id}")).json()["results"]
    assert told["assignment"] == str(lent.public_id)
    requeue, body = path(cast, f"assignments/{lent.public_id}/requeue/"), {"reason": "Too quick"}
    assert client.send("POST", requeue, {"reason": " "}).status_code == 422
    assert client.send("POST", requeue, {}).status_code == 422
    for who, status in ((cast.viewer, 403), (cast.annotator, 403), (cast.outsider, 404)):
        assert api(who).send("POST", requeue, body).status_code == status
    first, again = (client.send("POST", requeue, body, **{"Idempotency-Key": "k1"}) for _ in range(2))
    assert (first.status_code, first.json()["state"], first.json()["comment"]) == (200, "requeued", "Too quick")
    assert again.json() == first.json()
    assert client.send("POST", requeue, body).json()["code"] == "wrong-state"
    assert AuditEvent.objects.filter(action="assignment.requeue").count() == 1
    lent.instance.refresh_from_db()
    assert (lent.instance.open_slots, Annotation.objects.get().state) == (1, "withdrawn")
    loans = path(cast, f"instances/{lent.instance.public_id}/assignments/")
    assert [(one["id"], one["state"]) for one in client.send("GET", loans).json()["results"]] == [
        (str(lent.public_id), "requeued")
    ]
    assert api(cast.annotator).send("GET", loans).status_code == 403
    other = tasks.create_task(people.create_project("Other", owner=cast.owner), "T", QUESTIONS, actor=cast.owner)
    foreign = f"projects/{other.project.public_id}/assignments/{lent.public_id}/requeue/"
    assert api(cast.owner).send("POST", foreign, body).status_code == 404


def test_flags_are_settled(cast: Cast, api: Any) -> None:
    lent = queue.next_assignment(cast.task, cast.annotator)
    queue.flag(lent, reason="broken")
    decide = path(cast, f"flags/{lent.public_id}/decide/")
    client = api(cast.reviewer)
    assert client.send("POST", decide, {"action": "burn"}).status_code == 422
    assert client.send("POST", decide, {"action": "removed", "note": "Empty"}).json()["action"] == "removed"
    assert client.send("POST", decide, {"action": "restored"}).status_code == 409
    lent.instance.refresh_from_db()
    assert lent.instance.removed_at is not None
