"""Media files of a task, which prompts and completions name."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

import django_filters
from django.db.models import QuerySet
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from feedback.models import MediaFile, MediaKind
from feedback.services import discarding, media

from ..views.media import sent
from .fields import public_id
from .permissions import Need
from .views import ProjectView


class MediaSerializer(serializers.ModelSerializer[MediaFile]):
    id = public_id()

    class Meta:
        model = MediaFile
        fields = ("id", "name", "kind", "content_type", "sha256", "size", "created_at")
        read_only_fields = fields


class NewMediaSerializer(serializers.Serializer[Any]):
    """An image, audio or video file; contents name it by its file name."""

    file = serializers.FileField(allow_empty_file=True)


class MediaFilter(django_filters.FilterSet):
    name = django_filters.CharFilter()
    kind = django_filters.ChoiceFilter(choices=MediaKind.choices)


class MediaView(ProjectView):
    queryset = MediaFile.objects.select_related("task__project")
    project_path = "task__project"
    serializer_class = MediaSerializer

    def get_queryset(self) -> QuerySet[Any]:
        rows = super().get_queryset()
        return rows.filter(task__public_id=self.kwargs["task"]) if "task" in self.kwargs else rows

    def row(self, media: UUID) -> MediaFile:
        row: MediaFile = get_object_or_404(self.get_queryset(), public_id=media)
        return row


class MediaFiles(MediaView):
    """The media files of a task, newest first; or send one."""

    needs: ClassVar = {"GET": Need("read", "manage"), "POST": Need("write", "manage")}
    filterset_class = MediaFilter
    parser_classes = (MultiPartParser,)

    @extend_schema(operation_id="media_list")
    def get(self, request: Request, task: UUID, **kwargs: Any) -> Response:
        get_object_or_404(self.project.tasks, public_id=task)
        return self.listed()

    @extend_schema(operation_id="media_create", request={"multipart/form-data": NewMediaSerializer})
    def post(self, request: Request, task: UUID, **kwargs: Any) -> Response:
        """The same bytes under the same name again change nothing; other bytes under a name in use are a 409."""
        row = get_object_or_404(self.project.tasks.select_related("project"), public_id=task)
        file = self.checked(request, NewMediaSerializer)["file"]
        return self.shown(media.store_media(row, file.chunks(), file.name, actor=self.user), status=201)


class MediaDetail(MediaView):
    """One media file: its type, size and SHA-256. While no instance shows it and no frozen version holds it, it can
    be given other bytes or be deleted; else that is a 409."""

    needs: ClassVar = {
        "GET": Need("read", "manage"),
        "PUT": Need("write", "manage"),
        "DELETE": Need("write", "manage"),
    }
    parser_classes = (MultiPartParser,)

    @extend_schema(operation_id="media_retrieve")
    def get(self, request: Request, media: UUID, **kwargs: Any) -> Response:
        return self.shown(self.row(media))

    @extend_schema(operation_id="media_replace", request={"multipart/form-data": NewMediaSerializer})
    def put(self, request: Request, media: UUID, **kwargs: Any) -> Response:
        """Other bytes under the same name, whatever the name of the file sent."""
        row = self.row(media)
        file = self.checked(request, NewMediaSerializer)["file"]
        return self.shown(discarding.replace_media(row, file.chunks(), actor=self.user))

    @extend_schema(operation_id="media_delete", responses={204: None})
    def delete(self, request: Request, media: UUID, **kwargs: Any) -> Response:
        discarding.delete_media(self.row(media), actor=self.user)
        return Response(status=204)


class MediaContent(MediaView):
    """The file, whole or in part (Range), with its SHA-256 as ETag."""

    needs: ClassVar = {"GET": Need("read", "member")}

    @extend_schema(operation_id="media_file", responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: Request, media: UUID, **kwargs: Any) -> HttpResponseBase:
        return sent(request._request, self.row(media))
