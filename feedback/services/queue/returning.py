"""Returning: an instance goes back to the line, by its annotator, by the clock or by a reviewer."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from ...exceptions import InvalidInput, WrongState
from ...models import (
    Annotation,
    AnnotationRevision,
    AnnotationState,
    Assignment,
    AssignmentState,
    AuditEvent,
    Instance,
    Task,
    User,
)
from ...text import fault_of
from ...wording import Sentence
from .. import budget, payments
from .line import come_back, number_of, number_return
from .places import count_done, hold_place

SKIP_REASONS = {
    "too-hard": "Too hard for me",
    "not-my-field": "Not my field",
    "language": "A language I do not read",
    "unclear": "The prompt is unclear",
    "other": "Something else",
}
HARMFUL = "harmful"
FLAG_REASONS = {
    HARMFUL: "Harmful content",
    "personal-data": "Personal data",
    "broken": "Broken or empty text",
    "wrong-language": "Wrong language",
    "other": "Something else",
}


def skip(assignment: Assignment, *, reason: str, comment: str = "") -> None:
    """Hand an instance back without an answer. Raises InvalidInput for an unknown reason, WrongState."""
    _hand_back(assignment, AssignmentState.SKIPPED, SKIP_REASONS, reason, comment)


def flag(assignment: Assignment, *, reason: str, comment: str = "") -> None:
    """Report an instance and hand it back. Others get it next, unless it is harmful: then a reviewer looks first."""
    _hand_back(assignment, AssignmentState.FLAGGED, FLAG_REASONS, reason, comment)


@transaction.atomic
def _hand_back(
    assignment: Assignment, state: AssignmentState, reasons: dict[str, str], reason: str, comment: str
) -> None:
    if reason not in reasons:
        raise InvalidInput(errors={"reason": Sentence("Choose one of: %(reasons)s.", reasons=", ".join(reasons))})
    if len(comment) > 4000:
        raise InvalidInput(errors={"comment": Sentence("at most %(n)s characters", n=4000)})
    number_return(assignment.task_id)
    ended = Assignment.objects.lent().filter(pk=assignment.pk)
    if not ended.update(state=state, ended_at=timezone.now(), reason=reason, comment=comment):
        raise WrongState("This assignment has ended.")
    if (state, reason) == (AssignmentState.FLAGGED, HARMFUL):
        Instance.objects.filter(pk=assignment.instance_id, held_at=None).update(held_at=timezone.now())
    come_back(assignment.task_id, assignment.instance_id)


@transaction.atomic
def release(instance: Instance, *, actor: User) -> None:
    """Show an instance that was held as harmful again: a reviewer has looked. Raises WrongState when it is not held."""
    number_return(instance.task_id)
    held = Instance.objects.filter(pk=instance.pk, held_at__isnull=False)
    if not held.update(held_at=None, returned=number_of(instance.task_id)):
        raise WrongState("This instance is not held back.")
    project = instance.task.project
    AuditEvent.write("instance.release", actor=actor, project=project, subject=instance.external_id)


def requeue(assignment: Assignment, *, reason: str, actor: User) -> None:
    """Give the instance to somebody else: what this person was lent or answered no longer counts, and is kept.

    Raises InvalidInput without a reason, WrongState when there is nothing to take back.
    """
    reason = reason.strip()
    if not 1 <= len(reason) <= 4000:
        raise InvalidInput(errors={"reason": "Say why, in at most 4,000 characters."})
    if fault := fault_of(reason):
        raise InvalidInput(errors={"reason": f"The reason holds a {fault}."})
    with transaction.atomic():
        hold_place(assignment)
        budget.lock(assignment.task)
        number_return(assignment.task_id)
        _take_back(assignment, reason, actor)
        come_back(assignment.task_id, assignment.instance_id)
        AuditEvent.write(
            "assignment.requeue",
            actor=actor,
            project=assignment.task.project,
            subject=assignment.instance.external_id,
            annotator=assignment.annotator.pseudonym,
            reason=reason,
        )


def _take_back(assignment: Assignment, reason: str, actor: User) -> None:
    now = timezone.now()
    holding = [AssignmentState.LENT, AssignmentState.SUBMITTED]
    held = Assignment.objects.filter(pk=assignment.pk, state__in=holding)
    if not held.update(state=AssignmentState.REQUEUED, ended_at=now, comment=reason):
        raise WrongState("This assignment holds nothing that could be given to somebody else.")
    for annotation in Annotation.objects.live().filter(assignment=assignment):
        Annotation.objects.filter(pk=annotation.pk).update(state=AnnotationState.WITHDRAWN, withdrawn_at=now)
        AnnotationRevision.objects.create(
            annotation=annotation, answers=annotation.answers, action="requeue", created_by=actor
        )
        payments.unpay(annotation)
        count_done(assignment, -1)


def return_expired(now: datetime | None = None, *, task: Task | None = None) -> int:
    """Give back the slots of leases that ran out, of one task or of all. Returns how many."""
    now = now or timezone.now()
    overdue = Assignment.objects.lent().filter(lease_expires_at__lt=now)
    if task:
        overdue = overdue.filter(task=task)
    found = list(overdue.values_list("pk", "task_id", "instance_id")[:1000])
    return sum(_expire(pk, task_id, instance_id, now) for pk, task_id, instance_id in found)


@transaction.atomic
def _expire(pk: int, task_id: int, instance_id: int, now: datetime) -> bool:
    number_return(task_id)
    still = Assignment.objects.lent().filter(pk=pk, lease_expires_at__lt=now)
    if not still.update(state=AssignmentState.EXPIRED, ended_at=now):
        return False
    come_back(task_id, instance_id)
    return True
