"""Revising: an answer is taken back for half a minute, and the last ten can be changed until a version holds them."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils import timezone

from ...exceptions import Frozen, UndoExpired, WrongState
from ...models import Annotation, AnnotationRevision, AnnotationState, Assignment, AssignmentState, User
from ...wording import Sentence
from .. import budget, payments
from .lending import lease_end
from .places import count_done
from .submitting import checked

UNDO_SECONDS = 30
EDITABLE = 10


def undo(annotation: Annotation, user: User) -> Assignment:
    """Withdraw an annotation within 30 s and lend its instance again, with the answers as draft.

    Raises UndoExpired, BudgetExhausted when a later plan asks for it again at a higher price than is left.
    """
    since = timezone.now() - timedelta(seconds=UNDO_SECONDS)
    assert annotation.assignment_id is not None  # only recorded annotations have none
    with transaction.atomic():
        assignment = Assignment.objects.select_related("task", "instance").get(pk=annotation.assignment_id)
        count_done(assignment, -1)  # first: the person's place is locked before the purse and the assignment
        budget.lock(annotation.task)
        withdrawn = Annotation.objects.live().filter(pk=annotation.pk, submitted_at__gte=since, recorded=False)
        if not withdrawn.update(state=AnnotationState.WITHDRAWN, withdrawn_at=timezone.now(), submission_id=None):
            raise UndoExpired
        AnnotationRevision.objects.create(
            annotation=annotation, answers=annotation.answers, action="undo", created_by=user
        )
        payments.unpay(annotation)
        Assignment.objects.filter(pk=assignment.pk).update(
            state=AssignmentState.LENT,
            ended_at=None,
            draft=annotation.answers,
            draft_version=F("draft_version") + 1,
            lease_expires_at=lease_end(assignment.task),
        )
    assignment.refresh_from_db()
    return assignment


def edit(annotation: Annotation, answers: object, *, user: User) -> Annotation:
    """Change one of the person's last ten answers; what it said before is kept as a revision.

    Raises InvalidInput, WrongState when it is not among the last ten, Frozen when a dataset version holds it.
    """
    recent = Annotation.objects.live().filter(task=annotation.task, annotator=annotation.annotator, recorded=False)
    if annotation.pk not in recent.order_by("-submitted_at", "-pk").values_list("pk", flat=True)[:EDITABLE]:
        raise WrongState(
            Sentence("Only your last %(n)s answers can be changed, until a dataset version holds them.", n=EDITABLE)
        )
    frozen_at = Coalesce("frozen_at", "created_at")  # a version holds what was there when its job read it
    if annotation.task.dataset_versions.annotate(at=frozen_at).filter(at__gte=annotation.created_at).exists():
        raise Frozen
    clean = checked(annotation.task.parsed_questions, annotation.instance, answers)
    with transaction.atomic():
        current = Annotation.objects.live().select_for_update(no_key=True).filter(pk=annotation.pk).first()
        if current is None:
            raise WrongState("This answer was taken back.")
        AnnotationRevision.objects.create(annotation=current, answers=current.answers, action="edit", created_by=user)
        current.answers, current.questions_version = clean, annotation.task.questions_version
        current.save(update_fields=["answers", "questions_version", "updated_at"])
    return current
