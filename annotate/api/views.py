"""The two base classes of the API's views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.db.models import Model, QuerySet
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer

from feedback.models import Project, User

from ..access import project_for
from .permissions import HasScope, Need, need_of
from .schema import Schema


class View(GenericAPIView[Any]):
    """Every view of the API. Declare ``needs`` for each method; ``idempotent`` when POST takes an Idempotency-Key."""

    needs: ClassVar[Mapping[str, Need]] = {}
    idempotent: ClassVar[bool] = False
    permission_classes = (HasScope,)
    http_method_names = ["get", "head", "post", "put", "patch", "delete"]
    schema = Schema()
    lookup_field = "public_id"

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

    def checked(self, request: Request, serializer: type[BaseSerializer[Any]] | None = None) -> dict[str, Any]:
        """The validated body of the request. Raises ValidationError."""
        kind = serializer or self.get_serializer_class()
        form = kind(data=request.data, context=self.get_serializer_context())
        form.is_valid(raise_exception=True)
        return dict(form.validated_data)


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
