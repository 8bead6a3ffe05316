"""A create action sent twice with one Idempotency-Key happens once; the second reply is the first one again."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework.exceptions import ParseError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.encoders import JSONEncoder

from feedback.exceptions import KeyReused
from feedback.models import User

from ..models import IdempotentReply
from .views import View

KEEP = timedelta(hours=24)
_KEY = re.compile(r"^[\x21-\x7e]{1,200}$")
P = ParamSpec("P")
V = TypeVar("V", bound=View)


def key_of(request: Request) -> str:
    """The Idempotency-Key header, or an empty string. Raises ParseError for a key that is no printable ASCII."""
    key = request.headers.get("Idempotency-Key", "")
    if key and not _KEY.match(key):
        raise ParseError("An Idempotency-Key has 1 to 200 printable ASCII characters.")
    return key


def job_key_of(request: Request, user: User) -> str:
    """What a job of this request is known by, whatever its key's length, or an empty string without a key."""
    key = key_of(request)
    return f"api:{user.pk}:{hashlib.sha256(key.encode()).hexdigest()}" if key else ""


def once(
    post: Callable[Concatenate[V, Request, P], Response],
) -> Callable[Concatenate[V, Request, P], Response]:
    """Decorate a ``post`` method: with a key, what it stores and the record of its reply commit together."""

    @wraps(post)
    def replayed(view: V, request: Request, *args: P.args, **kwargs: P.kwargs) -> Response:
        key = key_of(request)
        if not key:
            return post(view, request, *args, **kwargs)
        wanted = {"user": view.user, "key": key}
        digest = _digest(request)
        earlier = _earlier(view.user, key, digest)
        if earlier:
            return earlier
        try:
            with transaction.atomic():
                record = IdempotentReply.objects.create(request_sha256=digest, **wanted)
                response = post(view, request, *args, **kwargs)
                record.status, record.body = response.status_code, _plain(response.data)
                record.save(update_fields=["status", "body"])
        except IntegrityError:
            earlier = _earlier(view.user, key, digest)
            if earlier is None:
                raise
            return earlier
        return response

    return cast(Callable[Concatenate[V, Request, P], Response], replayed)


def _earlier(user: User, key: str, digest: str) -> Response | None:
    IdempotentReply.objects.filter(user=user, created_at__lt=timezone.now() - KEEP).delete()
    record = IdempotentReply.objects.filter(user=user, key=key).first()
    if record is None:
        return None
    if record.request_sha256 != digest:
        raise KeyReused
    return Response(record.body, status=record.status, headers={"Idempotent-Replay": "true"})


def _digest(request: Request) -> str:
    body = json.dumps(request.data, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(f"{request.method} {request.path}\n{body}".encode()).hexdigest()


def _plain(data: Any) -> Any:
    """Response data as plain JSON, as the renderer would write it."""
    return json.loads(json.dumps(data, cls=JSONEncoder))
