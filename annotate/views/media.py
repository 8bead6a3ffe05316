"""A task's media files: the page that takes them in, and the files themselves, for members only."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from feedback.exceptions import FeedbackError, InvalidInput
from feedback.media_types import ending_of
from feedback.models import MediaFile, Project, Task
from feedback.services import discarding
from feedback.services import media as services

from ..access import in_project, user_of
from ..downloads import send_file
from ..forms.media import MediaForm
from .tasks import page_context, task_of

PAGE = 100
HEADERS = {
    # opened by itself a file may do nothing at all
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; media-src 'self'; sandbox; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@require_http_methods(["GET", "POST"])
@in_project("manage")
def media_files(request: HttpRequest, project: Project, task: UUID) -> HttpResponse:
    """The media files of a task, newest first; or send some."""
    row = task_of(project, task)
    form = MediaForm(request.POST or None, request.FILES or None)
    if form.is_valid() and _stored(form, row, request):
        messages.success(request, "The files are here. An import names them in its contents.")
        return redirect("media", project.public_id, row.public_id)
    page = Paginator(row.media.order_by("-pk"), PAGE).get_page(request.GET.get("page"))
    context = page_context(request, project, task=row, form=form, page=page, limit_mb=settings.MAX_MEDIA_MB)
    return render(request, "tasks/media.html", context, status=422 if form.is_bound else 200)


def _stored(form: MediaForm, task: Task, request: HttpRequest) -> bool:
    for file in form.cleaned_data["sent"]:
        try:
            services.store_media(task, file.chunks(), file.name or "", actor=user_of(request))
        except FeedbackError as error:
            form.add_error("sent", f"{file.name}: {error.errors.get('file', error.message)}")
    return form.is_valid()


@require_POST
@in_project("manage")
def media_replace(request: HttpRequest, project: Project, task: UUID, media: UUID) -> HttpResponse:
    """Other bytes under the same name, while nothing shows the file."""
    row = file_of(project, task, media)
    sent = request.FILES.getlist("sent")
    if len(sent) != 1:
        raise InvalidInput("Choose one file to put in its place; nothing was changed.")
    discarding.replace_media(row, sent[0].chunks(), actor=user_of(request))
    messages.success(request, gettext("%(name)s has the new content.") % {"name": row.name})
    return redirect("media", project.public_id, task)


@require_POST
@in_project("manage")
def media_delete(request: HttpRequest, project: Project, task: UUID, media: UUID) -> HttpResponse:
    row = file_of(project, task, media)
    discarding.delete_media(row, actor=user_of(request))
    messages.success(request, gettext("%(name)s was deleted.") % {"name": row.name})
    return redirect("media", project.public_id, task)


@require_safe
@in_project("member")
def media_file(request: HttpRequest, project: Project, task: UUID, media: UUID) -> Any:
    return sent(request, file_of(project, task, media))


def file_of(project: Project, task: UUID, media: UUID) -> MediaFile:
    rows = MediaFile.objects.select_related("task__project")
    return get_object_or_404(rows, task__project=project, task__public_id=task, public_id=media)


def sent(request: HttpRequest, file: MediaFile) -> HttpResponseBase:
    """The bytes, as what they were recognised as, never as a page. The name that it has here may tell who made it, so
    it is saved under another."""
    path = services.path_of(file)
    name = f"{file.public_id}.{ending_of(file.content_type)}"
    response = send_file(request, path, sha256=file.sha256, name=name, content_type=file.content_type)
    for header, value in HEADERS.items():
        response.headers[header] = value
    return response
