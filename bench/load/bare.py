"""The ceiling: Django with no middleware, no database and no template, behind the product's own server."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

PAGE = b"<!doctype html><title>next</title>" + b"<p>A completion to read.</p>" * 600


def next_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(PAGE, headers={"Content-Length": str(len(PAGE))})


def submit(request: HttpRequest) -> JsonResponse:
    answer = JsonResponse({"seen": sorted(json.loads(request.body))}, status=201)
    answer["Content-Length"] = str(len(answer.content))
    return answer


urlpatterns: list[Any] = [path("next/", next_page), path("submit/", submit)]

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1"],
    SECRET_KEY="the-ceiling-has-no-secrets-0123456789",
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[],
    LOGGING_CONFIG=None,
)
application = get_wsgi_application()
