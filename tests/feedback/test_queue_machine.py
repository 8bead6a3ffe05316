"""The queue against a small model of it: several people, a clock of our own, every order of events.

``QUEUE_MACHINE_RUNS=500 QUEUE_MACHINE_STEPS=50`` is the nightly size. Bugs planted one by one must each be caught.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from feedback.exceptions import DraftConflict, LeaseLost, NothingToLabel, SubmissionReused, UndoExpired
from feedback.models import Annotation, Assignment, Instance, QueuePlace, Task
from feedback.services import queue, tasks
from feedback.services.queue import drafts, lending, line, returning, submitting
from tests.conftest import make_cast

RUNS = int(os.environ.get("QUEUE_MACHINE_RUNS", "6"))
STEPS = int(os.environ.get("QUEUE_MACHINE_STEPS", "25"))
VALUES = ["a-is-clearly-better", "tie", "b-is-slightly-better"]
TAKEN = ("lent", "submitted")

person, value, small = st.integers(0, 2), st.sampled_from(VALUES), st.integers(0, 3)


class Clock:
    now = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)


class Held:
    """What the model knows of one person with one instance."""

    def __init__(self, row: Assignment, at: datetime) -> None:
        self.pk, self.instance, self.state, self.at = row.pk, row.instance_id, "lent", at
        self.lease = at
        self.version, self.draft = 0, {}  # type: tuple[int, dict[str, Any]]
        self.submission: UUID | None = None
        self.submitted = at


class QueueMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.frame = transaction.atomic()
        self.frame.__enter__()
        Clock.now = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
        self.cast = make_cast(instances=4, overlap=1)
        self.people = [self.cast.annotator, self.cast.manager, self.cast.reviewer]
        self.instances = list(self.cast.task.instances.order_by("pk").values_list("pk", flat=True))
        self.open = dict.fromkeys(self.instances, 1)
        self.owed = dict.fromkeys(self.instances, 0)
        self.hidden: set[int] = set()
        self.held: list[dict[int, Held]] = [{}, {}, {}]
        self.lease = timedelta(minutes=self.cast.task.lease_minutes)

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.frame.__exit__(None, None, None)

    # what the model does

    def of(self, who: int, state: str) -> list[Held]:
        return sorted((one for one in self.held[who].values() if one.state == state), key=lambda one: one.at)

    def back(self, instance: int) -> None:
        if self.owed[instance]:
            self.owed[instance] -= 1
        else:
            self.open[instance] += 1

    def free(self, instance: int) -> bool:
        return self.open[instance] > 0 and instance not in self.hidden

    def expire(self) -> int:
        over = [one for mine in self.held for one in mine.values() if one.state == "lent" and one.lease < Clock.now]
        for one in over:
            one.state = "expired"
            self.back(one.instance)
        return len(over)

    def choices(self, who: int) -> tuple[str, set[int]]:
        """How the next instance must come about, and which ones it may be."""
        if lent := self.of(who, "lent"):
            return "lent", {lent[0].instance}
        if again := [one for one in self.of(who, "expired") if self.free(one.instance)]:
            return "again", {again[0].instance}
        fresh = {instance for instance in self.instances if self.free(instance) and instance not in self.held[who]}
        return ("fresh", fresh) if fresh else ("nothing", set())

    def one(self, who: int, nth: int, *states: str) -> Held | None:
        found = [one for state in states for one in self.of(who, state)]
        return found[nth % len(found)] if found else None

    @staticmethod
    def row(one: Held) -> Assignment:
        return Assignment.objects.select_related("task__project", "instance", "annotator").get(pk=one.pk)

    # what people do

    @rule(who=person)
    def lend(self, who: int) -> None:
        how, allowed = self.choices(who)
        if how == "nothing" and self.expire():
            how, allowed = self.choices(who)
        task = Task.objects.select_related("project", "guideline").get(pk=self.cast.task.pk)
        try:
            lent = queue.next_assignment(task, self.people[who])
        except NothingToLabel:
            assert how == "nothing", f"{allowed} were open to {who}"
            return
        assert lent.instance_id in allowed, (how, allowed)
        if how == "fresh":
            self.held[who][lent.instance_id] = Held(lent, Clock.now)
        one = self.held[who][lent.instance_id]
        if how != "lent":
            self.open[one.instance] -= 1
        one.state, one.lease = "lent", Clock.now + self.lease

    @rule(who=person, nth=small, value=value, stale=st.booleans())
    def draft(self, who: int, nth: int, value: str, stale: bool) -> None:
        one = self.one(who, nth, "lent", "expired")
        if one is None or (stale and not one.version):
            return
        answers = {"overall": {"value": value}}
        fields: dict[str, Any] = {"version": one.version - stale, "answers": answers, "active_ms": 1}
        if stale:
            with pytest.raises(DraftConflict):
                queue.save_draft(self.row(one), **fields)
            return
        if one.state == "expired":
            with pytest.raises(LeaseLost):
                queue.save_draft(self.row(one), **fields)
        else:
            queue.save_draft(self.row(one), **fields)
            one.lease = Clock.now + self.lease
        one.version, one.draft = one.version + 1, answers

    @rule(who=person, nth=small, value=value)
    def submit(self, who: int, nth: int, value: str) -> None:
        one = self.one(who, nth, "lent", "expired")
        if one is None:
            return
        key, late = uuid4(), one.state == "expired"
        try:
            _, made = self.send(one, key, value)
        except LeaseLost:
            assert late
            assert not self.free(one.instance)
            return
        assert made
        if late:
            assert self.free(one.instance)
            self.open[one.instance] -= 1
        one.state, one.submission, one.submitted, one.draft = "submitted", key, Clock.now, {"value": value}

    def send(self, one: Held, key: UUID, value: str) -> tuple[Annotation, bool]:
        return queue.submit(self.row(one), submission_id=key, answers={"overall": {"value": value}}, active_ms=1)

    @rule(who=person, nth=small, same=st.booleans())
    def submit_again(self, who: int, nth: int, same: bool) -> None:
        one = self.one(who, nth, "submitted")
        if one is None or one.submission is None:
            return
        value = one.draft["value"]
        if same:
            assert self.send(one, one.submission, value)[1] is False
            return
        with pytest.raises(SubmissionReused):
            self.send(one, one.submission, next(other for other in VALUES if other != value))

    @rule(who=person, nth=small)
    def undo(self, who: int, nth: int) -> None:
        one = self.one(who, nth, "submitted")
        if one is None:
            return
        annotation = Annotation.objects.select_related("task").get(assignment=one.pk)
        in_time = Clock.now - one.submitted <= timedelta(seconds=queue.UNDO_SECONDS)
        try:
            again = queue.undo(annotation, self.people[who])
        except UndoExpired:
            assert not in_time
            return
        assert in_time
        one.state, one.lease, one.version = "lent", Clock.now + self.lease, again.draft_version
        one.draft, one.submission = again.draft, None

    @rule(who=person, nth=small, value=value)
    def edit(self, who: int, nth: int, value: str) -> None:
        one = self.one(who, nth, "submitted")
        if one is not None:
            annotation = Annotation.objects.select_related("task", "instance", "annotator").get(assignment=one.pk)
            edited = queue.edit(annotation, {"overall": {"value": value}}, user=self.people[who])
            assert edited.answers["overall"]["value"] == value
            # the id still names the body that was submitted, not what it was changed to

    @rule(who=person, nth=small, how=st.sampled_from(["skip", "broken", "harmful"]))
    def hand_back(self, who: int, nth: int, how: str) -> None:
        one = self.one(who, nth, "lent")
        if one is None:
            return
        if how == "skip":
            queue.skip(self.row(one), reason="other")
        else:
            queue.flag(self.row(one), reason=how)
        one.state = "skipped" if how == "skip" else "flagged"
        self.hidden |= {one.instance} if how == "harmful" else set()
        self.back(one.instance)

    @rule(who=person, nth=small)
    def requeue(self, who: int, nth: int) -> None:
        one = self.one(who, nth, "lent", "submitted")
        if one is not None:
            queue.requeue(self.row(one), reason="Look again", actor=self.cast.owner)
            one.state = "requeued"
            self.back(one.instance)

    @precondition(lambda self: self.hidden)
    @rule()
    def release(self) -> None:
        queue.release(Instance.objects.get(pk=self.hidden.pop()), actor=self.cast.owner)

    @rule(seconds=st.sampled_from([5, 25, 600, 1795, 1805]))
    def wait(self, seconds: int) -> None:
        Clock.now += timedelta(seconds=seconds)

    @rule()
    def sweep(self) -> None:
        assert queue.return_expired() == self.expire()

    @rule(overlap=st.integers(1, 3))
    def change_overlap(self, overlap: int) -> None:
        tasks.edit_task(Task.objects.get(pk=self.cast.task.pk), actor=self.cast.owner, overlap=overlap)
        for instance in self.instances:
            left = overlap - sum(mine[instance].state in TAKEN for mine in self.held if instance in mine)
            self.open[instance], self.owed[instance] = max(left, 0), max(-left, 0)

    @rule(nth=small, priority=st.integers(-1, 2))
    def prioritise(self, nth: int, priority: int) -> None:
        queue.prioritise(self.cast.task, {self.instances[nth]: priority})

    # what must always hold

    @invariant()
    def tick(self) -> None:
        Clock.now += timedelta(seconds=1)

    @invariant()
    def the_database_says_what_the_model_says(self) -> None:
        assert dict(Instance.objects.filter(task=self.cast.task).values_list("pk", "open_slots")) == self.open
        rows = Assignment.objects.filter(task=self.cast.task)
        stored = {
            (user, instance): state
            for user, instance, state in rows.values_list("annotator__user", "instance", "state")
        }
        assert stored == {
            (self.people[who].pk, instance): one.state for who in range(3) for instance, one in self.held[who].items()
        }
        live = sorted(Annotation.objects.live().filter(task=self.cast.task).values_list("assignment", flat=True))
        done = [self.of(who, "submitted") for who in range(3)]
        assert live == sorted(one.pk for mine in done for one in mine)
        for who, user in enumerate(self.people):
            place = QueuePlace.objects.filter(task=self.cast.task, annotator__user=user).first()
            assert (place.done if place else 0) == len(done[who])


def drive(runs: int, steps: int, **more: Any) -> None:
    checks = list(HealthCheck)
    known: dict[str, Any] = {"deadline": None, "suppress_health_check": checks, "database": None}
    known["phases"] = [Phase.generate, Phase.shrink] if "QUEUE_MACHINE_RUNS" in os.environ else [Phase.generate]
    wanted = settings(max_examples=runs, stateful_step_count=steps, **known | more)
    run_state_machine_as_test(QueueMachine, settings=wanted)


@pytest.fixture(autouse=True)
def own_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.utils.timezone.now", lambda: Clock.now)
    monkeypatch.setattr("time.sleep", lambda seconds: None)


@pytest.mark.database
@pytest.mark.django_db
def test_every_order_of_events_leaves_what_the_model_says() -> None:
    drive(RUNS, STEPS)


def no_lock(patch: pytest.MonkeyPatch) -> None:
    """A slot is taken by looking instead of by a conditional UPDATE."""
    patch.setattr(line, "TAKE", line.TAKE.replace("open_slots - 1", "open_slots"))
    for module in (lending, submitting):
        patch.setattr(module, "take_slot", lambda pk: Instance.objects.filter(pk=pk).exists())


def no_unique(patch: pytest.MonkeyPatch) -> None:
    """A person is lent what they had before: only the database's own unique pair stands in the way."""
    patch.setattr(line, "LEVEL", line.LEVEL.replace("a.annotator_id = %s", "a.annotator_id = -%s"))
    patch.setattr(line, "unseen", lambda task, reader, annotator=None: Instance.objects.open().filter(task=task))


def no_lease_check(patch: pytest.MonkeyPatch) -> None:
    """A late submit counts without a slot."""

    def end(assignment: Assignment, ended: dict[str, Any]) -> None:
        Assignment.objects.filter(pk=assignment.pk).update(state="submitted", **ended)

    patch.setattr(submitting, "_end", end)


def stale_draft(patch: pytest.MonkeyPatch) -> None:
    """The last tab to save wins."""
    real = drafts.save_draft

    def save(assignment: Assignment, *, version: int, answers: dict[str, Any], active_ms: int) -> int:
        return real(assignment, version=assignment.draft_version, answers=answers, active_ms=active_ms)

    patch.setattr(queue, "save_draft", save)


def unnumbered_return(patch: pytest.MonkeyPatch) -> None:
    """A slot comes back without a word to those who have passed it."""
    patch.setattr(returning, "come_back", lambda task, instance: line.give_back(instance))


def twice_stored(patch: pytest.MonkeyPatch) -> None:
    """A repeated submit is not recognised."""
    patch.setattr(submitting, "_repeated", lambda assignment, key, body: None)


BUGS: list[Callable[[pytest.MonkeyPatch], None]] = [
    *(no_lock, no_unique, no_lease_check, stale_draft, unnumbered_return, twice_stored),
]


@pytest.mark.slow
@pytest.mark.django_db
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_a_planted_bug_is_caught(bug: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    bug(monkeypatch)
    with pytest.raises((Exception, pytest.fail.Exception)) as caught:
        drive(200, 40, derandomize=True, phases=[Phase.generate])
    assert caught.type.__name__ in ("AssertionError", "Failed", "IntegrityError", "WrongState", "ExceptionGroup")
