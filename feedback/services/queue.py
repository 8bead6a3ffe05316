"""The queue: lend an instance, keep the draft, take the answer, undo.

Rules, held by ``instance.open_slots`` and unique constraints rather than by reading first:

* lending takes one slot in the same transaction that makes the assignment; never the same instance twice to a person;
* an expired lease, a skip or a flag gives the slot back; the draft stays;
* a late submit counts only if it can take a slot again, so the overlap is never passed;
* a submission id names one body: the same again is the same answer, another body is refused.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import Count, Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from ..answers import check_answers, passage_count
from ..exceptions import (
    DraftConflict,
    Frozen,
    InvalidInput,
    LeaseLost,
    NothingToLabel,
    SubmissionReused,
    UndoExpired,
    WrongState,
)
from ..models import (
    Annotation,
    AnnotationRevision,
    AnnotationState,
    Annotator,
    AnnotatorKind,
    Assignment,
    AssignmentState,
    Instance,
    Membership,
    Project,
    Source,
    Task,
    TaskState,
    User,
)
from ..questions import InvalidAnswer, Question
from . import payments
from .people import LABEL_ROLES
from .questions import bring_up_to_date

UNDO_SECONDS = 30
EDITABLE = 10
SKIP_REASONS = {
    "too-hard": "Too hard for me",
    "not-my-field": "Not my field",
    "language": "A language I do not read",
    "unclear": "The prompt is unclear",
    "other": "Something else",
}
FLAG_REASONS = {
    "harmful": "Harmful content",
    "personal-data": "Personal data",
    "broken": "Broken or empty text",
    "wrong-language": "Wrong language",
    "other": "Something else",
}


def annotator_of(project: Project, user: User) -> Annotator:
    """The member's annotator row in this project, made at first use."""
    return Annotator.objects.get_or_create(
        project=project, user=user, defaults={"kind": AnnotatorKind.HUMAN, "name": str(user)}
    )[0]


def next_assignment(task: Task, user: User) -> Assignment:
    """The instance this person is to label now: the one already lent, else an expired one of theirs, else a new one.

    Raises WrongState when the task is not open, NothingToLabel when nothing is left for this person.
    """
    if task.state != TaskState.OPEN:
        raise WrongState("This task is not open.")
    annotator = annotator_of(task.project, user)
    mine = Assignment.objects.filter(task=task, annotator=annotator).select_related("instance")
    lent = mine.filter(state=AssignmentState.LENT).order_by("created_at").first()
    if lent and renew(lent):
        bring_up_to_date(lent)
        return lent
    for expired in mine.filter(state=AssignmentState.EXPIRED, instance__open_slots__gt=0).order_by("created_at")[:5]:
        if _take_again(expired):
            bring_up_to_date(expired)
            return expired
    return _lend_new(task, annotator)


def renew(assignment: Assignment) -> bool:
    """Extend a lease that is still held. False when it has expired meanwhile."""
    expires = _lease_end(assignment.task)
    renewed = Assignment.objects.filter(pk=assignment.pk, state=AssignmentState.LENT).update(lease_expires_at=expires)
    assignment.lease_expires_at = expires
    return bool(renewed)


def _lease_end(task: Task) -> datetime:
    return timezone.now() + timedelta(minutes=task.lease_minutes)


def take_slot(instance_id: int) -> bool:
    """Take one open slot by a conditional UPDATE. The row count is the answer."""
    taken = Instance.objects.filter(pk=instance_id, open_slots__gt=0, removed_at=None)
    return taken.update(open_slots=F("open_slots") - 1) == 1


def _give_slot(instance_id: int) -> None:
    Instance.objects.filter(pk=instance_id).update(open_slots=F("open_slots") + 1)


@transaction.atomic
def _take_again(assignment: Assignment) -> bool:
    if not take_slot(assignment.instance_id):
        return False
    expires = _lease_end(assignment.task)
    again = Assignment.objects.filter(pk=assignment.pk, state=AssignmentState.EXPIRED).update(
        state=AssignmentState.LENT, lease_expires_at=expires, ended_at=None
    )
    if not again:
        _give_slot(assignment.instance_id)
        return False
    assignment.state, assignment.lease_expires_at, assignment.ended_at = AssignmentState.LENT, expires, None
    return True


def _lend_new(task: Task, annotator: Annotator) -> Assignment:
    for attempt in range(20):
        time.sleep(0.01 * attempt)  # the first try waits not at all
        try:
            with transaction.atomic():
                assignment = _try_to_lend(task, annotator)
        except IntegrityError:
            # two requests of one person raced; the other one's assignment is the answer
            lent = Assignment.objects.lent().filter(task=task, annotator=annotator).select_related("instance").first()
            if lent:
                return lent
            continue
        if assignment:
            return assignment
    raise NothingToLabel


def _try_to_lend(task: Task, annotator: Annotator) -> Assignment | None:
    """One attempt. Raises NothingToLabel when the pool is empty; ``None`` when another person was faster."""
    pool = _open_to(annotator, task).order_by("-priority", "id")
    if connection.features.has_select_for_update_skip_locked:
        pool = pool.select_for_update(skip_locked=True)
    instance = pool.first()
    if instance is None:
        if _open_to(annotator, task).exists():  # locked elsewhere
            return None
        raise NothingToLabel
    # the person's own row, locked: two tabs asking at once get one instance, not two
    Annotator.objects.select_for_update().get(pk=annotator.pk)
    lent = Assignment.objects.lent().filter(task=task, annotator=annotator).select_related("instance").first()
    if lent:
        return lent
    if not take_slot(instance.pk):
        return None
    return Assignment.objects.create(
        task=task,
        instance=instance,
        annotator=annotator,
        guideline_id=task.guideline_id,
        questions_version=task.questions_version,
        order=random.sample(range(len(instance.completions)), len(instance.completions)),
        lease_expires_at=_lease_end(task),
    )


def _open_to(annotator: Annotator, task: Task) -> QuerySet[Instance]:
    seen = Assignment.objects.filter(annotator=annotator, instance=OuterRef("pk"))
    return Instance.objects.open().filter(~Exists(seen), task=task)


def save_draft(assignment: Assignment, *, version: int, answers: dict[str, Any], active_ms: int) -> int:
    """Store the draft and renew the lease; returns the new version.

    Raises DraftConflict when ``version`` is not the stored one, LeaseLost when the assignment is no longer lent.
    An expired assignment keeps the draft too, so that nothing typed is lost.
    """
    check_draft(assignment.parsed_questions, answers)
    now = timezone.now()
    fields: dict[str, Any] = {"draft": answers, "draft_version": F("draft_version") + 1, "active_ms": active_ms}
    same = Assignment.objects.filter(pk=assignment.pk, draft_version=version)
    if same.filter(state=AssignmentState.LENT).update(lease_expires_at=_lease_end(assignment.task), **fields):
        return version + 1
    if same.filter(state=AssignmentState.EXPIRED).update(ended_at=now, **fields):
        raise LeaseLost
    current = Assignment.objects.get(pk=assignment.pk)
    if current.state not in (AssignmentState.LENT, AssignmentState.EXPIRED):
        raise WrongState("This assignment has ended.")
    raise DraftConflict(current.draft_version, current.draft)


def check_draft(questions: Sequence[Question], answers: object) -> None:
    """A draft may be incomplete, but holds only known questions and at most 1 MB. Raises InvalidInput."""
    names = {question.name for question in questions}
    if not isinstance(answers, dict) or not set(answers) <= names:
        raise InvalidInput(errors={"answers": "A draft holds answers to this task's questions only."})
    if len(json.dumps(answers)) > 1_000_000:
        raise InvalidInput(errors={"answers": "The draft is larger than 1 MB."})


def checked(
    questions: Sequence[Question], instance: Instance, answers: object, *, partial: bool = False
) -> dict[str, Any]:
    """Canonical answers, or InvalidInput with a sentence for each field."""
    try:
        return check_answers(
            questions,
            answers,
            completions=instance.completion_texts(),
            prompt=instance.prompt_texts(),
            passages=passage_count(instance.meta),
            partial=partial,
        )
    except InvalidAnswer as error:
        raise InvalidInput("Some answers do not fit.", errors=error.errors) from error


def body_digest(answers: object) -> str:
    return hashlib.sha256(json.dumps(answers, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def submit(assignment: Assignment, *, submission_id: UUID, answers: object, active_ms: int) -> tuple[Annotation, bool]:
    """Take an answer. Returns the annotation, and whether this call made it (False: it was stored before).

    Raises InvalidInput, SubmissionReused, LeaseLost (the slot went to another person; the draft is kept),
    WrongState.
    """
    body = body_digest(answers)
    repeated = _repeated(assignment, submission_id, body)
    if repeated:
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
    rows = Assignment.objects.filter(pk=assignment.pk)
    ended = {"state": AssignmentState.SUBMITTED, "ended_at": now, "active_ms": active_ms, "draft": answers}
    payments.open_request(assignment.task, assignment.instance_id)
    if not rows.filter(state=AssignmentState.LENT).update(**ended):
        if not rows.filter(state=AssignmentState.EXPIRED).exists():
            raise WrongState("This assignment has ended.")
        if not take_slot(assignment.instance_id) or not rows.filter(state=AssignmentState.EXPIRED).update(**ended):
            raise LeaseLost
    price = payments.pay(assignment.task, assignment.instance_id)
    fields = {
        "answers": answers,
        "source": Source.HUMAN,
        "submission_id": submission_id,
        "body_sha256": body,
        "order": assignment.order,
        "active_ms": active_ms,
        "guideline_id": assignment.guideline_id,
        "questions_version": assignment.questions_version,
        "price_micros": price,
        "submitted_at": now,
        "state": AnnotationState.SUBMITTED,
        "withdrawn_at": None,
    }
    return Annotation.objects.update_or_create(
        assignment=assignment,
        defaults=fields,
        create_defaults={
            **fields,
            "task_id": assignment.task_id,
            "instance_id": assignment.instance_id,
            "annotator_id": assignment.annotator_id,
        },
    )[0]


def undo(annotation: Annotation, user: User) -> Assignment:
    """Withdraw an annotation within 30 s and lend its instance again, with the answers as draft.

    Raises UndoExpired, BudgetExhausted when a later plan asks for it again at a higher price than is left.
    """
    since = timezone.now() - timedelta(seconds=UNDO_SECONDS)
    with transaction.atomic():
        withdrawn = Annotation.objects.live().filter(pk=annotation.pk, submitted_at__gte=since, recorded=False)
        if not withdrawn.update(state=AnnotationState.WITHDRAWN, withdrawn_at=timezone.now(), submission_id=None):
            raise UndoExpired
        AnnotationRevision.objects.create(
            annotation=annotation, answers=annotation.answers, action="undo", created_by=user
        )
        assert annotation.assignment_id is not None  # only recorded annotations have none
        assignment = Assignment.objects.select_related("task", "instance").get(pk=annotation.assignment_id)
        payments.unpay(annotation)
        Assignment.objects.filter(pk=assignment.pk).update(
            state=AssignmentState.LENT,
            ended_at=None,
            draft=annotation.answers,
            draft_version=F("draft_version") + 1,
            lease_expires_at=_lease_end(assignment.task),
        )
    assignment.refresh_from_db()
    return assignment


def edit(annotation: Annotation, answers: object, *, user: User) -> Annotation:
    """Change one of the person's last ten answers; what it said before is kept as a revision.

    Raises InvalidInput, WrongState when it is not among the last ten, Frozen when a dataset version holds it.
    """
    recent = Annotation.objects.live().filter(task=annotation.task, annotator=annotation.annotator, recorded=False)
    if annotation.pk not in recent.order_by("-created_at").values_list("pk", flat=True)[:EDITABLE]:
        raise WrongState(f"Only your last {EDITABLE} answers can be changed.")
    frozen_at = Coalesce("frozen_at", "created_at")  # a version holds what was there when its job read it
    if annotation.task.dataset_versions.annotate(at=frozen_at).filter(at__gte=annotation.created_at).exists():
        raise Frozen
    clean = checked(annotation.task.parsed_questions, annotation.instance, answers)
    with transaction.atomic():
        current = Annotation.objects.live().select_for_update().filter(pk=annotation.pk).first()
        if current is None:
            raise WrongState("This answer was taken back.")
        AnnotationRevision.objects.create(annotation=current, answers=current.answers, action="edit", created_by=user)
        current.answers, current.questions_version = clean, annotation.task.questions_version
        current.save(update_fields=["answers", "questions_version", "updated_at"])
    return current


def skip(assignment: Assignment, *, reason: str, comment: str = "") -> None:
    """Hand an instance back without an answer. Raises InvalidInput for an unknown reason, WrongState."""
    _hand_back(assignment, AssignmentState.SKIPPED, SKIP_REASONS, reason, comment)


def flag(assignment: Assignment, *, reason: str, comment: str = "") -> None:
    """Report an instance. It goes back to the queue for others unless a reviewer removes it."""
    _hand_back(assignment, AssignmentState.FLAGGED, FLAG_REASONS, reason, comment)


@transaction.atomic
def _hand_back(
    assignment: Assignment, state: AssignmentState, reasons: dict[str, str], reason: str, comment: str
) -> None:
    if reason not in reasons:
        raise InvalidInput(errors={"reason": f"Choose one of: {', '.join(reasons)}."})
    if len(comment) > 4000:
        raise InvalidInput(errors={"comment": "At most 4,000 characters."})
    ended = Assignment.objects.lent().filter(pk=assignment.pk)
    if not ended.update(state=state, ended_at=timezone.now(), reason=reason, comment=comment):
        raise WrongState("This assignment has ended.")
    _give_slot(assignment.instance_id)


def return_expired(now: datetime | None = None) -> int:
    """Give back the slots of leases that ran out. Returns how many."""
    now = now or timezone.now()
    overdue = Assignment.objects.lent().filter(lease_expires_at__lt=now).values_list("pk", "instance_id")[:1000]
    returned = 0
    for pk, instance_id in list(overdue):
        with transaction.atomic():
            still = Assignment.objects.lent().filter(pk=pk, lease_expires_at__lt=now)
            if still.update(state=AssignmentState.EXPIRED, ended_at=now):
                _give_slot(instance_id)
                returned += 1
    return returned


def open_to(user: User) -> QuerySet[Task]:
    """The tasks a person may label, each with ``done``: how many annotations of theirs it holds."""
    projects = Membership.objects.filter(user=user, role__in=LABEL_ROLES).values("project")
    return (
        Task.objects.filter(state=TaskState.OPEN, project__in=projects)
        .select_related("project")
        .annotate(
            done=Count(
                "annotations",
                filter=Q(annotations__annotator__user=user, annotations__state=AnnotationState.SUBMITTED),
            )
        )
        .order_by("name")
    )
