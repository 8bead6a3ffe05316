"""The queue lends, keeps, takes and undoes; it never over-fills and never asks one person twice."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection, connections
from django.db.models import Count, Q
from django.utils import timezone

from feedback.exceptions import (
    DraftConflict,
    Frozen,
    InvalidInput,
    LeaseLost,
    NothingToLabel,
    SubmissionReused,
    UndoExpired,
    WrongState,
)
from feedback.models import (
    Annotation,
    AnnotationRequest,
    AnnotationState,
    Assignment,
    AssignmentState,
    Budget,
    DatasetVersion,
    Instance,
    Membership,
    Role,
    Task,
    User,
)
from feedback.services import labelling, queue, tasks
from tests.conftest import QUESTIONS, Cast, make_cast, make_user

ANSWER = {"overall": {"value": "a-is-clearly-better", "aspects": {"helpful": "tie"}, "confidence": 4}}


def submit(assignment: Assignment, answers: Any = None, submission_id: Any = None) -> tuple[Annotation, bool]:
    return queue.submit(assignment, submission_id=submission_id or uuid4(), answers=answers or ANSWER, active_ms=1000)


def test_next_returns_the_assignment_already_lent(cast: Cast) -> None:
    first = queue.next_assignment(cast.task, cast.annotator)
    assert queue.next_assignment(cast.task, cast.annotator).pk == first.pk
    assert Instance.objects.get(pk=first.instance_id).open_slots == 0


def test_everybody_gets_another_instance_and_nobody_the_same_twice(cast: Cast) -> None:
    seen = set()
    for _ in range(5):
        assignment = queue.next_assignment(cast.task, cast.annotator)
        seen.add(assignment.instance_id)
        submit(assignment)
    assert len(seen) == 5
    with pytest.raises(NothingToLabel):
        queue.next_assignment(cast.task, cast.annotator)


def test_the_same_submission_again_is_the_same_answer(cast: Cast) -> None:
    assignment = queue.next_assignment(cast.task, cast.annotator)
    key = uuid4()
    first, made = submit(assignment, submission_id=key)
    second, again = submit(assignment, submission_id=key)
    assert (made, again, first.pk) == (True, False, second.pk)


def test_the_same_submission_id_with_another_body_is_refused(cast: Cast) -> None:
    assignment = queue.next_assignment(cast.task, cast.annotator)
    key = uuid4()
    submit(assignment, submission_id=key)
    with pytest.raises(SubmissionReused):
        submit(assignment, {"overall": {"value": "tie"}}, submission_id=key)


def test_an_answer_that_does_not_fit_is_refused_and_nothing_is_stored(cast: Cast) -> None:
    assignment = queue.next_assignment(cast.task, cast.annotator)
    with pytest.raises(InvalidInput) as refused:
        submit(assignment, {"overall": {"value": "c-is-better"}})
    assert "overall.value" in refused.value.errors
    assert not Annotation.objects.exists()
    assert Assignment.objects.get().state == AssignmentState.LENT


def test_a_draft_of_another_tab_is_not_overwritten(cast: Cast) -> None:
    assignment = queue.next_assignment(cast.task, cast.annotator)
    assert queue.save_draft(assignment, version=0, answers={"overall": {"value": "tie"}}, active_ms=1) == 1
    with pytest.raises(DraftConflict) as conflict:
        queue.save_draft(assignment, version=0, answers={}, active_ms=1)
    assert conflict.value.answers == {"overall": {"value": "tie"}}


def test_an_expired_lease_returns_the_slot_and_keeps_the_draft(cast: Cast) -> None:
    assignment = queue.next_assignment(cast.task, cast.annotator)
    queue.save_draft(assignment, version=0, answers={"overall": {"value": "tie"}}, active_ms=1)
    later = timezone.now() + timedelta(minutes=cast.task.lease_minutes, seconds=10)
    assert queue.return_expired(later) == 1
    assert queue.return_expired(later) == 0
    again = queue.next_assignment(cast.task, cast.annotator)
    assert (again.pk, again.draft) == (assignment.pk, {"overall": {"value": "tie"}})


def test_a_late_submit_never_overfills(cast: Cast) -> None:
    late = queue.next_assignment(cast.task, cast.annotator)
    queue.return_expired(timezone.now() + timedelta(days=1))
    other = queue.next_assignment(cast.task, cast.reviewer)
    assert other.instance_id == late.instance_id
    with pytest.raises(LeaseLost):
        submit(late)
    assert Assignment.objects.get(pk=late.pk).state == AssignmentState.EXPIRED
    submit(other)
    assert Annotation.objects.count() == 1


def test_a_late_submit_counts_while_its_slot_is_free(cast: Cast) -> None:
    late = queue.next_assignment(cast.task, cast.annotator)
    queue.return_expired(timezone.now() + timedelta(days=1))
    submit(late)
    assert Instance.objects.get(pk=late.instance_id).open_slots == 0


def test_undo_lends_the_instance_again_with_the_answers(cast: Cast) -> None:
    annotation, _ = submit(queue.next_assignment(cast.task, cast.annotator))
    again = queue.undo(annotation, cast.annotator)
    assert again.state == AssignmentState.LENT
    assert again.draft["overall"]["value"] == "a-is-clearly-better"
    assert Annotation.objects.get().state == AnnotationState.WITHDRAWN
    submit(again, {"overall": {"value": "tie"}})
    stored = Annotation.objects.get()
    assert (stored.state, stored.answers["overall"]["value"]) == (AnnotationState.SUBMITTED, "tie")


def test_undo_ends_after_thirty_seconds(cast: Cast) -> None:
    annotation, _ = submit(queue.next_assignment(cast.task, cast.annotator))
    Annotation.objects.update(submitted_at=timezone.now() - timedelta(seconds=31))
    with pytest.raises(UndoExpired):
        queue.undo(annotation, cast.annotator)


def test_a_skipped_instance_goes_to_somebody_else_only(cast: Cast) -> None:
    skipped = queue.next_assignment(cast.task, cast.annotator)
    queue.skip(skipped, reason="too-hard")
    assert queue.next_assignment(cast.task, cast.annotator).instance_id != skipped.instance_id
    assert queue.next_assignment(cast.task, cast.reviewer).instance_id == skipped.instance_id


def test_changing_the_overlap_opens_what_is_missing(cast: Cast) -> None:
    first = queue.next_assignment(cast.task, cast.annotator)
    submit(first)
    task = tasks.edit_task(cast.task, actor=cast.owner, overlap=3)
    assert Instance.objects.get(pk=first.instance_id).open_slots == 2
    tasks.edit_task(task, actor=cast.owner, overlap=1)
    assert Instance.objects.get(pk=first.instance_id).open_slots == 0


def in_threads(count: int, work: Callable[[int], None]) -> list[BaseException]:
    """Run ``work(n)`` in ``count`` threads that start together; returns what they raised."""
    barrier, errors = threading.Barrier(count), list[BaseException]()

    def body(n: int) -> None:
        try:
            barrier.wait()
            work(n)
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=body, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


@pytest.mark.database
@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("overlap", [1, 3])
def test_many_annotators_never_overfill_an_instance(overlap: int) -> None:
    crowd = 32 if connection.vendor == "postgresql" else 16
    cast = make_cast(instances=40, overlap=overlap)
    users = [make_user(f"person{n}") for n in range(crowd)]
    for user in users:
        Membership.objects.create(project=cast.project, user=user, role=Role.ANNOTATOR)
    accepted = Counter[int]()

    def label(n: int) -> None:
        while True:
            try:
                assignment = queue.next_assignment(cast.task, users[n])
            except NothingToLabel:
                return
            key = uuid4()
            for _ in range(2):  # every submission is sent twice
                submit(assignment, submission_id=key)
            accepted[n] += 1

    errors = in_threads(crowd, label)
    assert errors == []
    per_instance = Counter(Annotation.objects.live().values_list("instance_id", flat=True))
    per_person = Counter(Annotation.objects.live().values_list("instance_id", "annotator_id"))
    assert set(per_instance.values()) == {overlap}
    assert len(per_instance) == 40
    assert max(per_person.values()) == 1
    assert sum(accepted.values()) == Annotation.objects.count() == 40 * overlap
    assert set(Instance.objects.values_list("open_slots", flat=True)) == {0}


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_a_submit_sent_several_times_at_once_is_one_answer_for_each() -> None:
    cast = make_cast(instances=1)
    assignment, key = queue.next_assignment(cast.task, cast.annotator), uuid4()
    errors = in_threads(6, lambda n: submit(Assignment.objects.get(pk=assignment.pk), submission_id=key) and None)
    assert (errors, Annotation.objects.count()) == ([], 1)


@pytest.mark.database
@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_the_overlap_changed_while_people_begin_is_never_passed() -> None:
    cast = make_cast(instances=60, overlap=1)
    people = [cast.annotator, cast.reviewer, cast.manager, cast.owner]

    def work(n: int) -> None:
        for round_ in range(15):
            if n == len(people):
                tasks.edit_task(Task.objects.get(pk=cast.task.pk), actor=cast.owner, overlap=1 + round_ % 2)
                continue
            with contextlib.suppress(NothingToLabel):
                submit(queue.next_assignment(Task.objects.get(pk=cast.task.pk), people[n]))

    assert in_threads(len(people) + 1, work) == []
    begun = Count("assignments", filter=Q(assignments__state__in=["lent", "submitted"]))
    assert max(row.begun + row.open_slots for row in Instance.objects.annotate(begun=begun)) <= 2


def test_an_answer_that_was_taken_back_cannot_be_changed(cast: Cast) -> None:
    annotation, _ = submit(queue.next_assignment(cast.task, cast.annotator))
    recent = Annotation.objects.get(pk=annotation.pk)
    queue.undo(annotation, cast.annotator)
    with pytest.raises(WrongState):
        queue.edit(recent, ANSWER, user=cast.annotator)


def test_an_answer_given_before_a_version_was_read_is_part_of_it(cast: Cast) -> None:
    version = DatasetVersion.objects.create(task=cast.task, number=1, spec={}, created_by=cast.owner)
    annotation, _ = submit(queue.next_assignment(cast.task, cast.annotator))
    frozen = {"state": "ready", "frozen_at": timezone.now(), "sha256": "0" * 64}
    DatasetVersion.objects.filter(pk=version.pk).update(**frozen)
    with pytest.raises(Frozen):
        queue.edit(annotation, ANSWER, user=cast.annotator)
    assert labelling.editable(cast.annotator) == set()


@pytest.mark.parametrize("change", [{"kind": "ranking"}, {"kind": "choice", "options": ["x", "y"]}, {"steps": 9}])
def test_a_question_that_was_answered_keeps_its_kind_and_steps(cast: Cast, change: dict[str, Any]) -> None:
    new = {"name": "overall", "title": "New"} | change
    questions = [QUESTIONS[0] | new if "steps" in change else new]
    submit(queue.next_assignment(cast.task, cast.annotator))
    with pytest.raises(InvalidInput) as refused:
        tasks.edit_task(cast.task, actor=cast.owner, questions=questions)
    assert set(refused.value.errors) <= {"questions.0.kind", "questions.0.steps"}
    renamed = [QUESTIONS[0], *({**one, "name": "another"} for one in questions)]
    assert tasks.edit_task(cast.task, actor=cast.owner, questions=renamed).questions_version == 2


def request_for(annotation_of: Any, price: int, **fields: Any) -> AnnotationRequest:
    return AnnotationRequest.objects.create(instance_id=annotation_of, source="human", price_micros=price, **fields)


def test_undo_gives_the_money_back_to_the_request_that_paid(cast: Cast) -> None:
    """A later plan counted the answer as there and free: it did not pay, so it is not paid back."""
    assignment = queue.next_assignment(cast.task, cast.annotator)
    Budget.objects.filter(task=cast.task).update(cap_micros=1000, reserved_micros=500)
    paid = request_for(assignment.instance_id, 500)
    annotation, _ = submit(assignment)
    request_for(assignment.instance_id, 0, received=1, state="done", ended_at=timezone.now())
    again = queue.undo(annotation, cast.annotator)
    paid.refresh_from_db()
    purse = Budget.objects.get(task=cast.task)
    assert (paid.state, paid.received, purse.spent_micros, purse.reserved_micros) == ("open", 0, 0, 500)
    submit(again)
    purse.refresh_from_db()
    assert (purse.spent_micros, purse.reserved_micros) == (500, 0)


def test_undo_under_a_later_plan_asks_that_plan_again(cast: Cast) -> None:
    """Two labels are wanted, one was there: with it undone, the open request wants two, at its own price."""
    assignment = queue.next_assignment(cast.task, cast.annotator)
    Budget.objects.filter(task=cast.task).update(cap_micros=1000, reserved_micros=500)
    request_for(assignment.instance_id, 500)
    annotation, _ = submit(assignment)
    Budget.objects.filter(task=cast.task).update(reserved_micros=200)
    later = request_for(assignment.instance_id, 200)
    queue.undo(annotation, cast.annotator)
    later.refresh_from_db()
    purse = Budget.objects.get(task=cast.task)
    assert (later.wanted, later.received, later.state) == (2, 0, "open")
    assert (purse.spent_micros, purse.reserved_micros) == (0, 400)


@pytest.mark.database
@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_one_person_in_several_tabs_never_waits_in_a_circle() -> None:
    cast = make_cast(instances=60)
    refused = (NothingToLabel, WrongState, LeaseLost, UndoExpired, InvalidInput)

    def work(n: int) -> None:
        for _ in range(25):
            with contextlib.suppress(*refused):
                held = queue.next_assignment(Task.objects.get(pk=cast.task.pk), cast.annotator)
                if n == 3:
                    queue.requeue(held, reason="Another pair of eyes", actor=cast.owner)
                    continue
                annotation, made = submit(Assignment.objects.get(pk=held.pk))
                if made and n == 2:
                    queue.undo(annotation, cast.annotator)

    assert in_threads(4, work) == []
    rows = Assignment.objects.filter(annotator__user=cast.annotator)
    assert rows.filter(state=AssignmentState.LENT).count() <= 1
    submitted = rows.filter(state=AssignmentState.SUBMITTED).count()
    assert submitted == Annotation.objects.live().count() > 0


def lend_to(task: Task, user: User) -> int:
    return queue.next_assignment(task, user).pk


@pytest.mark.database
@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_one_person_in_several_tabs_is_lent_one_instance() -> None:
    """The tab that waited for the other's lock sees what the other was lent."""
    cast = make_cast(instances=20, overlap=3)
    for _ in range(5):  # the first time none of the tabs finds a place
        lent: list[int] = []
        task = Task.objects.get(pk=cast.task.pk)
        assert in_threads(8, lambda _, task=task, lent=lent: lent.append(lend_to(task, cast.annotator))) == []
        assert len(lent) == 8
        assert len(set(lent)) == 1
        submit(Assignment.objects.get(pk=lent[0]))
