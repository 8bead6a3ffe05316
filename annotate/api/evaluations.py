"""Evaluations of trained models."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

import django_filters
from django.http import HttpResponseBase
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from feedback.models import DatasetVersion
from training import evaluations
from training.data import SPLITS
from training.models import Evaluation, TrainedModel

from ..views.evaluations import send_scores
from .fields import Empty, public_id
from .idempotency import job_key_of
from .parsers import StrictJSONParser
from .permissions import Need
from .views import ProjectView


class EvaluationSerializer(serializers.ModelSerializer[Evaluation]):
    """``report`` is empty until the job has succeeded; ``read`` says what became of the rows."""

    id = public_id()
    model = public_id("model.public_id")
    version = serializers.UUIDField(source="version.public_id", read_only=True, allow_null=True, default=None)
    job = public_id("job.public_id")
    state = serializers.CharField(source="job.state", read_only=True)
    error = serializers.CharField(source="job.error", read_only=True)
    report = serializers.DictField(child=serializers.JSONField(), read_only=True)
    read = serializers.DictField(child=serializers.JSONField(), read_only=True)

    class Meta:
        model = Evaluation
        fields = (
            *("id", "model", "version", "split", "filename", "sha256", "job", "state", "error"),
            *("report", "read", "seconds", "created_at"),
        )
        read_only_fields = fields


class NewEvaluation(serializers.Serializer[Any]):
    """``version`` with ``split``, or ``file`` (JSONL or Parquet with prompt, chosen, rejected; multipart)."""

    model = serializers.UUIDField()
    version = serializers.UUIDField(required=False)
    split = serializers.ChoiceField(SPLITS, default="test")
    file = serializers.FileField(required=False)
    max_length = serializers.IntegerField(min_value=8, max_value=131_072, required=False)
    long_rows = serializers.ChoiceField(["truncate-prompt-left", "drop", "error"], required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("file" in attrs) == ("version" in attrs):
            raise serializers.ValidationError({"version": "Send either version or file."})
        return attrs


class EvaluationFilter(django_filters.FilterSet):
    model = django_filters.UUIDFilter(field_name="model__public_id")
    version = django_filters.UUIDFilter(field_name="version__public_id")


class EvaluationView(ProjectView):
    queryset = Evaluation.objects.select_related("model", "version", "job")
    project_path = "model__run__project"
    serializer_class: Any = EvaluationSerializer


@extend_schema_view(get=extend_schema(operation_id="evaluations_list"))
class Evaluations(EvaluationView):
    filterset_class = EvaluationFilter
    needs: ClassVar = {"GET": Need("read", "view"), "POST": Need("train", "manage")}
    parser_classes = (MultiPartParser, StrictJSONParser)
    idempotent = True

    def get(self, request: Request, project: Any) -> Response:
        return self.listed()

    @extend_schema(
        operation_id="evaluations_create",
        request={"application/json": NewEvaluation, "multipart/form-data": NewEvaluation},
        responses={202: EvaluationSerializer},
    )
    def post(self, request: Request, project: Any) -> Response:
        """Evaluate a trained model on a split of a dataset version or on a file, as a job."""
        body = self.checked(request, NewEvaluation)
        models = TrainedModel.objects.select_related("run__project", "run__version__task")
        model = get_object_or_404(models, run__project=self.project, public_id=body["model"])
        shared: dict[str, Any] = {
            "config": {name: body[name] for name in ("max_length", "long_rows") if name in body},
            "idempotency_key": job_key_of(request, self.user),
        }
        if "file" in body:
            made = evaluations.start_on_upload(model, body["file"], self.user, **shared)
        else:
            versions = DatasetVersion.objects.select_related("task").filter(task__project=self.project)
            version = versions.filter(public_id=body["version"]).first()
            if version is None:
                raise serializers.ValidationError({"version": "There is no such dataset version."})
            made = evaluations.start_evaluation(model, version, self.user, split=body["split"], **shared)
        return self.shown(self.get_queryset().get(pk=made.pk), 202)


@extend_schema_view(get=extend_schema(operation_id="evaluations_retrieve"))
class EvaluationDetail(EvaluationView):
    needs: ClassVar = {"GET": Need("read", "view")}

    def get(self, request: Request, project: Any, evaluation: UUID) -> Response:
        return self.shown(get_object_or_404(self.get_queryset(), public_id=evaluation))


class EvaluationScores(EvaluationView):
    serializer_class: Any = Empty
    needs: ClassVar = {"GET": Need("read", "view")}

    @extend_schema(
        operation_id="evaluations_scores", responses={(200, "application/octet-stream"): OpenApiTypes.BINARY}
    )
    def get(self, request: Request, project: Any, evaluation: UUID) -> HttpResponseBase:
        """Each pair's scores, a JSON object a line."""
        return send_scores(request._request, get_object_or_404(self.get_queryset(), public_id=evaluation))
