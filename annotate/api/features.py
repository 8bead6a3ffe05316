"""A task's features: what plans know of its instances, and which of the team's own columns count."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from feedback.models import Task
from routing.judge.tagging import DIMENSIONS
from routing.models import Judge, TaskFeatures
from routing.services import tagging, task_features

from .fields import TextField, public_id
from .idempotency import once
from .jobs import JobSerializer
from .permissions import Need
from .views import ProjectView


class ColumnSerializer(serializers.Serializer[Any]):
    """A column of the table and how many instances carry it."""

    name = serializers.CharField(read_only=True)
    count = serializers.IntegerField(read_only=True)


class TagSerializer(serializers.Serializer[Any]):
    """An option's column (``tagged:dimension=option``). ``use``: ``tagged`` or ``learned``, or not used: ``rare``,
    ``few`` are tagged, ``poor`` cannot be told better than the ``base`` rate."""

    name = serializers.CharField(read_only=True)
    use = serializers.CharField(read_only=True)
    count = serializers.IntegerField(read_only=True)
    accuracy = serializers.FloatField(read_only=True, allow_null=True)
    base = serializers.FloatField(read_only=True, allow_null=True)


class FeaturesSerializer(serializers.ModelSerializer[TaskFeatures]):
    """``columns`` are the team's own (``tag:…``, ``meta:field=value``), ``tags`` a language model's, as last described;
    ``why`` texts are embedded as they are; ``left_out`` names what does not count in new plans: ``tag:…``,
    ``meta:field``, ``tagged:dimension``."""

    task = public_id("task.public_id")
    columns = ColumnSerializer(many=True, read_only=True)
    tags = TagSerializer(many=True, read_only=True)
    left_out = serializers.ListField(
        child=TextField(max_length=task_features.MOST_SOURCE), max_length=task_features.MOST_LEFT_OUT
    )
    job = serializers.UUIDField(source="job.public_id", read_only=True, allow_null=True, default=None)

    class Meta:
        model = TaskFeatures
        fields = ("task", "recipe", "why", "size", "described_at", "columns", "tags", "left_out", "job")
        read_only_fields = ("recipe", "why", "size", "described_at")


class TaggingBody(serializers.Serializer[Any]):
    """Whose model (a judge's id) tags which dimensions, of ``count`` instances at random or of all without tags."""

    judge = serializers.UUIDField()
    dimensions = serializers.ListField(
        child=serializers.ChoiceField(choices=list(DIMENSIONS)), min_length=1, max_length=len(DIMENSIONS)
    )
    count = serializers.IntegerField(min_value=1, max_value=tagging.MOST_TAGGED, required=False, allow_null=True)
    seed = serializers.IntegerField(min_value=0, max_value=2**31 - 1, default=0)


class EstimateSerializer(serializers.Serializer[Any]):
    """How many instances would be asked about, and the most that it can cost, in millionths."""

    instances = serializers.IntegerField()
    most_micros = serializers.IntegerField()


class DimensionSerializer(serializers.Serializer[Any]):
    """A dimension and how far it is tagged: instances with a tag, and those whose reply named no options."""

    name = serializers.CharField(source="dimension.name")
    options = serializers.ListField(source="dimension.options", child=serializers.CharField())
    multiple = serializers.BooleanField(source="dimension.multiple")
    judge = serializers.UUIDField(source="judge.public_id", allow_null=True, default=None)
    tagged = serializers.IntegerField()
    unread = serializers.IntegerField()


class TaggingSerializer(serializers.Serializer[Any]):
    dimensions = DimensionSerializer(many=True)


class FeaturesView(ProjectView):
    serializer_class: Any = FeaturesSerializer
    queryset = Task.objects.all()

    def task_of(self, public_id: UUID) -> Task:
        found: Task = get_object_or_404(self.get_queryset(), public_id=public_id)
        return found

    def asked(self, request: Request, task: UUID) -> tuple[Task, Judge, dict[str, Any]]:
        row = self.task_of(task)
        body = self.checked(request, TaggingBody)
        return row, get_object_or_404(Judge, project=self.project, public_id=body["judge"]), body


class Features(FeaturesView):
    needs: ClassVar = {
        "GET": Need("read", "view"),
        "PATCH": Need("write", "manage"),
        "POST": Need("write", "manage"),
    }

    @extend_schema(operation_id="features_retrieve", responses=FeaturesSerializer)
    def get(self, request: Request, project: Any, task: UUID) -> Response:
        return self.shown(task_features.features_of(self.task_of(task)))

    @extend_schema(operation_id="features_update", request=FeaturesSerializer, responses=FeaturesSerializer)
    def patch(self, request: Request, project: Any, task: UUID) -> Response:
        """Say which tags and metadata fields do not count."""
        row = self.task_of(task)
        body = self.checked(request, FeaturesSerializer)
        task_features.leave_out(row, body["left_out"], actor=self.user)
        return self.shown(task_features.features_of(row))

    @extend_schema(operation_id="features_describe", request=None, responses={202: JobSerializer})
    def post(self, request: Request, project: Any, task: UUID) -> Response:
        """Describe the instances that are not described yet, as a job; plans do so too."""
        job = task_features.start_describing(self.task_of(task), actor=self.user)
        return Response(JobSerializer(job).data, status=202)


class Tagging(FeaturesView):
    serializer_class: Any = TaggingSerializer
    needs: ClassVar = {"GET": Need("read", "view"), "POST": Need("write", "manage")}
    idempotent = True

    @extend_schema(operation_id="tagging_retrieve", responses=TaggingSerializer)
    def get(self, request: Request, project: Any, task: UUID) -> Response:
        """How far each dimension is tagged."""
        return Response(TaggingSerializer({"dimensions": tagging.states_of(self.task_of(task))}).data)

    @extend_schema(operation_id="tagging_create", request=TaggingBody, responses={202: JobSerializer})
    @once
    def post(self, request: Request, project: Any, task: UUID) -> Response:
        """Tag, as a job; its money comes from the task's budget, call by call. Again goes on where it stopped."""
        row, judge, body = self.asked(request, task)
        job = tagging.start_tagging(
            row, judge, body["dimensions"], body.get("count"), actor=self.user, seed=body["seed"]
        )
        return Response(JobSerializer(job).data, status=202)


class TaggingEstimate(FeaturesView):
    serializer_class: Any = EstimateSerializer
    needs: ClassVar = {"POST": Need("read", "manage")}

    @extend_schema(operation_id="tagging_estimate", request=TaggingBody, responses=EstimateSerializer)
    def post(self, request: Request, project: Any, task: UUID) -> Response:
        """What tagging would cost at most; nothing is asked."""
        row, judge, body = self.asked(request, task)
        return Response(EstimateSerializer(tagging.estimate(row, judge, body["dimensions"], body.get("count"))).data)
