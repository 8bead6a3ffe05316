"""Submitting: an answer is checked, takes its slot for good, and is stored once whatever is sent twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import CharField, DateTimeField, Exists, JSONField, OuterRef, QuerySet
from django.utils import timezone

from ...answers import check_answers
from ...composed import Insert, Update, slot, together
from ...content import Shown
from ...exceptions import InvalidInput, LeaseLost, SubmissionReused, WrongState
from ...models import Annotation, AnnotationState, Assignment, AssignmentState, Instance, Source
from ...questions import InvalidAnswer, Question
from ...wording import Sentence
from .. import payments
from .line import take_slot
from .places import counting_done


def checked(
    questions: Sequence[Question], instance: Instance, answers: object, *, partial: bool = False
) -> dict[str, Any]:
    """Canonical answers, or InvalidInput with a sentence for each field."""
    try:
        shown = Shown.by(instance.prompt, instance.completions, instance.meta)
        return check_answers(questions, answers, shown, partial=partial)
    except InvalidAnswer as error:
        raise InvalidInput(Sentence("Some answers do not fit."), errors=error.errors) from error


def body_digest(answers: object) -> str:
    return hashlib.sha256(json.dumps(answers, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def submit(assignment: Assignment, *, submission_id: UUID, answers: object, active_ms: int) -> tuple[Annotation, bool]:
    """Take an answer. Returns the annotation, and whether this call made it (False: it was stored before).

    Raises InvalidInput, SubmissionReused, LeaseLost (the slot went to another person; the draft is kept),
    WrongState.
    """
    body = body_digest(answers)
    if assignment.state == AssignmentState.SUBMITTED and (repeated := _repeated(assignment, submission_id, body)):
        return repeated, False
    clean = checked(assignment.parsed_questions, assignment.instance, answers)
    try:
        with transaction.atomic():
            annotation = _store(assignment, submission_id, body, clean, active_ms)
    except (IntegrityError, WrongState, LeaseLost):  # the same submit sent twice at once: the other one stored it
        repeated = _repeated(assignment, submission_id, body)
        if repeated is None:
            raise
        return repeated, False
    return annotation, True


def _repeated(assignment: Assignment, submission_id: UUID, body: str) -> Annotation | None:
    existing = Annotation.objects.filter(submission_id=submission_id).first()
    if existing is None:
        return None
    if existing.assignment_id != assignment.pk or existing.body_sha256 != body:
        raise SubmissionReused
    return existing


def _store(
    assignment: Assignment, submission_id: UUID, body: str, answers: dict[str, Any], active_ms: int
) -> Annotation:
    now = timezone.now()
    ended = {"ended_at": now, "active_ms": active_ms, "draft": answers}
    plain = _end_unasked.asked(key=assignment.pk, before=AssignmentState.LENT, **ended)
    request = None
    if not together(counting_done(assignment), plain)[1]:  # the person's place is locked first, as lending does
        request = payments.open_request(assignment.task, assignment.instance_id, assignment.annotator_id)
        _end(assignment, ended)
    fields = {
        "answers": answers,
        "source": Source.HUMAN,
        "submission_id": submission_id,
        "body_sha256": body,
        "order": assignment.order,
        "active_ms": active_ms,
        "guideline_id": assignment.guideline_id,
        "questions_version": assignment.questions_version,
        "price_micros": payments.pay(assignment.task, request) if request else 0,
        "submitted_at": now,
        "state": AnnotationState.SUBMITTED,
        "withdrawn_at": None,
    }
    keys = {name: getattr(assignment, name) for name in ("task_id", "instance_id", "annotator_id")}
    return _insert(Annotation(assignment=assignment, **keys, **fields))


def _begun() -> QuerySet[Assignment]:
    return Assignment.objects.filter(pk=slot("key"), state=slot("before", CharField))


_ENDED: dict[str, Any] = {
    "state": AssignmentState.SUBMITTED,
    "ended_at": slot("ended_at", DateTimeField),
    "active_ms": slot("active_ms"),
    "draft": slot("draft", JSONField),
}
_end_from = Update(_begun, **_ENDED)
_end_unasked = Update(lambda: _begun().filter(~Exists(payments.asking(OuterRef("instance")))), **_ENDED)
"""Where no plan asked for the annotation, which is then paid by nobody."""


def _end(assignment: Assignment, ended: dict[str, Any]) -> None:
    """From lent to submitted; an expired one takes its slot again first. Raises WrongState, LeaseLost."""
    change = {"key": assignment.pk, **ended}
    if _end_from(before=AssignmentState.LENT, **change):
        return
    if not Assignment.objects.filter(pk=assignment.pk, state=AssignmentState.EXPIRED).exists():
        raise WrongState("This assignment has ended.")
    if not take_slot(assignment.instance_id) or not _end_from(before=AssignmentState.EXPIRED, **change):
        raise LeaseLost


_insert = Insert(Annotation, once="assignment", kept=["public_id", "details", "recorded", "created_at"])
"""An annotation that was taken back is written anew."""
