"""Every error of the API is a problem of RFC 9457, with a string code that programs can rely on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.http import Http404, JsonResponse
from rest_framework import serializers
from rest_framework.exceptions import APIException, NotAuthenticated, Throttled, ValidationError
from rest_framework.response import Response

from feedback.exceptions import DraftConflict, FeedbackError

MEDIA_TYPE = "application/problem+json"
CODES = {
    "parse_error": "malformed",
    "not_authenticated": "unauthenticated",
    "authentication_failed": "unauthenticated",
    "permission_denied": "forbidden",
    "method_not_allowed": "method-not-allowed",
    "not_acceptable": "not-acceptable",
    "unsupported_media_type": "unsupported-media-type",
    "not_found": "not-found",
    "throttled": "throttled",
}


class ProblemSerializer(serializers.Serializer[Any]):
    """What an error says. ``errors`` maps a field's path to a sentence; ``code`` never changes its meaning."""

    type = serializers.CharField(default="about:blank")
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField()
    detail = serializers.CharField()
    errors = serializers.DictField(child=serializers.CharField(), required=False)  # type: ignore[assignment]


def body(status: int, code: str, detail: str, errors: Mapping[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """The JSON of one problem."""
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        **more,
    }
    return problem | {"errors": dict(errors)} if errors else problem


def handler(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's exception handler: any error we know becomes a problem; the others stay a 500 and are logged."""
    problem, headers = _problem(error, context)
    if problem is None:
        return None
    return Response(problem, status=problem["status"], headers=headers, content_type=MEDIA_TYPE)


def _problem(error: Exception, context: Mapping[str, Any]) -> tuple[dict[str, Any] | None, dict[str, str]]:
    match error:
        case FeedbackError():
            return of_domain_error(error), {}
        case Http404():
            return body(404, "not-found", "There is no such thing, or it is not yours to see."), {}
        case PermissionDenied():
            return body(403, "forbidden", "This is not allowed."), {}
        case OperationalError():
            return body(503, "unavailable", "The database is away; try again in a moment."), {"Retry-After": "5"}
        case ValidationError():
            # what the address asks for is a 400, what the body holds a 422
            status = 422 if context["request"].method in ("POST", "PUT", "PATCH") else 400
            return body(status, "invalid", "Some fields are not right.", flat(error.detail)), {}
        case APIException():
            return _of_api_exception(error)
    return None, {}


def of_domain_error(error: FeedbackError) -> dict[str, Any]:
    more = {"version": error.version, "answers": error.answers} if isinstance(error, DraftConflict) else {}
    return body(error.status, error.code, error.message, error.errors, **more)


def _of_api_exception(error: APIException) -> tuple[dict[str, Any], dict[str, str]]:
    headers: dict[str, str] = {}
    if isinstance(error, NotAuthenticated) or error.status_code == 401:
        headers["WWW-Authenticate"] = getattr(error, "auth_header", 'Bearer realm="tiebreak"')
    wait: float | None = getattr(error, "wait", None)
    if isinstance(error, Throttled) and wait is not None:
        headers["Retry-After"] = str(int(wait) + 1)
    code = CODES.get(str(error.default_code), str(error.default_code))
    return body(error.status_code, code, str(error.detail)), headers


def flat(detail: Any, path: str = "") -> dict[str, str]:
    """DRF's nested errors as ``{"tasks.0.name": "sentence"}``."""
    if isinstance(detail, Mapping):
        named = {key if key != "non_field_errors" else "": value for key, value in detail.items()}
        return {k: v for key, value in named.items() for k, v in flat(value, _join(path, str(key))).items()}
    if isinstance(detail, Sequence) and not isinstance(detail, str):
        if all(isinstance(item, str) for item in detail):
            return {path or "body": " ".join(str(item) for item in detail)}
        return {k: v for i, item in enumerate(detail) for k, v in flat(item, _join(path, str(i))).items()}
    return {path or "body": str(detail)}


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path and key else path or key


def response(problem: Mapping[str, Any]) -> JsonResponse:
    """A problem outside DRF: unknown addresses and crashes under ``/api/``."""
    return JsonResponse(problem, status=problem["status"], content_type=MEDIA_TYPE)
