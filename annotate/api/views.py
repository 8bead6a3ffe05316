"""The two base classes of the API's views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db.models import Model, QuerySet
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from feedback.models import Project, User

from ..access import project_for
from .permissions import HasScope, Need, need_of
from .schema import Schema, is_list


class View(GenericAPIView[Any]):
    """Every view of the API. Declare ``needs`` for each method; ``idempotent`` when POST takes an Idempotency-Key."""

    needs: ClassVar[Mapping[str, Need]] = {}
    idempotent: ClassVar[bool] = False
    query: ClassVar[frozenset[str]] = frozenset()
    """Parameters of a GET beside the filters and the paging of a list."""
    query_prefix: ClassVar[str] = ""
    """What the names of further parameters begin with, where they are not known beforehand."""
    permission_classes = (HasScope,)
    http_method_names = ["get", "head", "post", "put", "patch", "delete"]
    schema = Schema()
    lookup_field = "public_id"

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        known = self.known_query(request.method or "GET")
        unknown = [name for name in request.query_params if name not in known and not self._is_open(name)]
        if unknown:
            raise ParseError(f"{_named(unknown, 'parameter')} not known here.")

    def _is_open(self, name: str) -> bool:
        return bool(self.query_prefix) and self.request.method == "GET" and name.startswith(self.query_prefix)

    def known_query(self, method: str) -> set[str]:
        """The query parameters that a request may have."""
        if method not in ("GET", "HEAD"):
            return set()
        if not is_list(self):
            return set(self.query)
        filters = getattr(getattr(self, "filterset_class", None), "base_filters", {})
        return {*self.query, *filters, *(("cursor", "limit") if self.pagination_class else ())}

    @property
    def user(self) -> User:
        assert isinstance(self.request.user, User)
        return self.request.user

    def listed(self, rows: QuerySet[Any] | None = None) -> Response:
        """One page of ``rows`` (default: all this view may see), filtered."""
        rows = self.filter_queryset(self.get_queryset() if rows is None else rows)
        page = self.paginate_queryset(rows)
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    def shown(self, row: Model, status: int = 200) -> Response:
        return Response(self.get_serializer(row).data, status=status)

    def checked(
        self, request: Request, serializer: type[BaseSerializer[Any]] | None = None, *, partial: bool = False
    ) -> dict[str, Any]:
        """The validated body of the request. Raises ValidationError, also for a field that nobody reads."""
        kind = serializer or self.get_serializer_class()
        form: Any = kind(data=request.data, partial=partial, context=self.get_serializer_context())
        if isinstance(request.data, Mapping):
            known = {name for name, field in form.fields.items() if not field.read_only}
            unknown = [name for name in request.data if name not in known]
            if unknown:
                raise ValidationError(dict.fromkeys(unknown, "There is no such field."))
        form.is_valid(raise_exception=True)
        return dict(form.validated_data)


def _named(names: list[str], noun: str) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:5])
    return f"The {noun}s {shown} are" if len(names) > 1 else f"The {noun} {shown} is"


class ProjectView(View):
    """A view under ``/projects/<project>/``: outsiders get a 404, members without the permission a 403.

    ``queryset`` is cut to the project through ``project_path`` (``task__project``), so a foreign id is a 404.
    """

    project_path: ClassVar[str] = "project"
    project: Project

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        need = need_of(self, request.method or "GET")
        self.project = project_for(self.user, kwargs["project"], need.permission if need else "view")

    def get_queryset(self) -> QuerySet[Any]:
        rows = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            return rows.none()
        return rows.filter(**{self.project_path: self.project})
