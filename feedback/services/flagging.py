"""What a reviewer does about a flag: keep the instance in the queue, remove it, or send it to another person."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from ..exceptions import InvalidInput, WrongState
from ..models import Assignment, AssignmentState, AuditEvent, FlagAction, FlagDecision, Instance, User
from ..text import fault_of
from . import queue


def flags_of(instance: Instance) -> QuerySet[Assignment]:
    """The instance's flags with what was decided on them, newest first."""
    flagged = Assignment.objects.filter(instance=instance, state=AssignmentState.FLAGGED)
    return flagged.select_related("annotator", "flag_decision__decided_by").order_by("-ended_at", "-pk")


@transaction.atomic
def decide(flag: Assignment, action: str, *, actor: User, note: str = "") -> FlagDecision:
    """Settle a flag. ``restored`` says that the instance is fine, ``sent-on`` sees to it that somebody else gets it;
    either shows it again where it was held as harmful. Flagging gave the slot back already.

    Raises InvalidInput for an unknown action, WrongState for what is no flag or was decided before.
    """
    if action not in FlagAction.values:
        raise InvalidInput(errors={"action": f"Choose one of: {', '.join(FlagAction.values)}."})
    if len(note) > 4000:
        raise InvalidInput(errors={"note": "At most 4,000 characters."})
    if fault := fault_of(note):
        raise InvalidInput(errors={"note": f"The note holds a {fault}."})
    if flag.state != AssignmentState.FLAGGED:
        raise WrongState("This is no flag.")
    try:
        with transaction.atomic():
            decision = FlagDecision.objects.create(assignment=flag, action=action, note=note, decided_by=actor)
    except IntegrityError as error:
        raise WrongState("Another reviewer has decided on this flag.") from error
    _apply(flag, action, actor)
    told = {"decided": action, "reason": flag.reason}
    project = flag.task.project
    AuditEvent.write("flag.decide", actor=actor, project=project, subject=flag.instance.external_id, **told)
    return decision


def _apply(flag: Assignment, action: str, actor: User) -> None:
    queue.line.number_return(flag.task_id)  # before the instance is touched, as the line asks
    instance = Instance.objects.select_for_update(no_key=True).get(pk=flag.instance_id)
    if action == FlagAction.REMOVED:
        Instance.objects.filter(pk=instance.pk, removed_at=None).update(removed_at=timezone.now())
        return
    if instance.held_at:
        queue.release(instance, actor=actor)
    if action == FlagAction.SENT_ON and instance.open_slots == 0:
        queue.line.come_back(flag.task_id, instance.pk)
