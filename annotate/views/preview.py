"""Questions as an annotator sees them, before anybody is asked: the real room on an instance, and nothing is stored.

The room's page and script are the ones annotators use; its requests go to an address that checks and forgets.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from csp.constants import SELF
from csp.decorators import csp_replace, csp_update
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.clickjacking import xframe_options_sameorigin
from django.views.decorators.http import require_GET, require_http_methods

from feedback import presets
from feedback.definitions import Definition
from feedback.drafting import errors_of
from feedback.exceptions import InvalidInput
from feedback.models import Assignment, GuidelineVersion, Instance, Project, Task
from feedback.questions import InvalidQuestions, parse_questions
from feedback.services import drafts, queue

from ..access import in_project
from ..api.bodies import DraftBody, SubmissionBody
from ..samples import sample_instance
from . import reading
from .label import body_of, json_endpoint
from .room import room
from .tasks import page_context, task_of


@csp_update({"frame-src": [SELF]})  # type: ignore[arg-type]
@require_GET
@in_project("manage")
def task_preview(request: HttpRequest, project: Project, task: UUID) -> HttpResponse:
    """The draft of a task's questions in a frame of the width of a desk or a phone."""
    row = task_of(project, task)
    room = reverse("task-preview-room", args=[project.public_id, row.public_id])
    return render(request, "tasks/preview.html", page_context(request, project, task=row, room=room))


@csp_update({"frame-src": [SELF]})  # type: ignore[arg-type]
@require_GET
@in_project("manage")
def preset(request: HttpRequest, project: Project, preset: str) -> HttpResponse:
    """A task to start from: where it comes from, and how it looks."""
    room = reverse("preset-room", args=[project.public_id, preset])
    context = page_context(request, project, definition=_preset(preset), preset=preset, room=room)
    return render(request, "tasks/preview.html", context)


@xframe_options_sameorigin
@csp_replace({"frame-ancestors": [SELF]})  # type: ignore[arg-type]
@require_GET
@in_project("manage")
def task_preview_room(request: HttpRequest, project: Project, task: UUID) -> HttpResponse:
    row = task_of(project, task)
    questions = drafts.draft_of(row).questions
    if not questions or any(errors_of(questions)):
        return render(request, "tasks/preview_none.html", {"questions": questions}, status=200)
    urls = reverse("task-preview-room", args=[project.public_id, task])
    answer = reverse("task-preview-answer", args=[project.public_id, task])
    return _room(request, row, questions, next_url=urls, answer_url=answer)


@xframe_options_sameorigin
@csp_replace({"frame-ancestors": [SELF]})  # type: ignore[arg-type]
@require_GET
@in_project("manage")
def preset_room(request: HttpRequest, project: Project, preset: str) -> HttpResponse:
    definition = _preset(preset)
    room, answer = (reverse(name, args=[project.public_id, preset]) for name in ("preset-room", "preset-answer"))
    row = _unsaved(project, definition)
    return _room(request, row, definition.stored_questions(), next_url=room, answer_url=answer)


@require_http_methods(["PUT", "POST"])
@in_project("manage")
@json_endpoint
def task_preview_answer(request: HttpRequest, project: Project, task: UUID) -> JsonResponse:
    row = task_of(project, task)
    room = reverse("task-preview-room", args=[project.public_id, task])
    return _checked(request, row, drafts.draft_of(row).questions, room)


@require_http_methods(["PUT", "POST"])
@in_project("manage")
@json_endpoint
def preset_answer(request: HttpRequest, project: Project, preset: str) -> JsonResponse:
    definition = _preset(preset)
    room = reverse("preset-room", args=[project.public_id, preset])
    return _checked(request, _unsaved(project, definition), definition.stored_questions(), room)


def _preset(name: str) -> Definition:
    try:
        return presets.preset(name)
    except KeyError as error:
        raise Http404 from error


def _unsaved(project: Project, definition: Definition) -> Task:
    """A task that exists on this page only."""
    guideline = GuidelineVersion(number=1, text=definition.guideline)
    return Task(project=project, name=definition.name, questions=definition.stored_questions(), guideline=guideline)


def _room(
    request: HttpRequest, task: Task, questions: list[dict[str, Any]], *, next_url: str, answer_url: str
) -> HttpResponse:
    instance = _instance(task, questions)
    order = list(range(len(instance.completions)))
    # its own id each time: the browser's copy of a draft belongs to one assignment
    assignment = Assignment(task=task, instance=instance, order=order, public_id=uuid4(), guideline=task.guideline)
    urls = dict.fromkeys(("draft", "submit", "skip", "flag", "undo"), answer_url) | dict.fromkeys(
        ("next", "back", "forward"), next_url
    )
    draft = {"answers": {}, "version": 0, "active_ms": 0}
    shown = reading.texts_of(assignment, questions) | {
        "progress": {"done": 0, "goal": 1, "more": False},
        "page": reading.page_of(assignment, questions, draft, urls),
        "preview": True,
        "answered": "answered" in request.GET,
    }
    return room(request, shown)


def _instance(task: Task, questions: list[dict[str, Any]]) -> Instance:
    """An instance of the task that the questions can be asked about, else a written one."""
    pairs_only = any(question["kind"] == "preference" for question in questions)
    held = task.instances.filter(removed_at=None).order_by("pk")[:50] if task.pk else []
    fitting = (one for one in held if not pairs_only or len(one.completions) == 2)
    missing = any(question.get("allow_missing") for question in questions)
    return next(fitting, None) or sample_instance(2 if pairs_only else 4, passages=missing)


def _checked(request: HttpRequest, task: Task, questions: list[dict[str, Any]], room: str) -> JsonResponse:
    """What the queue would say to a draft, a submit, a skip. Nothing is stored."""
    if request.method == "PUT":
        return JsonResponse({"version": body_of(request, DraftBody)["version"] + 1, "lease_expires": None})
    if b'"submission_id"' in request.body:
        answers = body_of(request, SubmissionBody)["answers"]
        try:
            asked = parse_questions(questions)
        except InvalidQuestions as error:  # the draft was changed in another tab since this page was made
            raise InvalidInput("The questions do not fit together; see the draft.", errors=error.errors) from error
        queue.checked(asked, _instance(task, questions), answers)
    return JsonResponse({"next": f"{room}?answered", "undo_seconds": 0})
