"""Domain errors become answers people can read; the API has its own handler."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import translation

from feedback.exceptions import DraftConflict, FeedbackError

log = logging.getLogger(__name__)

# the control room and the API have no catalogue, and a page in two languages is worse than one in English
ENGLISH = ("/p/", "/projects/", "/api/")


def own_language(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Speak the language that the person chose; before LocaleMiddleware's guess from the browser's."""

    def answered(request: HttpRequest) -> HttpResponse:
        language = "en" if request.path.startswith(ENGLISH) else _chosen(request)
        if language:
            translation.activate(language)
        request.LANGUAGE_CODE = translation.get_language() or "en"
        return get_response(request)

    return answered


def _chosen(request: HttpRequest) -> str:
    try:
        return str(getattr(request.user, "preferences", {}).get("language", ""))
    except OperationalError:  # the view meets the same, and answers it
        return ""


class domain_errors:  # noqa: N801 - reads as a function in settings
    """Turn a FeedbackError that a view did not handle into a page, or into JSON for scripts of our own pages."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if isinstance(error, OperationalError):
            log.error("database unavailable: %s", error)
            return render(request, "503.html", status=503)
        if not isinstance(error, FeedbackError):
            return None
        if request.content_type == "application/json":
            return JsonResponse(problem(error), status=error.status)
        return render(request, "problem.html", {"error": error}, status=error.status)


def problem(error: FeedbackError) -> dict[str, object]:
    """The JSON body of a domain error."""
    body: dict[str, object] = {"code": error.code, "detail": error.message, "errors": error.errors}
    if isinstance(error, DraftConflict):
        body |= {"version": error.version, "answers": error.answers}
    return body
