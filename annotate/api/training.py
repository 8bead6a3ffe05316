"""Runs and the models that come out of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from django.http import Http404, HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.request import Request
from rest_framework.response import Response

from feedback.models import DatasetVersion, Project
from training import services
from training.base_models import base_models
from training.curves import curves
from training.models import Metric, ModelKind, Run, RunState, TrainedModel
from training.objectives.catalogue import OBJECTIVES, Objective
from training.objectives.options import ObjectiveOptions

from ..views.models import send_model_file
from .fields import Empty, public_id
from .idempotency import job_key_of, once
from .permissions import Need
from .views import ProjectView

MAX_POINTS = 2000
OBJECTIVE_CHOICES = [(objective.name, objective.title) for objective in OBJECTIVES.values()]


class RunSerializer(serializers.ModelSerializer[Run]):
    """A run. ``state`` is ``queued``, ``running``, ``checked``, ``finished``, ``cancelled`` or ``failed``."""

    id = public_id()
    version = public_id("version.public_id")
    held_out = serializers.UUIDField(source="held_out.public_id", read_only=True, default=None, allow_null=True)
    job = public_id("job.public_id")
    model = serializers.UUIDField(source="model.public_id", read_only=True, default=None)

    class Meta:
        model = Run
        fields = (
            *(
                "id",
                "number",
                "version",
                "held_out",
                "objective",
                "base_model",
                "config",
                "state",
                "job",
                "model",
                "phase",
            ),
            *("message", "step", "total_steps", "eta_seconds", "tokens", "memory_bytes", "seconds", "error"),
            *("created_at", "started_at", "ended_at"),
        )
        read_only_fields = fields


class RunDetailSerializer(RunSerializer):
    class Meta:
        model = Run
        fields = (*RunSerializer.Meta.fields, "check_first", "preflight", "evaluation", "votes")
        read_only_fields = fields


class RunBody(serializers.Serializer[Any]):
    """``config`` takes the engine's settings, such as ``{"epochs": 2, "learning_rate": 5e-5}``; defaults for the rest.

    ``base_model`` is the ``id`` of one of the base models. ``held_out`` names another version, whose test split is
    evaluated on instead of the version's own. With ``check_first`` nothing is learned yet: the run becomes
    ``checked`` with its ``preflight`` report, and waits to be started.
    """

    version = serializers.UUIDField()
    held_out = serializers.UUIDField(allow_null=True, default=None)
    objective = serializers.ChoiceField(OBJECTIVE_CHOICES)
    base_model = serializers.CharField(max_length=200, default="small")
    config = serializers.DictField(child=serializers.JSONField(allow_null=True), required=False, default=dict)
    check_first = serializers.BooleanField(default=False)


class BaseModelSerializer(serializers.Serializer[Any]):
    id = serializers.CharField(source="key")
    name = serializers.CharField()


class RunFilter(filters.FilterSet):
    state = filters.ChoiceFilter(choices=RunState.choices)
    objective = filters.ChoiceFilter(choices=OBJECTIVE_CHOICES)
    version = filters.UUIDFilter("version__public_id")

    class Meta:
        model = Run
        fields = ("state", "objective", "version")


def version_of(project: Project, body: Mapping[str, Any], field: str) -> DatasetVersion:
    """The project's dataset version that a field of a body names. Raises ValidationError."""
    versions = DatasetVersion.objects.select_related("task__project").filter(task__project=project)
    version = versions.filter(public_id=body[field]).first()
    if version is None:
        raise serializers.ValidationError({field: "There is no such dataset version."})
    return version


class RunView(ProjectView):
    queryset = Run.objects.select_related("version", "held_out", "job", "model", "project")

    def row(self, run: UUID) -> Run:
        services.settle(self.project)
        found: Run = get_object_or_404(self.get_queryset(), public_id=run)
        return found


@extend_schema_view(get=extend_schema(operation_id="runs_list"))
class Runs(RunView):
    serializer_class = RunSerializer
    filterset_class = RunFilter
    needs: ClassVar = {"GET": Need("read", "view"), "POST": Need("train", "manage")}
    idempotent = True

    def get(self, request: Request, project: Any) -> Response:
        services.settle(self.project)
        return self.listed(self.get_queryset().defer("preflight"))

    @extend_schema(operation_id="runs_create", request=RunBody, responses={201: RunSerializer})
    @once
    def post(self, request: Request, project: Any) -> Response:
        """Start a run on a ready dataset version."""
        body = self.checked(request, RunBody)
        run = services.start_run(
            version_of(self.project, body, "version"),
            body["objective"],
            body["base_model"],
            body["config"],
            self.user,
            job_key_of(request, self.user),
            version_of(self.project, body, "held_out") if body["held_out"] else None,
            check_first=body["check_first"],
        )
        return self.shown(self.get_queryset().get(pk=run.pk), 201)


@extend_schema_view(get=extend_schema(operation_id="runs_retrieve"))
class RunDetail(RunView):
    serializer_class = RunDetailSerializer
    needs: ClassVar = {"GET": Need("read", "view")}

    def get(self, request: Request, project: Any, run: UUID) -> Response:
        return self.shown(self.row(run))


class RunCancel(RunView):
    serializer_class = RunSerializer
    needs: ClassVar = {"POST": Need("train", "manage")}

    @extend_schema(operation_id="runs_cancel", request=Empty, responses={202: RunSerializer})
    def post(self, request: Request, project: Any, run: UUID) -> Response:
        """Ask a run to save its state and stop, within ten seconds; it can be resumed. One that is checked ends."""
        services.cancel_run(self.row(run), self.user)
        return self.shown(self.row(run), 202)


class RunStart(RunView):
    serializer_class = RunSerializer
    needs: ClassVar = {"POST": Need("train", "manage")}

    @extend_schema(operation_id="runs_start", request=Empty, responses={202: RunSerializer})
    def post(self, request: Request, project: Any, run: UUID) -> Response:
        """Let a checked run learn."""
        services.start_checked(self.row(run), self.user)
        return self.shown(self.row(run), 202)


class RunResume(RunView):
    serializer_class = RunSerializer
    needs: ClassVar = {"POST": Need("train", "manage")}

    @extend_schema(operation_id="runs_resume", request=Empty, responses={202: RunSerializer})
    def post(self, request: Request, project: Any, run: UUID) -> Response:
        """Take a cancelled or failed run up again from its last checkpoint."""
        services.resume_run(self.row(run), self.user)
        return self.shown(self.row(run), 202)


class MetricSerializer(serializers.ModelSerializer[Metric]):
    class Meta:
        model = Metric
        fields = ("step", "name", "value")
        read_only_fields = fields


class MetricFilter(filters.FilterSet):
    name = filters.CharFilter(max_length=60)

    class Meta:
        model = Metric
        fields = ("name",)


@extend_schema_view(get=extend_schema(operation_id="runs_metrics"))
class RunMetrics(RunView):
    """Every point of a run's curves, newest first, by cursor."""

    serializer_class = MetricSerializer
    filterset_class = MetricFilter
    needs: ClassVar = {"GET": Need("read", "view")}

    def get(self, request: Request, project: Any, run: UUID) -> Response:
        return self.listed(self.row(run).metrics.all())


CURVES = {
    "type": "object",
    "properties": {
        "series": {"type": "array", "items": {"type": "object", "additionalProperties": True}},
        "done": {"type": "boolean"},
    },
}


class RunCurves(RunView):
    serializer_class = Empty
    query: ClassVar = frozenset({"points"})
    needs: ClassVar = {"GET": Need("read", "view")}

    @extend_schema(
        operation_id="runs_curves",
        parameters=[OpenApiParameter("points", int, description=f"Points per curve, at most {MAX_POINTS}.")],
        responses={200: CURVES},
    )
    def get(self, request: Request, project: Any, run: UUID) -> Response:
        """All curves, each thinned to at most ``points`` points (means, with the range as ``band``)."""
        wanted = request.query_params.get("points", "400")
        if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 6 and 1 <= int(wanted) <= MAX_POINTS):
            raise ParseError(f"points must be a whole number from 1 to {MAX_POINTS}.")
        row = self.row(run)
        return Response({"series": curves(row, points=int(wanted)), "done": not row.is_active})


class BaseModels(ProjectView):
    serializer_class = BaseModelSerializer
    queryset = Run.objects.none()
    pagination_class = None
    filter_backends = ()
    needs: ClassVar = {"GET": Need("read", "view")}

    @extend_schema(operation_id="base_models_list", responses={200: BaseModelSerializer(many=True)})
    def get(self, request: Request, project: Any) -> Response:
        """What a run of this project can start from."""
        return Response(BaseModelSerializer(base_models(self.project), many=True).data)


class ObjectiveSerializer(serializers.Serializer[Objective]):
    """What a run can learn by. ``consumes`` names the shapes of a dataset version that it reads, best first, and
    ``beside`` those that it reads as well; ``options`` is the JSON schema of its ``objective_options``, with its own
    defaults."""

    id = serializers.CharField(source="name")
    title = serializers.CharField()
    summary = serializers.CharField()
    makes = serializers.ChoiceField(ModelKind.choices)
    consumes = serializers.ListField(child=serializers.CharField())
    beside = serializers.ListField(child=serializers.CharField())
    loss = serializers.CharField()
    paper = serializers.CharField(source="source")
    options = serializers.SerializerMethodField()

    def get_options(self, objective: Objective) -> dict[str, dict[str, Any]]:
        schema = ObjectiveOptions.model_json_schema()["properties"]
        return {name: schema[name] | {"default": default} for name, default in objective.defaults.items()}


class Objectives(ProjectView):
    serializer_class = ObjectiveSerializer
    queryset = Run.objects.none()
    pagination_class = None
    filter_backends = ()
    needs: ClassVar = {"GET": Need("read", "view")}

    @extend_schema(operation_id="objectives_list", responses={200: ObjectiveSerializer(many=True)})
    def get(self, request: Request, project: Any) -> Response:
        """What a run can learn by."""
        return Response([ObjectiveSerializer(one).data for one in OBJECTIVES.values()])


class FileSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    sha256 = serializers.CharField()
    bytes = serializers.IntegerField()
    url = serializers.CharField(help_text="Takes Range requests.")


class ModelSerializer(serializers.ModelSerializer[TrainedModel]):
    """A trained model. ``sha256`` covers its files: SHA-256 over the lines ``<sha256>  <path>`` sorted by path."""

    id = public_id()
    run = public_id("run.public_id")
    version = public_id("run.version.public_id")
    base_model = serializers.CharField(source="run.base_model", read_only=True)

    class Meta:
        model = TrainedModel
        fields = ("id", "name", "kind", "run", "version", "base_model", "sha256", "bytes", "created_at")
        read_only_fields = fields


class ModelDetailSerializer(ModelSerializer):
    files = serializers.SerializerMethodField()
    evaluation = serializers.JSONField(source="run.evaluation", read_only=True)

    class Meta:
        model = TrainedModel
        fields = (*ModelSerializer.Meta.fields, "files", "evaluation", "card")
        read_only_fields = fields

    def get_files(self, model: TrainedModel) -> list[dict[str, Any]]:
        project, name = self.context["view"].project.public_id, model.public_id
        return [{**file, "url": reverse("api-model-file", args=[project, name, file["path"]])} for file in model.files]


class ModelFilter(filters.FilterSet):
    kind = filters.ChoiceFilter(choices=ModelKind.choices)

    class Meta:
        model = TrainedModel
        fields = ("kind",)


class ModelView(ProjectView):
    queryset = TrainedModel.objects.select_related("run__version")
    project_path = "run__project"


@extend_schema_view(get=extend_schema(operation_id="models_list"))
class Models(ModelView):
    serializer_class = ModelSerializer
    filterset_class = ModelFilter
    needs: ClassVar = {"GET": Need("read", "view")}

    def get(self, request: Request, project: Any) -> Response:
        return self.listed()


@extend_schema_view(get=extend_schema(operation_id="models_retrieve"))
class ModelDetail(ModelView):
    serializer_class = ModelDetailSerializer
    needs: ClassVar = {"GET": Need("read", "view")}

    def get(self, request: Request, project: Any, model: UUID) -> Response:
        return self.shown(get_object_or_404(self.get_queryset(), public_id=model))


class ModelFile(ModelView):
    serializer_class = Empty
    needs: ClassVar = {"GET": Need("read", "view")}

    @extend_schema(operation_id="models_file", responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: Request, project: Any, model: UUID, path: str) -> HttpResponseBase:
        """A file of a model, whole or in part (Range)."""
        if len(path) > 500:
            raise Http404
        return send_model_file(request._request, get_object_or_404(self.get_queryset(), public_id=model), path)
