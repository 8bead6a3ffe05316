"""Adjudication: a reviewer looks at what was said of an instance and decides.

The decision is an annotation of its own in the state ``decided``: no vote count, agreement or routing pilot sees it,
and the votes stay as they are. An :class:`Adjudication` keeps who decided, why, and what lay before them. Nobody
decides on their own word alone: it takes an annotation by somebody else, and one's own cannot be taken.
"""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from ..exceptions import InvalidInput, WrongState
from ..models import (
    Adjudication,
    AdjudicationState,
    Annotation,
    AnnotationRevision,
    AnnotationState,
    AuditEvent,
    Instance,
    Source,
    Task,
    User,
)
from ..text import fault_of
from . import disagreeing, finding
from .queue import annotator_of, checked

WHY = {**disagreeing.KINDS, "flagged": "Flagged", "any": "People disagree, or flagged"}


def waiting(task: Task, why: str = "any") -> QuerySet[Instance]:
    """Instances that ask for a decision and have none. Raises InvalidInput for an unknown ``why``."""
    if why not in WHY:
        raise InvalidInput(errors={"why": f"Choose one of: {', '.join(WHY)}."})
    decided = Adjudication.objects.filter(instance=OuterRef("pk"), state=AdjudicationState.STANDING)
    rows = task.instances.filter(~Exists(decided), removed_at=None)
    flagged = Q(Exists(finding.open_flags().filter(instance=OuterRef("pk"))))
    if why == "flagged" or (why == "any" and disagreeing.question_of(task) is None):
        return rows.filter(flagged)
    if why == "any":
        return rows.filter(flagged | Q(pk__in=disagreeing.among(rows, "people", task).values("pk")))
    return disagreeing.among(rows, why, task)


def standing(instance: Instance) -> Adjudication | None:
    """The decision in force, if there is one."""
    rows = Adjudication.objects.filter(instance=instance, state=AdjudicationState.STANDING)
    return rows.select_related("decided_by", "annotation", "took__annotator").first()


def votes_on(instance: Instance) -> QuerySet[Annotation]:
    """What a reviewer sees: every live annotation, people first."""
    return instance.annotations.live().select_related("annotator", "guideline", "assignment").order_by("source", "pk")  # type: ignore[attr-defined, no-any-return]


def take(instance: Instance, vote: Annotation, *, actor: User, reason: str, blind: bool = True) -> Adjudication:
    """Decide as one of the annotations says. Raises InvalidInput, WrongState."""
    if vote.instance_id != instance.pk or vote.state != AnnotationState.SUBMITTED:
        raise WrongState("This annotation was taken back; look at the instance again.")
    if vote.annotator.user_id == actor.pk:
        raise InvalidInput(errors={"took": "This is your own annotation. Answer anew, or let another reviewer decide."})
    answers, version = vote.answers, vote.questions_version
    return _decide(instance, answers, version, actor=actor, reason=reason, blind=blind, took=vote)


def answer(instance: Instance, answers: object, *, actor: User, reason: str, blind: bool = True) -> Adjudication:
    """Decide by an answer of one's own to the task's present questions. Raises InvalidInput, WrongState."""
    clean = checked(instance.task.parsed_questions, instance, answers)
    version = instance.task.questions_version
    return _decide(instance, clean, version, actor=actor, reason=reason, blind=blind, took=None)


def _decide(
    instance: Instance,
    answers: dict[str, Any],
    version: int,
    *,
    actor: User,
    reason: str,
    blind: bool,
    took: Annotation | None,
) -> Adjudication:
    reason = reason.strip()
    if not 1 <= len(reason) <= 4000:
        raise InvalidInput(errors={"reason": "Say in 1 to 4,000 characters why you decide so."})
    if fault := fault_of(reason):
        raise InvalidInput(errors={"reason": f"The reason holds a {fault}."})
    seen = list(votes_on(instance))
    if not any(one.annotator.user_id != actor.pk for one in seen):
        raise WrongState("Nobody else has annotated this instance; a decision needs another's word beside your own.")
    try:
        with transaction.atomic():
            return _store(instance, answers, version, seen, actor=actor, reason=reason, blind=blind, took=took)
    except IntegrityError as error:
        raise WrongState("Another reviewer has decided on this instance.") from error


def _store(
    instance: Instance, answers: dict[str, Any], version: int, seen: list[Annotation], *, actor: User, **why: Any
) -> Adjudication:
    task = instance.task
    decided = Annotation.objects.create(
        task=task,
        instance=instance,
        annotator=annotator_of(task.project, actor),
        source=Source.HUMAN,
        answers=answers,
        questions_version=version,
        guideline_id=task.guideline_id,
        order=list(range(len(instance.completions))),
        state=AnnotationState.DECIDED,
    )
    made = Adjudication.objects.create(instance=instance, annotation=decided, decided_by=actor, **why)
    made.saw.set(seen)
    told = {"took": str(made.took.public_id) if made.took else None, "saw": len(seen)}
    AuditEvent.write("adjudication.decide", actor=actor, project=task.project, subject=instance.external_id, **told)
    return made


@transaction.atomic
def undo(made: Adjudication, *, actor: User) -> None:
    """Take a decision back; the votes speak again. Raises WrongState when that was done before."""
    now = timezone.now()
    standing_one = Adjudication.objects.filter(pk=made.pk, state=AdjudicationState.STANDING)
    if not standing_one.update(state=AdjudicationState.UNDONE, undone_at=now, undone_by=actor):
        raise WrongState("This decision was taken back before.")
    decided = made.annotation
    Annotation.objects.filter(pk=decided.pk).update(state=AnnotationState.WITHDRAWN, withdrawn_at=now)
    AnnotationRevision.objects.create(
        annotation=decided, answers=decided.answers, action="undo-decision", created_by=actor
    )
    project, subject = made.instance.task.project, made.instance.external_id
    AuditEvent.write("adjudication.undo", actor=actor, project=project, subject=subject)
