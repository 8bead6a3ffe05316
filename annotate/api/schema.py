"""The API described by itself, as OpenAPI 3.1."""

from __future__ import annotations

import inspect
from typing import Any, Literal, cast

from django.db.models import TextChoices
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from drf_spectacular.views import SpectacularAPIView
from rest_framework.request import Request

from .problems import MEDIA_TYPE, ProblemSerializer


def is_list(view: Any) -> bool:
    """Whether a GET of the view answers through ``View.listed``."""
    return "listed" in inspect.unwrap(getattr(view, "get", lambda: None)).__code__.co_names


def closed_bodies(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Spectacular's last step: a body holds the fields that are named and no other, and is refused otherwise."""
    operations = [one for path in result["paths"].values() for one in path.values() if isinstance(one, dict)]
    schemas = result.get("components", {}).get("schemas", {})
    for operation in operations:
        for content in operation.get("requestBody", {}).get("content", {}).values():
            name = content["schema"].get("$ref", "").rpartition("/")[2]
            if name in schemas:
                schemas[name]["additionalProperties"] = False
    return result


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "annotate.api.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of your account page. Each operation names the scope it needs.",
        }


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "annotate.api.authentication.BrowserSessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}


class Schema(AutoSchema):  # type: ignore[misc]
    """Adds to every operation what all share: its scope and role in words, problems, the idempotency header."""

    def get_description(self) -> str:  # type: ignore[override]
        words = super().get_description()
        need = getattr(self.view, "needs", {}).get(self.method)
        if need is None:
            return str(words)
        role = f", permission `{need.permission}` in the project" if need.permission else ""
        return f"{words}\n\nNeeds scope `{need.scope}`{role}.".strip()

    def get_override_parameters(self) -> list[Any]:
        if self.method == "POST" and getattr(self.view, "idempotent", False):
            words = "The same key with the same body returns what the first request made, for 24 hours."
            return [OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER, description=words)]
        return []

    def _is_list_view(self, serializer: Any = None) -> bool:
        """A GET that answers through ``View.listed`` is a list; spectacular would look for DRF's mixins."""
        return (self.method == "GET" and is_list(self.view)) or bool(super()._is_list_view(serializer))

    def _get_filter_parameters(self) -> list[Any]:
        """A list of rows below this one (a run's metrics) is described by the model that its filters are about."""
        filtered = getattr(getattr(self.view, "filterset_class", None), "_meta", None)
        model, view = getattr(filtered, "model", None), cast(Any, self.view)
        whole = view.queryset
        if model is not None:
            view.queryset = model._default_manager.none()
        try:
            return list(super()._get_filter_parameters())  # type: ignore[no-untyped-call]
        finally:
            view.queryset = whole

    def _get_response_bodies(self, direction: Literal["request", "response"] = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        problem = self.resolve_serializer(ProblemSerializer, direction)
        bodies["4XX"] = {"content": {MEDIA_TYPE: {"schema": problem.ref}}, "description": "What is wrong, in words."}
        return bodies


def enum_names() -> dict[str, list[tuple[str, str]]]:
    """Each set of states and kinds keeps the name of its class, whatever else has a field named ``state``."""
    ours = ("feedback.", "routing.", "training.")
    return {kind.__name__: kind.choices for kind in TextChoices.__subclasses__() if kind.__module__.startswith(ours)}


class SchemaView(SpectacularAPIView):  # type: ignore[misc]
    """The OpenAPI description of this API. Public: it tells nothing of anybody's data."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.custom_settings = {"ENUM_NAME_OVERRIDES": enum_names()}
