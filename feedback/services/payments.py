"""A person's annotation against the request that asked for it: counted, paid, and taken back."""

from __future__ import annotations

from django.db.models import OuterRef, QuerySet
from django.utils import timezone

from ..models import Annotation, AnnotationRequest, Instance, RequestState, Source, Task
from . import budget, people
from .queue.line import number_of, number_return


def open_request(task: Task, instance_id: int, annotator_id: int) -> AnnotationRequest | None:
    """The request that a person's annotation counts against, with the purse that pays it, taken before it.

    ``None`` where there is none, or it asks for a skill that this person does not have.
    """
    budget.lock(task)
    request = asking(instance_id).select_for_update(no_key=True).first()
    if request is None or not request.skill:
        return request
    if not _has_skill(task, request, annotator_id):
        return None
    number_return(task.pk)  # before the instance is touched: others may label it once this request ends
    return request


def _has_skill(task: Task, request: AnnotationRequest, annotator_id: int) -> bool:
    return not request.skill or annotator_id in people.annotators_with(task.project, request.skill)


def asking(instance: int | OuterRef) -> QuerySet[AnnotationRequest]:
    """The open requests for people's annotations of an instance. One that no plan asked for waits for no purse."""
    return AnnotationRequest.objects.filter(instance=instance, source=Source.HUMAN, state=RequestState.OPEN)


def pay(task: Task, request: AnnotationRequest) -> int:
    """Count a person's annotation against the request that asked for it; returns the price settled, in micros."""
    request.received += 1
    if request.received >= request.wanted:
        request.state, request.ended_at = RequestState.DONE, timezone.now()
    request.save(update_fields=["received", "state", "ended_at"])
    if request.state == RequestState.DONE:
        lift_skill(task, request)
    budget.settle(task, reserved_micros=request.price_micros, spent_micros=request.price_micros)
    return request.price_micros


def lift_skill(task: Task, request: AnnotationRequest) -> None:
    """The request has ended: its instance asks no longer for the skill. Call it after ``line.number_return``, or before
    everybody starts at the front of the line."""
    if request.skill:
        row = Instance.objects.filter(pk=request.instance_id, skill=request.skill)
        row.update(skill="", returned=number_of(task.pk))


def unpay(annotation: Annotation) -> None:
    """Ask for the annotation again: of the request that it answered, or of a later plan's that is open by now.

    One that was given for nothing answered no request for a skill that this person does not have.
    """
    budget.lock(annotation.task)
    states = [RequestState.OPEN, RequestState.DONE]
    asked = AnnotationRequest.objects.select_for_update(no_key=True).filter(
        instance_id=annotation.instance_id, source=Source.HUMAN, state__in=states
    )
    newest_first = sorted(asked, key=lambda request: (request.state == RequestState.OPEN, request.pk), reverse=True)
    price = annotation.price_micros
    like = [one for one in newest_first if one.received and one.price_micros == price]
    own = [one for one in like if _has_skill(annotation.task, one, annotation.annotator_id)]
    paid = next(iter(own or (like if price else [])), None)
    if paid is None:
        return
    again = newest_first[0] if newest_first[0].state == RequestState.OPEN else paid
    paid.received -= 1
    again.wanted += again is not paid
    again.state, again.ended_at = RequestState.OPEN, None
    for request in {paid.pk: paid, again.pk: again}.values():
        request.save(update_fields=["wanted", "received", "state", "ended_at"])
    if again.skill:
        Instance.objects.filter(pk=again.instance_id, skill="").update(skill=again.skill)
    budget.unsettle(annotation.task, spent_micros=price, reserved_micros=again.price_micros)
