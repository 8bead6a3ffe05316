"""Dataset versions: freeze, read the card, fetch the files."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

import django_filters
from django.http import HttpResponseBase
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from feedback.models import DatasetState, DatasetVersion
from feedback.services import datasets

from ..views.datasets import sent
from .fields import public_id
from .idempotency import key_of
from .jobs import JobSerializer
from .permissions import Need
from .views import ProjectView


class DatasetFileSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    bytes = serializers.IntegerField()
    sha256 = serializers.CharField()
    rows = serializers.IntegerField(allow_null=True)
    split = serializers.CharField(allow_blank=True)
    shape = serializers.CharField()
    format = serializers.CharField()


class DatasetSerializer(serializers.ModelSerializer[DatasetVersion]):
    id = public_id()
    task = public_id("task.public_id")
    mix = serializers.UUIDField(source="mix.public_id", read_only=True, default=None, allow_null=True)
    spec = serializers.DictField(child=serializers.JSONField(), read_only=True)

    class Meta:
        model = DatasetVersion
        fields = ("id", "task", "number", "state", "spec", "mix", "rows", "sha256", "error", "created_at", "frozen_at")
        read_only_fields = fields


class DatasetDetailSerializer(DatasetSerializer):
    card = serializers.DictField(child=serializers.JSONField(), read_only=True)
    files = serializers.SerializerMethodField()
    job = serializers.SerializerMethodField()

    class Meta:
        model = DatasetVersion
        fields = (*DatasetSerializer.Meta.fields, "card", "files", "job")  # type: ignore[assignment]
        read_only_fields = fields

    @extend_schema_field(DatasetFileSerializer(many=True))
    def get_files(self, row: DatasetVersion) -> list[dict[str, Any]]:
        return list(DatasetFileSerializer(datasets.files_of(row), many=True).data)

    @extend_schema_field(JobSerializer(allow_null=True))
    def get_job(self, row: DatasetVersion) -> dict[str, Any] | None:
        """The job that freezes it, while it is not ready."""
        job = datasets.job_of(row) if row.state != DatasetState.READY else None
        return dict(JobSerializer(job).data) if job else None


class NewDatasetSerializer(serializers.Serializer[Any]):
    """``spec``: shapes, formats, sources, mix, aggregation, ties, pairs, splits, seed, min_annotations,
    adjudicated, question."""

    task = serializers.UUIDField()
    spec = serializers.DictField(child=serializers.JSONField(), required=False, default=dict)


class DatasetFilter(django_filters.FilterSet):
    task = django_filters.UUIDFilter(field_name="task__public_id")
    state = django_filters.ChoiceFilter(choices=DatasetState.choices)


class Datasets(ProjectView):
    """Dataset versions, newest first; or freeze one, as a job."""

    needs: ClassVar = {"GET": Need("read", "view"), "POST": Need("write", "manage")}
    queryset = DatasetVersion.objects.select_related("task", "mix").defer("manifest", "card")
    project_path = "task__project"
    serializer_class = DatasetSerializer
    filterset_class = DatasetFilter
    idempotent = True

    @extend_schema(operation_id="datasets_list")
    def get(self, request: Request, **kwargs: Any) -> Response:
        return self.listed()

    @extend_schema(
        operation_id="datasets_freeze", request=NewDatasetSerializer, responses={202: DatasetDetailSerializer}
    )
    def post(self, request: Request, **kwargs: Any) -> Response:
        wanted = self.checked(request, NewDatasetSerializer)
        task = get_object_or_404(self.project.tasks, public_id=wanted["task"])
        version = datasets.create_version(task, wanted["spec"], actor=self.user, idempotency_key=key_of(request))
        return Response(DatasetDetailSerializer(version).data, status=202)


class DatasetView(ProjectView):
    queryset = DatasetVersion.objects.select_related("task__project", "mix")
    project_path = "task__project"

    def row(self, public_id: UUID) -> DatasetVersion:
        row: DatasetVersion = get_object_or_404(self.get_queryset(), public_id=public_id)
        return row


class DatasetDetail(DatasetView):
    """One version with its card and files."""

    needs: ClassVar = {"GET": Need("read", "view")}
    serializer_class = DatasetDetailSerializer

    @extend_schema(operation_id="datasets_retrieve")
    def get(self, request: Request, version: UUID, **kwargs: Any) -> Response:
        return self.shown(self.row(version))


class ProblemsSerializer(serializers.Serializer[Any]):
    """What differs from the manifest; empty when every file is as it was frozen."""

    problems = serializers.ListField(child=serializers.CharField())


class DatasetVerify(DatasetView):
    """Hash every file again and compare."""

    needs: ClassVar = {"POST": Need("read", "view")}
    serializer_class = ProblemsSerializer

    @extend_schema(operation_id="datasets_verify", request=None)
    def post(self, request: Request, version: UUID, **kwargs: Any) -> Response:
        return Response({"problems": datasets.verify_version(self.row(version))})


class DatasetFile(DatasetView):
    """A file, whole or in part (Range), with its SHA-256 as ETag."""

    needs: ClassVar = {"GET": Need("read", "view")}
    serializer_class = DatasetDetailSerializer

    @extend_schema(operation_id="datasets_file", responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: Request, version: UUID, path: str, **kwargs: Any) -> HttpResponseBase:
        return sent(request._request, self.row(version), path)
