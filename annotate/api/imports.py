"""Imports: send a file, map its columns, look through it, bring it in."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

import django_filters
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from feedback.exceptions import FeedbackError, InvalidInput
from feedback.formats.sources import SOURCES
from feedback.models import ImportBatch, ImportState, Task
from feedback.services import importing, uploads
from feedback.services.uploads import Stored

from .fields import public_id
from .idempotency import key_of
from .jobs import JobSerializer
from .parsers import StrictJSONParser
from .permissions import Need
from .views import ProjectView


class ImportSerializer(serializers.ModelSerializer[ImportBatch]):
    id = public_id()
    task = public_id("task.public_id")
    mapping = serializers.DictField(child=serializers.JSONField(), read_only=True)
    report = serializers.DictField(child=serializers.JSONField(), read_only=True)

    class Meta:
        model = ImportBatch
        fields = (
            "id",
            "task",
            "filename",
            "sha256",
            "format",
            "mapping",
            "state",
            "report",
            "created_at",
            "imported_at",
        )
        read_only_fields = fields


class NewImportSerializer(serializers.Serializer[Any]):
    """A file (multipart) or the name of a folder on the server; into ``task``, or a new task ``task_name``."""

    file = serializers.FileField(required=False)
    server_path = serializers.CharField(required=False, max_length=1000)
    task = serializers.UUIDField(required=False)
    task_name = serializers.CharField(required=False, max_length=120)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("file" in attrs) == ("server_path" in attrs):
            raise serializers.ValidationError({"file": "Send either file or server_path."})
        if ("task" in attrs) == ("task_name" in attrs):
            raise serializers.ValidationError({"task": "Name either task or task_name."})
        return attrs


class MappingSerializer(serializers.Serializer[Any]):
    """``columns`` as in the guide (``prompt``, ``completions``, …); ``null`` reads the file as its format knows.

    What is not sent stays as it is.
    """

    columns = serializers.DictField(child=serializers.JSONField(), required=False, allow_null=True)
    annotations = serializers.BooleanField(required=False)


class RunSerializer(serializers.Serializer[Any]):
    skip_bad_rows = serializers.BooleanField(default=False)


class ImportFilter(django_filters.FilterSet):
    task = django_filters.UUIDFilter(field_name="task__public_id")
    state = django_filters.ChoiceFilter(choices=ImportState.choices)


class ImportBatches(ProjectView):
    """Files that were sent, newest first; or send one."""

    needs: ClassVar = {"GET": Need("read", "view"), "POST": Need("write", "manage")}
    queryset = ImportBatch.objects.select_related("task")
    project_path = "task__project"
    serializer_class = ImportSerializer
    filterset_class = ImportFilter
    parser_classes = (MultiPartParser, StrictJSONParser)

    @extend_schema(operation_id="imports_list")
    def get(self, request: Request, **kwargs: Any) -> Response:
        return self.listed()

    @extend_schema(operation_id="imports_create", request={"multipart/form-data": NewImportSerializer})
    def post(self, request: Request, **kwargs: Any) -> Response:
        """Nothing goes into the task yet. The answer holds what the file was recognised as, and its report."""
        wanted = self.checked(request, NewImportSerializer)
        task = get_object_or_404(self.project.tasks, public_id=wanted["task"]) if "task" in wanted else None
        stored = self._stored(wanted)
        try:
            batch = self._batch(stored, task, wanted.get("task_name", ""))
        except FeedbackError:
            uploads.discard(stored)
            raise
        if batch.format in SOURCES:
            importing.dry_run(batch)
        batch.refresh_from_db()
        return self.shown(batch, status=201)

    def _stored(self, wanted: dict[str, Any]) -> Stored:
        if "file" in wanted:
            return uploads.store_upload(wanted["file"].chunks(), wanted["file"].name)
        return uploads.server_source(wanted["server_path"])

    def _batch(self, stored: Stored, task: Task | None, name: str) -> ImportBatch:
        if task is None:
            task = importing.new_task_for(self.project, stored, name=name, actor=self.user)
        return importing.new_batch(task, stored, actor=self.user)


class ImportView(ProjectView):
    queryset = ImportBatch.objects.select_related("task__project", "created_by")
    project_path = "task__project"

    def row(self, public_id: UUID) -> ImportBatch:
        row: ImportBatch = get_object_or_404(self.get_queryset(), public_id=public_id)
        return row


class ImportDetail(ImportView):
    """One import: its mapping, its state and what a look through it found."""

    needs: ClassVar = {"GET": Need("read", "view"), "PATCH": Need("write", "manage")}
    serializer_class = ImportSerializer

    @extend_schema(operation_id="imports_retrieve")
    def get(self, request: Request, batch: UUID, **kwargs: Any) -> Response:
        return self.shown(self.row(batch))

    @extend_schema(operation_id="imports_map", request=MappingSerializer)
    def patch(self, request: Request, batch: UUID, **kwargs: Any) -> Response:
        """Say which column is what."""
        wanted = self.checked(request, MappingSerializer)
        row = self.row(batch)
        mapping = {"columns": None, "annotations": True} | row.mapping | wanted
        importing.set_mapping(row, mapping["columns"], annotations=mapping["annotations"])
        return self.shown(row)


class ImportCheck(ImportView):
    """Look through the file without storing a row (the dry run)."""

    needs: ClassVar = {"POST": Need("write", "manage")}
    serializer_class = ImportSerializer

    @extend_schema(operation_id="imports_check", request=None)
    def post(self, request: Request, batch: UUID, **kwargs: Any) -> Response:
        row = self.row(batch)
        if row.state == ImportState.IMPORTED:
            raise InvalidInput("This file is already imported.")
        importing.dry_run(row)
        row.refresh_from_db()
        return self.shown(row)


class ImportRun(ImportView):
    """Import all rows or none, as a job."""

    needs: ClassVar = {"POST": Need("write", "manage")}
    idempotent = True
    serializer_class = RunSerializer

    @extend_schema(operation_id="imports_run", request=RunSerializer, responses={202: JobSerializer})
    def post(self, request: Request, batch: UUID, **kwargs: Any) -> Response:
        skip = self.checked(request)["skip_bad_rows"]
        key = key_of(request)
        job = importing.start_import(self.row(batch), actor=self.user, skip_bad_rows=skip, idempotency_key=key)
        return Response(JobSerializer(job).data, status=202)
