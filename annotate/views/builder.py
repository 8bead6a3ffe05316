"""The builder of a task's questions: a draft that every action keeps first, so that nothing entered is lost.

The page is one form. Each of its buttons posts the question that is open along with what it does, to its own address.
"""

from __future__ import annotations

import json
from typing import Any, cast
from urllib.parse import urlencode
from uuid import UUID

from csp.constants import SELF
from csp.decorators import csp_update
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from feedback import drafting, presets, strict_json
from feedback.drafting import Draft
from feedback.exceptions import AnswersMisfit, FeedbackError, InvalidInput, QuestionsChanged
from feedback.models import Project, QuestionsDraft, Task
from feedback.services import drafts
from feedback.services.questions import Impact, impact_of, keep_readable

from ..access import in_project, user_of
from ..forms.question_words import KIND_LEADS, KIND_WORDS
from ..forms.questions import form_of, question_from
from .label import json_endpoint
from .tasks import page_context, task_of

NEXT = ("task-preview", "questions-json", "questions-review")


@require_GET
@in_project("manage")
def questions(request: HttpRequest, project: Project, task: UUID) -> HttpResponse:
    """The draft, with the question at ``?open=`` opened; ``?focus=`` is the id of what was used last."""
    row = task_of(project, task)
    return _page(request, project, row, drafts.draft_of(row), _number(request.GET.get("open"), default=0))


@require_POST
@in_project("manage")
def question_open(request: HttpRequest, project: Project, task: UUID) -> HttpResponse:
    """Keep the open question and open another one (``_to``), or the same again, or go to ``_next``."""
    to = _number(request.POST.get("_to"), default=_place(request))
    response = _kept(request, project, task, lambda draft: draft, to, focus=request.POST.get("_focus", ""))
    following = request.POST.get("_next")
    if response.status_code == 302 and following in NEXT:
        return redirect(following, project.public_id, task)
    return response


@require_POST
@in_project("manage")
def question_add(request: HttpRequest, project: Project, task: UUID) -> HttpResponse:
    kind = request.POST.get("_kind", "")
    return _kept(request, project, task, lambda draft: drafting.add(draft, kind), -1)


@require_POST
@in_project("manage")
def question_duplicate(request: HttpRequest, project: Project, task: UUID, place: int) -> HttpResponse:
    return _kept(request, project, task, lambda draft: drafting.duplicate(draft, place), place + 1)


@require_POST
@in_project("manage")
def question_remove(request: HttpRequest, project: Project, task: UUID, place: int) -> HttpResponse:
    return _kept(request, project, task, lambda draft: drafting.remove(draft, place), max(0, place - 1))


@require_POST
@in_project("manage")
def question_move(request: HttpRequest, project: Project, task: UUID, place: int) -> HttpResponse:
    """Put a question at ``_to``; the button that moved it keeps the focus."""
    to = _number(request.POST.get("_to"), default=place)
    way = "up" if to < place else "down"
    return _kept(request, project, task, lambda draft: drafting.move(draft, place, to), to, focus=f"{way}-{to}")


@require_POST
@in_project("manage")
@json_endpoint
def question_keep(request: HttpRequest, project: Project, task: UUID) -> JsonResponse:
    """Keep the open question for the page's script, and say what is not right yet."""
    draft = drafts.change(task_of(project, task), _version(request), _with_open(request), actor=user_of(request))
    found = drafting.errors_of(draft.questions)
    place = _place(request)
    errors = {}
    if place < len(draft.questions):
        form = form_of(draft.questions[place])
        form.show(found[place])
        errors = {cell.name: cell.error for cell in form.cells() if cell.error} | {"": form.error}
    return JsonResponse({"version": draft.version, "errors": errors, "counts": [len(one) for one in found]})


@require_http_methods(["GET", "POST"])
@in_project("manage")
def questions_json(request: HttpRequest, project: Project, task: UUID) -> HttpResponse:
    """The draft as JSON, to read and to change."""
    row = task_of(project, task)
    draft = drafts.draft_of(row)
    text, errors = json.dumps(draft.questions, indent=2, ensure_ascii=False), _sentences(draft.questions)
    status = 200
    if request.method == "POST":
        text = request.POST.get("questions", "")
        errors, status = _put_json(request, row, text)
        if not errors:
            messages.success(request, "The draft was changed.")
            return redirect("task-questions", project.public_id, row.public_id)
    context = page_context(request, project, task=row, draft=draft, text=text, errors=errors)
    return render(request, "tasks/json.html", context, status=status)


def _put_json(request: HttpRequest, task: Task, text: str) -> tuple[list[str], int]:
    """Put a whole list of questions in the draft's place; sentences about what is wrong, and then nothing is kept."""
    try:
        raw = strict_json.parse(text, max_bytes=drafting.MAX_BYTES)
        wrong = _sentences(drafting.checked(raw))
        if not wrong:
            drafts.change(task, _version(request), lambda _: raw, actor=user_of(request))
    except strict_json.InvalidJSON as error:
        return [error.said_of("This")], 422
    except drafting.InvalidChange as error:
        return [str(error)], 422
    except FeedbackError as error:
        return [error.message], error.status
    return wrong, 422


def _sentences(draft: Draft) -> list[str]:
    """What is not right: which question, which field, why."""
    return [
        f"Question {place} ({question.get('name', '')}){f', {field}' if field else ''}: {words}"
        for place, (question, errors) in enumerate(zip(draft, drafting.errors_of(draft), strict=True), start=1)
        for field, words in errors.items()
    ]


@require_POST
@in_project("manage")
def questions_discard(request: HttpRequest, project: Project, task: UUID) -> HttpResponse:
    row = task_of(project, task)
    try:
        drafts.discard(row, _version(request), actor=user_of(request))
    except QuestionsChanged as error:
        return _refused(request, project, row, error)
    messages.success(request, "The draft is gone. The task asks what it asked.")
    return redirect("task-questions", project.public_id, row.public_id)


@require_POST
@in_project("manage")
def questions_preset(request: HttpRequest, project: Project, task: UUID) -> HttpResponse:
    """Add a preset's questions to the end of the draft."""
    chosen = request.POST.get("_preset", "")
    added = presets.preset(chosen).stored_questions() if chosen in presets.NAMES else []
    return _kept(request, project, task, lambda draft: drafting.extend(draft, added), -1)


@require_http_methods(["GET", "POST"])
@in_project("manage")
def questions_review(request: HttpRequest, project: Project, task: UUID) -> HttpResponse:
    """What putting the draft to use means for the answers there are; then, put it to use."""
    row = task_of(project, task)
    draft = drafts.draft_of(row)
    error, status = "", 422 if request.method == "POST" else 200
    if request.method == "POST":
        try:
            asked, accept = _number(request.POST.get("_asked")), "accept" in request.POST
            drafts.put_to_use(row, _version(request), asked, actor=user_of(request), accept_misfits=accept)
        except (InvalidInput, AnswersMisfit, QuestionsChanged) as refused:
            error, status = " ".join([refused.message, *refused.errors.values()]), refused.status
        else:
            messages.success(request, "The questions are in use.")
            return redirect("task", project.public_id, row.public_id)
    wrong = _sentences(draft.questions)
    if not wrong and not error:
        error = _unreadable(row, draft)
    impact = None if wrong or not draft.questions else impact_of(row, draft.questions)
    context = page_context(request, project, task=row, draft=draft, errors=wrong, impact=impact, refused=error)
    context["lines"] = _lines(impact) if impact else []
    return render(request, "tasks/review.html", context, status=status)


def _unreadable(task: Task, draft: QuestionsDraft) -> str:
    """Why the draft can never be put to use as it is, in words."""
    try:
        keep_readable(task, draft.questions, accept_misfits=True)
    except InvalidInput as error:
        return " ".join(error.errors.values())
    return ""


def _lines(impact: Impact) -> list[dict[str, Any]]:
    return [{"impact": one, "kind": KIND_WORDS[one.kind]} for one in impact.questions]


def _kept(
    request: HttpRequest, project: Project, public_id: UUID, change: Any, to: int, *, focus: str = ""
) -> HttpResponse:
    """Keep the open question, change the draft, and show it again. What cannot be kept is shown, too."""
    row = task_of(project, public_id)
    with_open = _with_open(request)
    try:
        draft = drafts.change(row, _version(request), lambda draft: change(with_open(draft)), actor=user_of(request))
    except (QuestionsChanged, InvalidInput) as error:
        return _refused(request, project, row, error)
    to = min(to, len(draft.questions) - 1) if to >= 0 else len(draft.questions) - 1
    query = urlencode({"open": to, "focus": focus} if focus else {"open": to})
    place = "" if focus else f"#question-{to}"  # going to a place would take the focus away again
    return redirect(f"{reverse('task-questions', args=[project.public_id, row.public_id])}?{query}{place}")


def _with_open(request: HttpRequest) -> Any:
    """The change that puts what was entered in the place of the question that was open."""
    kind, place = request.POST.get("_open_kind", ""), _place(request)
    if kind not in KIND_WORDS:
        return lambda draft: draft
    return lambda draft: drafting.replace(draft, place, question_from(kind, request.POST))


def _refused(request: HttpRequest, project: Project, task: Task, error: FeedbackError) -> HttpResponse:
    kind = request.POST.get("_open_kind", "")
    entered = question_from(kind, request.POST) if kind in KIND_WORDS else None
    shown = json.dumps(entered, indent=2, ensure_ascii=False) if entered else ""
    more: dict[str, Any] = {"status": error.status, "refused": error.message, "entered": shown}
    return _page(request, project, task, drafts.draft_of(task), _place(request), **more)


def _page(
    request: HttpRequest,
    project: Project,
    task: Task,
    draft: QuestionsDraft,
    opened: int,
    *,
    status: int = 200,
    **more: Any,
) -> HttpResponse:
    found = drafting.errors_of(draft.questions)
    opened = min(max(opened, 0), len(draft.questions) - 1)
    rows = []
    for place, question in enumerate(draft.questions):
        row: dict[str, Any] = {
            "place": place,
            "question": question,
            "kind": KIND_WORDS[question["kind"]],
            "errors": len(found[place]),
        }
        if place == opened:
            row["form"] = form_of(question)
            row["form"].show(found[place])
        rows.append(row)
    context = page_context(
        request,
        project,
        task=task,
        draft=draft,
        rows=rows,
        opened=opened,
        changed=draft.changes not in (None, task.questions),
        focus=request.GET.get("focus", ""),
        kinds=[(kind, KIND_WORDS[kind], KIND_LEADS[kind]) for kind in drafting.STARTS],
        presets=[(name, one.name) for name, one in presets.presets().items()],
        **more,
    )
    framing = csp_update({"frame-src": [SELF]})  # type: ignore[arg-type]
    return cast(
        HttpResponse, framing(lambda request: render(request, "tasks/questions.html", context, status=status))(request)
    )


def _number(text: str | None, *, default: int = -1) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 10 else default


def _place(request: HttpRequest) -> int:
    return _number(request.POST.get("_place"), default=0)


def _version(request: HttpRequest) -> int:
    return _number(request.POST.get("_version"))
