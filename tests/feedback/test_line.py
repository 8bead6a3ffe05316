"""A place in the line skips what is done and still finds whatever comes back behind it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, transaction
from django.db.models import Value
from django.db.models.functions import Concat
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from feedback.exceptions import InvalidInput, NothingToLabel, Unsuited, WrongState
from feedback.models import (
    Annotation,
    AnnotationRevision,
    Assignment,
    AssignmentState,
    AuditEvent,
    Budget,
    Instance,
    Membership,
    QueuePlace,
    Task,
)
from feedback.services import queue, tasks
from feedback.services.queue import counting, line, places
from tests.conftest import Cast, make_cast, make_instances

ANSWER = {"overall": {"value": "tie"}}


def submit(assignment: Assignment) -> Annotation:
    return queue.submit(assignment, submission_id=uuid4(), answers=ANSWER, active_ms=1)[0]


def label_all(cast: Cast, user: Any) -> list[int]:
    """Label until nothing is left; returns the instances in the order they were lent."""
    seen = []
    while True:
        try:
            lent = queue.next_assignment(cast.task, user)
        except NothingToLabel:
            return seen
        submit(lent)
        seen.append(lent.instance_id)


def first_of(cast: Cast) -> Instance:
    return cast.task.instances.order_by("pk").first()  # type: ignore[no-any-return]


def expire(cast: Cast) -> None:
    queue.return_expired(timezone.now() + timedelta(days=2))


def skipped_by_another(cast: Cast) -> None:
    queue.skip(Assignment.objects.lent().get(), reason="too-hard")


def given_back_by_the_clock(cast: Cast) -> None:
    expire(cast)


def requeued(cast: Cast) -> None:
    queue.requeue(Assignment.objects.lent().get(), reason="Not their field", actor=cast.reviewer)


def answered_then_requeued(cast: Cast) -> None:
    lent = Assignment.objects.lent().get()
    submit(lent)
    queue.requeue(lent, reason="Wrong on purpose", actor=cast.reviewer)


def flagged(cast: Cast) -> None:
    queue.flag(Assignment.objects.lent().get(), reason="broken")


def flagged_and_released(cast: Cast) -> None:
    lent = Assignment.objects.lent().get()
    queue.flag(lent, reason=queue.HARMFUL)
    queue.release(lent.instance, actor=cast.reviewer)


RETURNS: list[Callable[[Cast], None]] = [
    *(skipped_by_another, given_back_by_the_clock, requeued),
    *(answered_then_requeued, flagged, flagged_and_released),
]


@pytest.mark.parametrize("comes_back", RETURNS, ids=lambda event: event.__name__)
def test_an_instance_that_comes_back_behind_a_place_is_found(
    cast: Cast, comes_back: Callable[[Cast], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "STRIDE", 1)
    other = queue.next_assignment(cast.task, cast.manager)
    assert len(label_all(cast, cast.annotator)) == 4
    comes_back(cast)
    assert label_all(cast, cast.annotator) == [other.instance_id]


def test_an_instance_held_as_harmful_is_shown_to_nobody_until_a_reviewer_looked(cast: Cast) -> None:
    lent = queue.next_assignment(cast.task, cast.annotator)
    queue.flag(lent, reason=queue.HARMFUL)
    assert lent.instance_id not in label_all(cast, cast.manager)
    queue.release(lent.instance, actor=cast.reviewer)
    assert label_all(cast, cast.manager) == [lent.instance_id]
    assert AuditEvent.objects.filter(action="instance.release").count() == 1
    with pytest.raises(WrongState):
        queue.release(lent.instance, actor=cast.reviewer)


def test_a_raised_overlap_opens_what_lies_behind(cast: Cast) -> None:
    label_all(cast, cast.annotator)
    label_all(cast, cast.manager)
    tasks.edit_task(cast.task, actor=cast.owner, overlap=2)
    assert len(label_all(cast, cast.manager)) == 5
    assert label_all(cast, cast.annotator) == []


def test_what_is_added_or_raised_behind_a_place_comes_first(cast: Cast) -> None:
    queue.next_assignment(cast.task, cast.manager)
    for _ in range(2):
        submit(queue.next_assignment(cast.task, cast.annotator))
    last = cast.task.instances.order_by("-pk")[0]
    line.prioritise(cast.task, {last.pk: 7})
    assert queue.next_assignment(cast.task, cast.annotator).instance_id == last.pk
    low = Instance.objects.create(task=cast.task, external_id="low", prompt=[], completions=[], prompt_hash="0" * 64)
    Instance.objects.filter(pk=low.pk).update(open_slots=1, priority=9)
    line.reform(cast.task.pk)
    assert queue.next_assignment(cast.task, cast.reviewer).instance_id == low.pk


def test_higher_priority_is_lent_first_and_then_by_age(cast: Cast) -> None:
    keys = list(cast.task.instances.order_by("pk").values_list("pk", flat=True))
    line.prioritise(cast.task, {keys[3]: 5, keys[1]: 5, keys[4]: -1})
    assert label_all(cast, cast.annotator) == [keys[1], keys[3], keys[0], keys[2], keys[4]]


@pytest.mark.database
def test_lending_reads_as_little_after_many_answers_as_after_none(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has done 300 of an open pool asks the same queries, and probes no more than a stride of it."""
    monkeypatch.setattr(line, "STRIDE", 8)
    cast = make_cast(instances=0, overlap=3)
    made = make_instances(cast.task, 320)
    tasks.open_task(cast.task, actor=cast.owner)
    annotator = queue.annotator_of(cast.project, cast.annotator)
    queries = []
    for done in (0, 300):
        Assignment.objects.bulk_create(
            Assignment(
                task=cast.task,
                instance=instance,
                annotator=annotator,
                order=[0, 1],
                state=AssignmentState.SUBMITTED,
                lease_expires_at=timezone.now(),
                ended_at=timezone.now(),
            )
            for instance in made[5 : 5 + done]
        )
        for _ in range(5):
            with CaptureQueriesContext(connection) as captured:
                lent = queue.next_assignment(cast.task, cast.annotator)
            submit(lent)
        queries.append(len(captured))
    assert queries[1] <= queries[0] + 1  # the place is written down once in a stride
    place = QueuePlace.objects.get(annotator=annotator)
    assert lent.instance_id - place.instance_id <= 8


@pytest.mark.database
def test_the_next_instance_is_read_from_the_index_of_the_line(db: None) -> None:
    """Nothing of another task is walked through, and nothing that the person did is joined."""
    cast = make_cast(instances=0, overlap=3)
    other = tasks.create_task(cast.project, "other", cast.task.questions, actor=cast.owner)
    done = make_instances(cast.task, 400)
    cast.task.instances.update(external_id=Concat(Value("first-"), "external_id"))
    make_instances(other, 1500)
    make_instances(cast.task, 100)
    for task in (cast.task, other):
        tasks.open_task(task, actor=cast.owner)
    annotator = queue.annotator_of(cast.project, cast.annotator)
    ended = {"state": AssignmentState.SUBMITTED, "lease_expires_at": timezone.now(), "ended_at": timezone.now()}
    Assignment.objects.bulk_create(
        Assignment(task=cast.task, instance=instance, annotator=annotator, order=[0, 1], **ended) for instance in done
    )
    place, reader = places.look(cast.task, cast.annotator)
    line.ahead(cast.task, place, reader)
    place.instance_id = done[-1].pk  # before all that is the other task's
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    with CaptureQueriesContext(connection) as captured, transaction.atomic():
        taken = line.take_on_level(cast.task, place, reader)
    assert taken
    assert taken.pk > done[-1].pk + 1500
    plan = _plan_of(next(query["sql"] for query in captured if "UPDATE feedback_instance" in query["sql"]))
    assert "instance_line" in plan
    for wide in ("Merge", "Hash", "Seq Scan", "SCAN i", "Index Cond: (id >= "):
        assert wide not in plan, plan


def _plan_of(statement: str) -> str:
    explain = "EXPLAIN " if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN "
    with connection.cursor() as cursor:
        cursor.execute(explain + statement)
        return "\n".join(str(row[-1]) for row in cursor.fetchall())


def test_what_came_back_is_counted_in_the_order_of_its_index(cast: Cast) -> None:
    """Where nothing ever came back, PostgreSQL guesses a third of the pool, and looks for a thousand of them in all of
    it (0.4 s in a million instances, twice a minute for each person) unless their order makes it read the index."""
    place, reader = places.look(cast.task, cast.annotator)
    with CaptureQueriesContext(connection) as captured:
        assert counting.left_of(reader, [place]) == {cast.task.pk: (5, False)}
    parts = captured[-1]["sql"].split(" AS counted")
    back = next(part for part in parts if '."returned" >' in part)
    assert re.search(r'ORDER BY \w+\."returned" ASC\s+LIMIT', back), back


def test_a_person_gets_the_languages_they_read_and_the_skills_they_have(cast: Cast) -> None:
    keys = list(cast.task.instances.order_by("pk").values_list("pk", flat=True))
    for pk, fields in zip(keys, [{"lang": "de"}, {"lang": "de-at"}, {"lang": "en"}, {"skill": "law"}, {}], strict=True):
        Instance.objects.filter(pk=pk).update(**fields)
    mine = Membership.objects.filter(user=cast.annotator)
    mine.update(languages=["de"])
    assert label_all(cast, cast.annotator) == [keys[0], keys[1], keys[4]]
    mine.update(languages=["de", "en"], skills=["law"])
    assert label_all(cast, cast.annotator) == keys[2:4]


def test_a_task_that_asks_for_more_says_what(cast: Cast) -> None:
    Task.objects.filter(pk=cast.task.pk).update(languages=["de"], skills=["law"])
    cast.task.refresh_from_db()
    Membership.objects.filter(user=cast.annotator).update(languages=["en"])
    with pytest.raises(Unsuited, match="de, law"):
        queue.next_assignment(cast.task, cast.annotator)


def test_a_requeued_answer_no_longer_counts_and_is_kept(cast: Cast) -> None:
    first = queue.next_assignment(cast.task, cast.annotator)
    Budget.objects.filter(task=cast.task).update(cap_micros=10)
    annotation = submit(first)
    queue.requeue(first, reason="Clicked through", actor=cast.reviewer)
    annotation.refresh_from_db()
    first.refresh_from_db()
    assert (annotation.state, first.state, first.comment) == ("withdrawn", "requeued", "Clicked through")
    assert AnnotationRevision.objects.get(annotation=annotation).answers == annotation.answers
    assert AuditEvent.objects.get(action="assignment.requeue").details["reason"] == "Clicked through"
    assert QueuePlace.objects.get(annotator=first.annotator).done == 0
    assert first.instance_id not in label_all(cast, cast.annotator)
    assert label_all(cast, cast.manager) == [first.instance_id]
    with pytest.raises(WrongState):
        queue.requeue(first, reason="Again", actor=cast.reviewer)
    with pytest.raises(InvalidInput):
        queue.requeue(first, reason=" ", actor=cast.reviewer)


def test_what_is_left_is_counted_up_to_a_thousand(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    from feedback.services.queue import counting

    submit(queue.next_assignment(cast.task, cast.annotator))
    assert queue.progress_of([cast.task], cast.annotator) == {cast.task.pk: (1, 4, False)}
    monkeypatch.setattr(counting, "COUNTED", 3)
    assert queue.progress_of([cast.task], cast.annotator) == {cast.task.pk: (1, 3, True)}
    place = queue.progress_in(queue.next_assignment(cast.task, cast.annotator), cast.annotator)
    assert (place.done, place.goal, place.more) == (1, 4, True)
