"""What went wrong, in words; under ``/api/`` the same as a problem document."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from ..api import problems


def _answer(request: HttpRequest, status: int, code: str, words: str) -> HttpResponse:
    if request.path.startswith("/api/"):
        return problems.response(problems.body(status, code, words))
    return render(request, f"{status}.html", status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, 400, "malformed", "This request could not be read.")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, 403, "forbidden", "This is not allowed.")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _answer(request, 404, "not-found", "There is no such thing, or it is not yours to see.")


def crashed(request: HttpRequest) -> HttpResponse:
    return _answer(request, 500, "internal", "This failed on our side; nothing was stored.")
