"""A person's annotation against the request that asked for it: counted, paid, and taken back."""

from __future__ import annotations

from django.db.models import OuterRef, QuerySet
from django.utils import timezone

from ..models import Annotation, AnnotationRequest, RequestState, Source, Task
from . import budget


def open_request(task: Task, instance_id: int) -> AnnotationRequest | None:
    """The request that a person's annotation counts against, with the purse that pays it, taken before it."""
    budget.lock(task)
    return asking(instance_id).select_for_update(no_key=True).first()


def asking(instance: int | OuterRef) -> QuerySet[AnnotationRequest]:
    """The open requests for people's annotations of an instance. One that no plan asked for waits for no purse."""
    return AnnotationRequest.objects.filter(instance=instance, source=Source.HUMAN, state=RequestState.OPEN)


def pay(task: Task, request: AnnotationRequest) -> int:
    """Count a person's annotation against the request that asked for it; returns the price settled, in micros."""
    request.received += 1
    if request.received >= request.wanted:
        request.state, request.ended_at = RequestState.DONE, timezone.now()
    request.save(update_fields=["received", "state", "ended_at"])
    budget.settle(task, reserved_micros=request.price_micros, spent_micros=request.price_micros)
    return request.price_micros


def unpay(annotation: Annotation) -> None:
    """Ask for the annotation again: of the request that paid it, or of a later plan's that is open by now."""
    budget.lock(annotation.task)
    states = [RequestState.OPEN, RequestState.DONE]
    asked = AnnotationRequest.objects.select_for_update(no_key=True).filter(
        instance_id=annotation.instance_id, source=Source.HUMAN, state__in=states
    )
    newest_first = sorted(asked, key=lambda request: (request.state == RequestState.OPEN, request.pk), reverse=True)
    price = annotation.price_micros
    paid = next((one for one in newest_first if one.received and one.price_micros == price), None)
    if paid is None:
        return
    again = newest_first[0] if newest_first[0].state == RequestState.OPEN else paid
    paid.received -= 1
    again.wanted += again is not paid
    again.state, again.ended_at = RequestState.OPEN, None
    for request in {paid.pk: paid, again.pk: again}.values():
        request.save(update_fields=["wanted", "received", "state", "ended_at"])
    budget.unsettle(annotation.task, spent_micros=price, reserved_micros=again.price_micros)
