"""What reviewers do to an instance: flags, comments, decisions."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from django.urls import reverse

from annotate.views import comparing
from feedback.models import (
    Adjudication,
    Annotation,
    Annotator,
    Assignment,
    AssignmentState,
    AuditEvent,
    Comment,
    FlagDecision,
    Membership,
    Role,
)
from feedback.services import commenting, people, queue
from tests.annotate.test_instances_pages import say
from tests.conftest import Cast, make_user

pytestmark = pytest.mark.django_db
NASTY = '<img src=x onerror=alert(1)><script>alert(1)</script> "&'


def url(cast: Cast, name: str, *ids: Any) -> str:
    return reverse(name, args=[cast.project.public_id, *ids])


@pytest.fixture
def disputed(cast: Cast) -> Any:
    """The first instance, on which two people disagree."""
    first = cast.task.instances.order_by("pk")[0]
    say(cast, first, "a-is-clearly-better", "Ann")
    say(cast, first, "b-is-clearly-better", "Bob")
    return first


def labelled(cast: Cast, user: Any) -> Any:
    """An instance that ``user`` annotates through the queue."""
    lent = queue.next_assignment(cast.task, user)
    queue.submit(lent, submission_id=uuid4(), answers={"overall": {"value": "tie"}}, active_ms=0)
    return lent.instance


def decide(cast: Cast, browser: Any, user: Any, instance: Any, vote: Any, reason: str = "Bob is right.") -> Any:
    body = {"took": str(vote.public_id), "reason": reason}
    return browser(user).post(url(cast, "adjudication-take", instance.public_id), body)


# flags


def flagged(cast: Cast, user: Any, comment: str = "") -> Any:
    lent = queue.next_assignment(cast.task, user)
    queue.flag(lent, reason="broken", comment=comment)
    lent.refresh_from_db()
    assert lent.state == AssignmentState.FLAGGED
    return lent


def test_a_flag_is_settled_once(cast: Cast, browser: Any) -> None:
    flag = flagged(cast, cast.annotator, NASTY)
    instance = flag.instance
    page = browser(cast.reviewer).get(url(cast, "instance", instance.public_id)).content.decode()
    assert "Broken or empty text" in page
    assert "<img src=x" not in page
    listed = browser(cast.viewer).get(url(cast, "instances"), {"state": "flagged"})
    assert [row["instance"].pk for row in listed.context["rows"]] == [instance.pk]
    assert browser(cast.viewer).post(url(cast, "flag-decide", flag.public_id), {"action": "removed"}).status_code == 403
    client = browser(cast.reviewer)
    assert client.post(url(cast, "flag-decide", flag.public_id), {"action": "burn"}).status_code == 422
    assert (
        client.post(url(cast, "flag-decide", flag.public_id), {"action": "removed", "note": "Empty."}).status_code
        == 302
    )
    instance.refresh_from_db()
    assert instance.removed_at is not None
    assert FlagDecision.objects.get().note == "Empty."
    again = client.post(url(cast, "flag-decide", flag.public_id), {"action": "restored"})
    assert again.status_code == 409
    assert AuditEvent.objects.filter(action="flag.decide").count() == 1
    assert not browser(cast.viewer).get(url(cast, "instances"), {"state": "flagged"}).context["rows"]


def test_what_was_held_as_harmful_is_shown_again(cast: Cast, browser: Any) -> None:
    lent = queue.next_assignment(cast.task, cast.annotator)
    queue.flag(lent, reason="harmful")
    held = browser(cast.viewer).get(url(cast, "instances"), {"state": "held"}).context["rows"]
    assert [row["instance"].pk for row in held] == [lent.instance_id]
    browser(cast.reviewer).post(url(cast, "flag-decide", lent.public_id), {"action": "sent-on"})
    lent.instance.refresh_from_db()
    assert (lent.instance.held_at, lent.instance.open_slots) == (None, 1)
    assert queue.next_assignment(cast.task, cast.reviewer).instance_id == lent.instance_id


def test_an_instance_is_given_to_somebody_else(cast: Cast, browser: Any) -> None:
    instance = labelled(cast, cast.annotator)
    assignment = instance.assignments.get()
    address = url(cast, "assignment-requeue", assignment.public_id)
    assert browser(cast.viewer).post(address, {"reason": "x"}).status_code == 403
    client = browser(cast.reviewer)
    assert "Give to somebody else" in client.get(url(cast, "instance", instance.public_id)).content.decode()
    assert client.post(address, {"reason": " "}).status_code == 422
    assert client.post(address, {"reason": "It was guessed."}).status_code == 302
    assert not instance.annotations.live().exists()
    assert queue.next_assignment(cast.task, cast.reviewer).instance_id == instance.pk
    assert client.post(address, {"reason": "again"}).status_code == 409


# comments


def test_comments_are_written_edited_resolved_and_deleted(cast: Cast, browser: Any) -> None:
    instance = cast.task.instances.order_by("pk")[0]
    client = browser(cast.reviewer)
    assert client.post(url(cast, "comment-add", instance.public_id), {"text": " "}).status_code == 422
    assert client.post(url(cast, "comment-add", instance.public_id), {"text": "x\x07"}).status_code == 422
    assert client.post(url(cast, "comment-add", instance.public_id), {"text": NASTY}).status_code == 302
    comment = Comment.objects.get()
    page = client.get(url(cast, "instance", instance.public_id)).content.decode()
    assert "&lt;img src=x" in page
    assert "<img src=x" not in page
    listed = browser(cast.viewer).get(url(cast, "instances"), {"comments": "open"})
    assert [row["instance"].talk for row in listed.context["rows"]] == [1]
    assert browser(cast.manager).post(url(cast, "comment-edit", comment.public_id), {"text": "mine"}).status_code == 403
    client.post(url(cast, "comment-edit", comment.public_id), {"text": "Better words"})
    browser(cast.manager).post(url(cast, "comment-resolve", comment.public_id))
    comment.refresh_from_db()
    assert (comment.text, comment.resolved_by) == ("Better words", cast.manager)
    assert comment.edited_at is not None
    client.post(url(cast, "comment-reopen", comment.public_id))
    assert browser(cast.viewer).post(url(cast, "comment-delete", comment.public_id)).status_code == 403
    assert browser(cast.manager).post(url(cast, "comment-delete", comment.public_id)).status_code == 302
    comment.refresh_from_db()
    assert (comment.text, comment.resolved_at) == ("", None)
    assert AuditEvent.objects.filter(action="comment.delete").count() == 1
    assert client.post(url(cast, "comment-edit", comment.public_id), {"text": "again"}).status_code == 404


def test_annotators_talk_about_what_they_labelled_only(cast: Cast, browser: Any) -> None:
    mine = labelled(cast, cast.annotator)
    other = cast.task.instances.exclude(pk=mine.pk).first()
    client = browser(cast.annotator)
    assert client.post(url(cast, "comment-add", mine.public_id), {"text": "Why?"}).url.endswith("/comments/#comments")
    assert "Why?" in client.get(url(cast, "thread", mine.public_id)).content.decode()
    assert client.get(url(cast, "thread", other.public_id)).status_code == 404
    assert client.post(url(cast, "comment-add", other.public_id), {"text": "No"}).status_code == 404
    hidden = Comment.objects.create(instance=other, author=cast.owner, text="For reviewers")
    for name in ("comment-edit", "comment-delete", "comment-resolve", "comment-reopen"):
        assert client.post(url(cast, name, hidden.public_id), {"text": "x"}).status_code == 404
    assert browser(cast.outsider).get(url(cast, "thread", mine.public_id)).status_code == 404


def test_a_thread_names_people_to_who_reviews_and_roles_to_everybody_else(cast: Cast, browser: Any) -> None:
    mine = labelled(cast, cast.annotator)
    other = make_user("Other Person")
    Membership.objects.create(project=cast.project, user=other, role=Role.ANNOTATOR)
    spoke = [Comment.objects.create(instance=mine, author=one, text="x") for one in (cast.reviewer, cast.annotator)]
    spoke.append(Comment.objects.create(instance=mine, author=other, text="x"))
    commenting.resolve(spoke[0], actor=cast.manager)
    commenting.delete(spoke[0], actor=cast.reviewer)
    commenting.resolve(spoke[1], actor=cast.reviewer)
    commenting.resolve(spoke[2], actor=cast.manager)
    spoke.append(Comment.objects.create(instance=mine, author=cast.reviewer, text="x"))
    page = browser(cast.annotator).get(url(cast, "thread", mine.public_id))
    told = [(one["who"], one["resolved_by"]) for one in page.context["thread"]]
    assert told == [("You", "Reviewer 1"), ("Annotator 3", "Reviewer"), ("Reviewer 1", "")]
    body = page.content.decode()
    assert not [one for one in ("Other Person", "reviewer@", "manager@", mine.external_id) if one in body]
    for reader, page in ((cast.manager, "instance"), (cast.reviewer, "instance")):
        thread = browser(reader).get(url(cast, page, mine.public_id)).context["thread"]
        assert [one["who"] for one in thread] == ["annotator", "Other Person", "reviewer"]
    seen = browser(cast.viewer).get(url(cast, "instance", mine.public_id)).context["thread"]
    assert [one["who"] for one in seen] == ["Annotator 2", "Annotator 3", "Reviewer 1"]


def test_a_thread_speaks_the_language_of_who_only_labels(cast: Cast, browser: Any) -> None:
    mine = labelled(cast, cast.annotator)
    Comment.objects.create(instance=mine, author=cast.reviewer, text="x")
    for user in (cast.annotator, cast.reviewer):
        people.prefer(user, "language", "de")
    page = browser(cast.annotator).get(url(cast, "thread", mine.public_id)).content.decode()
    assert "Kommentare" in page
    assert "Prüfer 1" in page
    assert "Comments" in browser(cast.reviewer).get(url(cast, "thread", mine.public_id)).content.decode()
    refused = browser(cast.annotator).post(url(cast, "comment-add", mine.public_id), {"text": " "})
    assert (refused.status_code, refused.context["comment_error"]) == (422, "Schreiben Sie zuerst etwas.")
    refused = browser(cast.reviewer).post(url(cast, "comment-add", mine.public_id), {"text": " "})
    assert (refused.status_code, refused.context["comment_error"]) == (422, "Write something first.")


# decisions


def test_the_queue_lists_what_waits_for_a_decision(cast: Cast, browser: Any, disputed: Any) -> None:
    flag = flagged(cast, cast.annotator)
    client = browser(cast.reviewer)

    def waiting(**query: str) -> list[int]:
        return [row["instance"].pk for row in client.get(url(cast, "adjudication"), query).context["rows"]]

    assert waiting() == sorted({disputed.pk, flag.instance_id})
    assert waiting(why="people") == [disputed.pk]
    assert waiting(why="flagged") == [flag.instance_id]
    assert client.get(url(cast, "adjudication"), {"why": "luck"}).status_code == 400
    assert browser(cast.viewer).get(url(cast, "adjudication")).status_code == 403


def test_a_reviewer_sees_no_names_unless_asked(cast: Cast, browser: Any, disputed: Any) -> None:
    client = browser(cast.reviewer)
    blind = client.get(url(cast, "adjudicate", disputed.public_id)).content.decode()
    assert "Person 1" in blind
    assert "Bob" not in blind
    assert ">m1<" not in blind
    named = client.get(url(cast, "adjudicate", disputed.public_id) + "?names=1").content.decode()
    assert "Bob" in named


def test_a_decision_names_nobody_to_who_reads_without_names(cast: Cast, browser: Any, disputed: Any) -> None:
    vote = disputed.annotations.get(annotator__name="Bob")
    decide(cast, browser, cast.reviewer, disputed, vote, reason="The second holds.")
    page = url(cast, "adjudicate", disputed.public_id)
    blind = browser(cast.manager).get(page)
    assert blind.context["decision"]["took"].startswith("Person ")
    assert blind.context["decision"]["took"] in [vote["who"] for vote in blind.context["votes"]]
    assert "Bob" not in blind.content.decode()
    assert "Ann<" not in blind.content.decode()
    assert browser(cast.manager).get(page, {"names": "1"}).context["decision"]["took"] == "Bob"


@pytest.mark.parametrize("words", ["a\x00b", "a\x1bb"])
def test_reasons_and_notes_that_no_database_holds_are_refused(
    cast: Cast, browser: Any, disputed: Any, words: str
) -> None:
    client = browser(cast.reviewer)
    vote = disputed.annotations.get(annotator__name="Bob")
    assert decide(cast, browser, cast.reviewer, disputed, vote, reason=words).status_code == 422
    flag = flagged(cast, cast.annotator)
    settled = client.post(url(cast, "flag-decide", flag.public_id), {"action": "removed", "note": words})
    assert settled.status_code == 422
    held = queue.next_assignment(cast.task, cast.annotator)
    assert client.post(url(cast, "assignment-requeue", held.public_id), {"reason": words}).status_code == 422
    said = client.post(url(cast, "comment-add", disputed.public_id), {"text": words})
    assert said.status_code == 422
    held.refresh_from_db()
    assert (held.state, FlagDecision.objects.count(), Adjudication.objects.count()) == ("lent", 0, 0)


def test_very_long_texts_are_not_compared_word_by_word() -> None:
    assert comparing.word_diff("a b c", "a x c") == [("same", "a "), ("gone", "b "), ("new", "x "), ("same", "c")]
    half = comparing.MOST_COMPARED // 2
    before, after = " ".join(f"w{n}" for n in range(half)), " ".join(f"w{n}" for n in range(half - 1))
    assert ("gone", f"w{half - 1}") in comparing.word_diff(before, f"{after} ")
    assert comparing.word_diff(f"{before} one two", f"{after} ") == [("same", f"{after} ")]


def test_taking_an_annotation_decides_and_keeps_the_votes(cast: Cast, browser: Any, disputed: Any) -> None:
    bob = disputed.annotations.get(annotator__name="Bob")
    assert decide(cast, browser, cast.reviewer, disputed, bob, reason=" ").status_code == 422
    assert decide(cast, browser, cast.reviewer, disputed, bob).status_code == 302
    made = Adjudication.objects.get()
    assert (made.took, made.annotation.state, made.annotation.answers) == (bob, "decided", bob.answers)
    assert set(made.saw.all()) == set(disputed.annotations.live())
    assert disputed.annotations.live().count() == 2
    page = browser(cast.reviewer).get(url(cast, "instance", disputed.public_id)).content.decode()
    assert "Decided as Bob says" in page
    assert "Bob is right." in page
    assert "Decided as Bob" not in browser(cast.viewer).get(url(cast, "instance", disputed.public_id)).content.decode()
    assert decide(cast, browser, cast.owner, disputed, bob).status_code == 409
    assert [
        row["instance"].pk
        for row in browser(cast.viewer).get(url(cast, "instances"), {"state": "decided"}).context["rows"]
    ] == [disputed.pk]
    assert browser(cast.reviewer).get(url(cast, "adjudication")).context["rows"] == []


def test_a_decision_is_taken_back(cast: Cast, browser: Any, disputed: Any) -> None:
    decide(cast, browser, cast.reviewer, disputed, disputed.annotations.first())
    client = browser(cast.manager)
    assert client.post(url(cast, "adjudication-undo", disputed.public_id)).status_code == 302
    made = Adjudication.objects.get()
    assert (made.state, made.undone_by, made.annotation.state) == ("undone", cast.manager, "withdrawn")
    assert client.post(url(cast, "adjudication-undo", disputed.public_id)).status_code == 422
    actions = AuditEvent.objects.filter(action__startswith="adjudication").values_list("action", flat=True)
    assert sorted(actions) == ["adjudication.decide", "adjudication.undo"]
    assert decide(cast, browser, cast.owner, disputed, disputed.annotations.live().first()).status_code == 302


def test_answering_anew_decides(cast: Cast, browser: Any, disputed: Any) -> None:
    client, address = browser(cast.reviewer), url(cast, "adjudication-answer", disputed.public_id)
    assert "Say why you decide so" in client.get(address).content.decode()

    def send(**body: Any) -> Any:
        return client.post(address, json.dumps(body), content_type="application/json")

    bad = send(answers={"overall": {"value": "nonsense"}}, reason="x")
    assert (bad.status_code, list(bad.json()["errors"])) == (422, ["overall.value"])
    assert list(send(answers={"overall": {"value": "tie"}}).json()["errors"]) == ["reason"]
    assert not Adjudication.objects.exists()
    good = send(
        answers={"overall": {"value": "tie"}}, reason="Both", submission_id=str(uuid4()), active_ms=5, version=0
    )
    assert good.status_code == 201, good.content
    made = Adjudication.objects.get()
    assert made.took is None
    assert made.annotation.answers["overall"]["value"] == "tie"


def test_nobody_decides_on_their_own_word(cast: Cast, browser: Any) -> None:
    mine = labelled(cast, cast.reviewer)
    own = mine.annotations.get()
    assert decide(cast, browser, cast.reviewer, mine, own).status_code == 422
    answer = {"answers": {"overall": {"value": "tie"}}, "reason": "I say so"}
    address = url(cast, "adjudication-answer", mine.public_id)
    alone = browser(cast.reviewer).post(address, json.dumps(answer), content_type="application/json")
    assert alone.status_code == 409
    say(cast, mine, "a-is-clearly-better", "Ann")
    assert decide(cast, browser, cast.reviewer, mine, own).status_code == 422
    assert decide(cast, browser, cast.reviewer, mine, mine.annotations.get(annotator__name="Ann")).status_code == 302


def test_a_foreign_vote_cannot_be_taken(cast: Cast, browser: Any, disputed: Any) -> None:
    other = cast.task.instances.exclude(pk=disputed.pk).first()
    vote = say(cast, other, "tie", "Cleo")
    assert decide(cast, browser, cast.reviewer, disputed, vote).status_code == 404
    taken_back = disputed.annotations.first()
    Annotation.objects.filter(pk=taken_back.pk).update(state="withdrawn", withdrawn_at=taken_back.created_at)
    assert decide(cast, browser, cast.reviewer, disputed, taken_back).status_code == 409


# many annotations, and no more queries


def test_the_pages_of_an_instance_ask_the_same_number_of_times(
    cast: Cast, browser: Any, disputed: Any, django_assert_max_num_queries: Any
) -> None:
    for n in range(30):
        say(cast, disputed, "tie", f"p{n}")
        author = make_user(f"u{n}")
        Membership.objects.create(project=cast.project, user=author, role=Role.REVIEWER)
        Comment.objects.create(instance=disputed, author=author, text="hm")
        who = Annotator.objects.create(project=cast.project, kind="human", name=f"q{n}")
        lent = Assignment(
            task=cast.task, instance=disputed, annotator=who, order=[0, 1], lease_expires_at=disputed.created_at
        )
        lent.save()
        queue.skip(lent, reason="too-hard")
    client = browser(cast.reviewer)
    for name in ("instance", "adjudicate"):
        client.get(url(cast, name, disputed.public_id))
        with django_assert_max_num_queries(26):
            client.get(url(cast, name, disputed.public_id))
    with django_assert_max_num_queries(12):
        client.get(url(cast, "adjudication"))
