"""The reading room: a person's queue, one instance at a time, and the small protocol of its script.

Lending on GET is safe to repeat: whoever holds an assignment gets the same one again. The script speaks JSON through
the same strict parser and the same shapes as the REST API (``annotate/api/assignments.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from typing import Any
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.db.models import UUIDField
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST
from rest_framework.serializers import Serializer, ValidationError

from feedback import strict_json
from feedback.composed import Rows, Slot, slot
from feedback.exceptions import FeedbackError, InvalidInput, LeaseLost, NothingToLabel, WrongState
from feedback.models import Annotation, Assignment, Task, User
from feedback.services import labelling, queue
from feedback.services.people import LABEL_ROLES

from ..access import user_of
from ..addresses import address
from ..api import problems
from ..api.bodies import DraftBody, ReasonBody, SubmissionBody
from ..languages import said
from . import reading, summaries
from .room import room


class Malformed(FeedbackError):
    """This request could not be read."""

    code = "malformed"


def json_endpoint(view: Callable[..., JsonResponse]) -> Callable[..., HttpResponse]:
    """Answer a script in JSON whatever happens: 401 for a visitor, a problem for a domain error."""

    @wraps(view)
    def answered(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not request.user.is_authenticated:
            return problems.response(problems.body(401, "unauthenticated", gettext("You are signed out.")))
        try:
            return view(request, *args, **kwargs)
        except FeedbackError as error:
            error.message = said(error.message)
            error.errors = {path: said(words) for path, words in error.errors.items()}
            return problems.response(problems.of_domain_error(error))

    return answered


def body_of(request: HttpRequest, shape: type[Serializer[Any]]) -> dict[str, Any]:
    """The checked JSON body. Raises Malformed, InvalidInput."""
    try:
        return dict(_checker(shape).run_validation(strict_json.parse(request.body)))
    except strict_json.InvalidJSON as error:
        raise Malformed(error.said_of("The body")) from error
    except ValidationError as error:
        raise InvalidInput(errors=problems.flat(error.detail)) from error


@cache
def _checker(shape: type[Serializer[Any]]) -> Serializer[Any]:
    """Made once: its fields keep nothing of what they check."""
    return shape()


@require_GET
@login_required
def label_queue(request: HttpRequest) -> HttpResponse:
    user = user_of(request)
    context = {
        "active": "label",
        "tasks": [reading.queue_row(row) for row in labelling.queue_of(user)],
        "history": summaries.history_rows(
            labelling.history_of(user).prefetch_related("revisions")[:10], labelling.editable(user)
        ),
        "today": labelling.today(user).count,
    }
    return render(request, "annotate/queue.html", context)


@require_GET
@login_required
def work(request: HttpRequest, task: UUID) -> HttpResponse:
    """Lend the next instance and show it; when none is left, say so."""
    user = user_of(request)
    row = own_task(user, task)
    try:
        assignment = queue.next_assignment(row, user)
    except NothingToLabel:
        return render(request, "annotate/done.html", reading.done_context(row, user))
    return room(request, reading.work_context(assignment, user))


@require_GET
@login_required
def prepared(request: HttpRequest, task: UUID) -> HttpResponse:
    """The page of the instance after the one in hand, as it is shown once that one is submitted. 204: none is ready."""
    user = user_of(request)
    row = own_task(user, task)
    assignment = queue.prepare(row, user)
    if assignment is None:
        return HttpResponse(status=204)
    return room(request, reading.prepared_context(assignment, user))


@require_POST
@json_endpoint
def hand_back(request: HttpRequest, assignment: UUID) -> JsonResponse:
    """Give a prepared instance back that was never shown; a beacon of a page that is left."""
    return JsonResponse({"returned": queue.hand_back(own_assignment(user_of(request), assignment))})


@require_http_methods(["PUT"])
@json_endpoint
def draft(request: HttpRequest, assignment: UUID) -> JsonResponse:
    row = own_assignment(user_of(request), assignment)
    body = body_of(request, DraftBody)
    try:
        version = queue.save_draft(row, **body)
    except WrongState as error:
        raise LeaseLost(error.message) from error  # it was submitted or handed back elsewhere: nothing to save into
    return JsonResponse({"version": version, "lease_expires": row.lease_expires_at})


@require_POST
@json_endpoint
def submit(request: HttpRequest, assignment: UUID) -> JsonResponse:
    row = own_assignment(user_of(request), assignment)
    body = body_of(request, SubmissionBody)
    labelling.check_version(row, body.get("version"), body["answers"])
    annotation, made = queue.submit(
        row, submission_id=body["submission_id"], answers=body["answers"], active_ms=body["active_ms"]
    )
    answer = {"annotation": annotation.public_id, "next": _work_url(row), "undo_seconds": queue.UNDO_SECONDS}
    return JsonResponse(answer, status=201 if made else 200)


@require_POST
@json_endpoint
def undo(request: HttpRequest, assignment: UUID) -> JsonResponse:
    """Take the submit of this assignment back; it is lent again with its answers as draft."""
    user = user_of(request)
    row = own_assignment(user, assignment)
    again = queue.undo(get_object_or_404(Annotation, assignment=row), user)
    return JsonResponse({"assignment": again.public_id, "next": _work_url(row)})


@require_POST
@json_endpoint
def skip(request: HttpRequest, assignment: UUID) -> JsonResponse:
    row = own_assignment(user_of(request), assignment)
    queue.skip(row, **body_of(request, ReasonBody))
    return JsonResponse({"next": _work_url(row)})


@require_POST
@json_endpoint
def flag(request: HttpRequest, assignment: UUID) -> JsonResponse:
    row = own_assignment(user_of(request), assignment)
    queue.flag(row, **body_of(request, ReasonBody))
    return JsonResponse({"next": _work_url(row)})


@require_GET
@login_required
def edit_page(request: HttpRequest, annotation: UUID) -> HttpResponse:
    row = own_annotation(user_of(request), annotation)
    if row.pk not in labelling.editable(user_of(request)):
        words = gettext("Only your last %(n)s answers can be changed, until a dataset version holds them.")
        refusal = words % {"n": queue.EDITABLE}
        raise WrongState(refusal)
    return room(request, reading.edit_context(row, from_room=request.GET.get("from") == "room"))


@json_endpoint
def edit_answer(request: HttpRequest, annotation: UUID) -> JsonResponse:
    user = user_of(request)
    row = own_annotation(user, annotation)
    body = body_of(request, SubmissionBody)
    queue.edit(row, body["answers"], user=user)
    return JsonResponse({"annotation": row.public_id, "undo_seconds": 0})


@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, annotation: UUID) -> HttpResponse:
    """Change one of the last ten answers: the page, and where its script sends the change."""
    return edit_answer(request, annotation) if request.method == "POST" else edit_page(request, annotation)


@require_http_methods(["PUT"])
@json_endpoint
def edit_draft(request: HttpRequest, annotation: UUID) -> JsonResponse:
    row = own_annotation(user_of(request), annotation)
    body = body_of(request, DraftBody)
    version = labelling.save_edit_draft(row, version=body["version"], answers=body["answers"])
    return JsonResponse({"version": version, "lease_expires": None})


def _work_url(assignment: Assignment) -> str:
    return address("work", assignment.task.public_id)


def labels_of(user: User | Slot, prefix: str = "") -> dict[str, Any]:
    """Filters to what ``user`` may still label: membership with a labelling role."""
    return {f"{prefix}project__memberships__user": user, f"{prefix}project__memberships__role__in": LABEL_ROLES}


PERSON, KEY = slot("person"), slot("key", UUIDField)
_own_task = Rows(lambda: Task.objects.filter(public_id=KEY, **labels_of(PERSON)).select_related("project", "guideline"))
_own_assignment = Rows(
    lambda: Assignment.objects.filter(
        public_id=KEY, annotator__user=PERSON, **labels_of(PERSON, "task__")
    ).select_related("task__project", "instance", "annotator")
)


def own_task(user: User, public_id: UUID) -> Task:
    """A task the person may label. Http404 for any other."""
    found: Task = _found(_own_task.first(person=user.pk, key=public_id))
    return found


def own_assignment(user: User, public_id: UUID) -> Assignment:
    """The person's own assignment. Http404 for anybody else's, and once they left the project."""
    found: Assignment = _found(_own_assignment.first(person=user.pk, key=public_id))
    return found


def _found(row: Any) -> Any:
    if row is None:
        raise Http404
    return row


def own_annotation(user: User, public_id: UUID) -> Annotation:
    """The person's own annotation. Http404 for anybody else's, and once they left the project."""
    mine = Annotation.objects.filter(annotator__user=user, recorded=False, **labels_of(user, "task__"))
    related = mine.select_related("task__project", "instance", "annotator", "assignment", "guideline")
    return get_object_or_404(related, public_id=public_id)
