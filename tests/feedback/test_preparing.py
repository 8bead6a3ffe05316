"""An instance lent ahead is lent like any other: never twice, never above the overlap, and given back."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone

from feedback.models import Assignment, Instance
from feedback.services import queue
from feedback.services.queue.line import AT_ONCE
from tests.conftest import Cast, make_cast

ANSWER = {"overall": {"value": "tie"}}


@pytest.fixture
def many(db: None) -> Cast:
    return make_cast(instances=AT_ONCE + 4)


def submit(lent: Any) -> Any:
    return queue.submit(lent, submission_id=uuid4(), answers=ANSWER, active_ms=0)


def test_what_was_prepared_comes_next(many: Cast) -> None:
    first = queue.next_assignment(many.task, many.annotator)
    prepared = queue.prepare(many.task, many.annotator)
    assert prepared is not None
    assert prepared.instance_id != first.instance_id
    assert queue.prepare(many.task, many.annotator) == prepared
    assert queue.next_assignment(many.task, many.annotator) == first
    submit(first)
    assert queue.next_assignment(many.task, many.annotator) == prepared


def test_it_is_lent_for_a_short_while_until_it_is_shown(many: Cast) -> None:
    first = queue.next_assignment(many.task, many.annotator)
    prepared = queue.prepare(many.task, many.annotator)
    assert prepared is not None
    soon = timezone.now() + timedelta(seconds=queue.PREPARED_SECONDS + 1)
    assert prepared.lease_expires_at < soon
    assert queue.return_expired(soon) == 1
    prepared.refresh_from_db()
    assert prepared.state == "expired"
    submit(first)
    assert queue.next_assignment(many.task, many.annotator) == prepared
    prepared.refresh_from_db()
    assert prepared.lease_expires_at > soon


def test_nothing_is_prepared_without_one_in_hand_or_at_the_end_of_the_line(db: None) -> None:
    cast = make_cast(instances=AT_ONCE)
    assert queue.prepare(cast.task, cast.annotator) is None
    queue.next_assignment(cast.task, cast.annotator)
    assert queue.prepare(cast.task, cast.annotator) is None  # fewer are left than people may be waiting for
    assert Assignment.objects.count() == 1


def test_it_can_be_handed_back_until_somebody_began_with_it(many: Cast) -> None:
    first = queue.next_assignment(many.task, many.annotator)
    prepared = queue.prepare(many.task, many.annotator)
    assert prepared is not None
    assert queue.hand_back(prepared)
    assert not queue.hand_back(prepared)
    prepared.instance.refresh_from_db()
    assert prepared.instance.open_slots == 1
    queue.save_draft(first, version=0, answers=ANSWER, active_ms=0)
    assert not queue.hand_back(first)
    assert queue.next_assignment(many.task, many.manager).instance_id == prepared.instance_id


def test_after_an_undo_the_undone_one_comes_first(many: Cast) -> None:
    first = queue.next_assignment(many.task, many.annotator)
    prepared = queue.prepare(many.task, many.annotator)
    annotation, _ = submit(first)
    queue.undo(annotation, many.annotator)
    assert queue.next_assignment(many.task, many.annotator) == first
    submit(Assignment.objects.get(pk=first.pk))
    assert queue.next_assignment(many.task, many.annotator) == prepared


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_people_who_prepare_at_once_get_different_instances_and_no_surplus() -> None:
    cast = make_cast(instances=60)
    people = [cast.annotator, cast.manager, cast.owner, cast.reviewer]
    failures: list[BaseException] = []

    def work(user: Any) -> None:
        try:
            for _ in range(8):
                lent = queue.next_assignment(cast.task, user)
                queue.prepare(cast.task, user)
                submit(lent)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    def prepare(user: Any) -> None:
        try:
            for _ in range(20):
                queue.prepare(cast.task, user)
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=does, args=(user,)) for user in people for does in (work, prepare, prepare)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    taken = Assignment.objects.filter(state__in=["lent", "submitted"])
    assert taken.values("instance").distinct().count() == taken.count()
    assert not Instance.objects.filter(open_slots__lt=0).exists()
    untaken = Instance.objects.exclude(pk__in=taken.values("instance"))
    assert set(untaken.values_list("open_slots", flat=True)) <= {1}
