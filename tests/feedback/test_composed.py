"""Composed queries give what the ORM's own would, with whatever values, on each database."""

from __future__ import annotations

from datetime import timedelta
from threading import Thread
from typing import Any

import pytest
from django.db import DataError, IntegrityError, connection, transaction
from django.db.models import DateTimeField, Exists, F, JSONField, OuterRef, UUIDField
from django.db.models.fields import CharField
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from feedback.composed import Insert, Rows, Update, Whole, slot, together
from feedback.models import Annotation, Assignment, Instance, User
from feedback.services import queue
from tests.conftest import make_cast

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]

of_person = Rows(
    lambda: (
        Assignment.objects.filter(public_id=slot("key", UUIDField), annotator__user=slot("user"))
        .select_related("task__project", "instance", "guideline")
        .annotate(said=Exists(Annotation.objects.filter(assignment=OuterRef("pk"))))
    )
)
rename = Update(
    lambda: Assignment.objects.filter(pk=slot("key"), lease_expires_at__gt=slot("now", DateTimeField)),
    draft=slot("draft", JSONField),
    comment=slot("comment", CharField),
    active_ms=F("active_ms") + slot("more"),
)


@pytest.fixture
def lent() -> tuple[Assignment, User]:
    cast = make_cast(instances=3)
    return queue.next_assignment(cast.task, cast.annotator), cast.annotator


def test_rows_are_the_instances_that_the_orm_would_read(lent: tuple[Assignment, User]) -> None:
    assignment, user = lent
    for _ in range(2):  # composed, then filled in
        with CaptureQueriesContext(connection) as asked:
            found = of_person.first(key=assignment.public_id, user=user.pk)
            assert found.task.project.name
            assert found.instance.completions
            assert found.said is False
        assert len(asked) == 1
        read = Assignment.objects.select_related("task", "instance").get(pk=assignment.pk)
        for one, other in ((found, read), (found.task, read.task), (found.instance, read.instance)):
            assert one == other
            for field in type(other)._meta.concrete_fields:
                assert getattr(one, field.attname) == getattr(other, field.attname), field.name
    assert of_person.first(key=assignment.public_id, user=user.pk + 1) is None
    assert of_person.all(key=assignment.instance.public_id, user=user.pk) == []


def test_an_update_fills_in_every_kind_of_value(lent: tuple[Assignment, User]) -> None:
    assignment, _ = lent
    hostile = {"o'verall": ["%s", "\\", '"', {"ü": None}]}
    values: dict[str, Any] = {"draft": hostile, "comment": "100 % 'sure'; --", "more": 7}
    assert rename(key=assignment.pk, now=timezone.now() + timedelta(days=2), **values) == 0
    assert rename(key=assignment.pk, now=timezone.now(), **values) == 1
    assignment.refresh_from_db()
    assert (assignment.draft, assignment.comment, assignment.active_ms) == (hostile, "100 % 'sure'; --", 7)


def test_an_insert_stores_what_save_would(lent: tuple[Assignment, User]) -> None:
    assignment, _ = lent
    twin = Instance.objects.exclude(pk=assignment.instance_id).first()
    assert twin
    names = [field.attname for field in Assignment._meta.concrete_fields if not field.primary_key]
    values = {name: getattr(assignment, name) for name in names if name != "public_id"} | {"instance_id": twin.pk}
    made = Insert(Assignment)(Assignment(**values))
    stored = Assignment.objects.get(pk=made.pk)
    assert made.pk != assignment.pk
    assert not made._state.adding
    for name in names:
        assert getattr(stored, name) == getattr(made, name), name


def test_threads_have_statements_of_their_own(lent: tuple[Assignment, User]) -> None:
    assignment, user = lent
    found: list[Any] = []

    def ask() -> None:
        try:
            found.extend(of_person.first(key=assignment.public_id, user=user.pk) for _ in range(3))
        finally:
            connection.close()

    threads = [Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [assignment] * 12


def test_an_insert_once_writes_the_row_that_is_there_anew_but_for_what_is_kept(lent: tuple[Assignment, User]) -> None:
    assignment, _ = lent
    insert = Insert(Annotation, once="assignment", kept=["public_id", "details", "recorded", "created_at"])
    keys = {name: getattr(assignment, name) for name in ("task_id", "instance_id", "annotator_id")}

    def written(answer: str, **other: Any) -> Annotation:
        return insert(Annotation(assignment=assignment, source="human", answers={"said": answer}, **keys, **other))

    first = written("this", details={"seen": 1})
    again = written("that")
    stored = Annotation.objects.get()
    assert again == first == stored
    assert (stored.answers, stored.details, stored.recorded) == ({"said": "that"}, {"seen": 1}, False)
    for field in Annotation._meta.concrete_fields:
        assert getattr(again, field.attname) == getattr(stored, field.attname), field.name
    assert (stored.public_id, stored.created_at) == (first.public_id, first.created_at)
    assert stored.updated_at > first.updated_at


same = Rows(lambda: Assignment.objects.filter(pk=slot("key")))


def test_statements_together_are_answered_in_turn_and_see_what_came_before(lent: tuple[Assignment, User]) -> None:
    assignment, _ = lent
    changed = {"draft": {"a%s;": "; DROP TABLE x"}, "comment": "'; --", "more": 7, "now": timezone.now()}
    with CaptureQueriesContext(connection) as queries:
        before, count, none, after = together(
            same.asked(key=assignment.pk),
            rename.asked(key=assignment.pk, **changed),
            same.asked_whether(key=assignment.pk + 1000),
            same.asked(key=assignment.pk),
        )
    assert len(queries) == (1 if connection.vendor == "postgresql" else 4)
    assert (before[0].comment, count, none, after[0].comment, after[0].active_ms) == ("", 1, False, "'; --", 7)
    assert after[0].draft == changed["draft"]


def test_statements_together_fail_together(lent: tuple[Assignment, User]) -> None:
    assignment, _ = lent
    changed = {"draft": {}, "comment": "first", "now": timezone.now()}
    with pytest.raises((DataError, IntegrityError)), transaction.atomic():  # less than no time was spent on it
        together(
            rename.asked(key=assignment.pk, **changed, more=1), rename.asked(key=assignment.pk, **changed, more=-9)
        )
    assignment.refresh_from_db()
    assert assignment.comment == ""


def test_a_row_of_all_columns_is_the_instance(lent: tuple[Assignment, User]) -> None:
    instance, whole = Instance.objects.get(pk=lent[0].instance_id), Whole(Instance)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {whole.columns}, 5 FROM feedback_instance WHERE id = %s", [instance.pk])
        read = whole.read(cursor.fetchone())
    names = [field.attname for field in Instance._meta.concrete_fields]
    assert [getattr(read, name) for name in names] == [getattr(instance, name) for name in names]
