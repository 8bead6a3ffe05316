"""Trained models at work: policies write completions, reward models score them, and win rates."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar
from uuid import UUID

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from feedback.models import Task
from training import generations, scorings, winrates
from training.models import Generation, Scoring, TrainedModel

from .fields import Empty, TextField, public_id
from .idempotency import job_key_of
from .permissions import Need
from .views import ProjectView


class GenerationSerializer(serializers.ModelSerializer[Generation]):
    """``report`` is empty until the job has succeeded; ``task`` is where the instances go."""

    id = public_id()
    model = public_id("model.public_id")
    reward_model = serializers.UUIDField(source="reward_model.public_id", read_only=True, allow_null=True, default=None)
    prompts = public_id("prompts.public_id")
    task = public_id("task.public_id")
    job = public_id("job.public_id")
    state = serializers.CharField(source="job.state", read_only=True)
    error = serializers.CharField(source="job.error", read_only=True)
    settings = serializers.DictField(source="wishes", child=serializers.JSONField(), read_only=True)
    report = serializers.DictField(child=serializers.JSONField(), read_only=True)

    class Meta:
        model = Generation
        fields = (
            *("id", "model", "opponent", "reward_model", "prompts", "task", "settings", "job", "state", "error"),
            *("report", "created_at"),
        )
        read_only_fields = fields


class NewGeneration(serializers.Serializer[Any]):
    """``prompts`` names the task whose prompts are answered; ``task`` or ``task_name`` where the instances go;
    ``opponent`` is the ``id`` of a base model; ``settings`` such as ``{"prompts": 100, "best_of": 4}``."""

    model = serializers.UUIDField()
    prompts = serializers.UUIDField()
    task = serializers.UUIDField(required=False)
    task_name = TextField(max_length=120, required=False)
    opponent = TextField(max_length=200, required=False)
    reward_model = serializers.UUIDField(required=False, allow_null=True)
    settings = serializers.DictField(child=serializers.JSONField(), required=False, default=dict)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("task" in attrs) == ("task_name" in attrs):
            raise serializers.ValidationError({"task": "Send either task or task_name."})
        return attrs


class ScoringSerializer(serializers.ModelSerializer[Scoring]):
    """``judge`` is the annotator whose annotations the scores become; a plan can route with it."""

    id = public_id()
    model = public_id("model.public_id")
    task = public_id("task.public_id")
    judge = public_id("annotator.public_id")
    job = public_id("job.public_id")
    state = serializers.CharField(source="job.state", read_only=True)
    error = serializers.CharField(source="job.error", read_only=True)
    report = serializers.DictField(child=serializers.JSONField(), read_only=True)

    class Meta:
        model = Scoring
        fields = ("id", "model", "task", "judge", "job", "state", "error", "report", "created_at")
        read_only_fields = fields


class NewScoring(serializers.Serializer[Any]):
    model = serializers.UUIDField()
    task = serializers.UUIDField()


class UseView(ProjectView):
    project_path = "model__run__project"

    def model_named(self, public_id: UUID | None) -> TrainedModel | None:
        if public_id is None:
            return None
        rows = TrainedModel.objects.select_related("run__project")
        return get_object_or_404(rows, run__project=self.project, public_id=public_id)

    def task_named(self, public_id: UUID) -> Task:
        return get_object_or_404(Task.objects.select_related("project"), project=self.project, public_id=public_id)


@extend_schema_view(get=extend_schema(operation_id="generations_list"))
class Generations(UseView):
    queryset = Generation.objects.select_related("model", "reward_model", "prompts", "task", "job")
    serializer_class = GenerationSerializer
    needs: ClassVar = {"GET": Need("read", "view"), "POST": Need("train", "manage")}
    idempotent = True

    def get(self, request: Request, project: Any) -> Response:
        return self.listed()

    @extend_schema(operation_id="generations_create", request=NewGeneration, responses={202: GenerationSerializer})
    def post(self, request: Request, project: Any) -> Response:
        """Have a policy answer prompts of a task; what it writes becomes instances, as a job."""
        body = self.checked(request, NewGeneration)
        model = self.model_named(body["model"])
        assert model is not None
        made = generations.start_generation(
            model,
            self.task_named(body["prompts"]),
            self.user,
            task=self.task_named(body["task"]) if "task" in body else None,
            task_name=body.get("task_name", ""),
            opponent=body.get("opponent", ""),
            reward_model=self.model_named(body.get("reward_model")),
            wishes=body["settings"],
            idempotency_key=job_key_of(request, self.user),
        )
        return self.shown(self.get_queryset().get(pk=made.pk), 202)


@extend_schema_view(get=extend_schema(operation_id="generations_retrieve"))
class GenerationDetail(UseView):
    queryset = Generations.queryset
    serializer_class = GenerationSerializer
    needs: ClassVar = {"GET": Need("read", "view")}

    def get(self, request: Request, project: Any, generation: UUID) -> Response:
        return self.shown(get_object_or_404(self.get_queryset(), public_id=generation))


@extend_schema_view(get=extend_schema(operation_id="scorings_list"))
class Scorings(UseView):
    queryset = Scoring.objects.select_related("model", "task", "annotator", "job")
    serializer_class = ScoringSerializer
    needs: ClassVar = {"GET": Need("read", "view"), "POST": Need("train", "manage")}
    idempotent = True

    def get(self, request: Request, project: Any) -> Response:
        return self.listed()

    @extend_schema(operation_id="scorings_create", request=NewScoring, responses={202: ScoringSerializer})
    def post(self, request: Request, project: Any) -> Response:
        """Have a reward model score the completions of a task, as a job; it becomes a judge of the task."""
        body = self.checked(request, NewScoring)
        model = self.model_named(body["model"])
        assert model is not None
        made = scorings.start_scoring(
            model, self.task_named(body["task"]), self.user, idempotency_key=job_key_of(request, self.user)
        )
        return self.shown(self.get_queryset().get(pk=made.pk), 202)


@extend_schema_view(get=extend_schema(operation_id="scorings_retrieve"))
class ScoringDetail(UseView):
    queryset = Scorings.queryset
    serializer_class = ScoringSerializer
    needs: ClassVar = {"GET": Need("read", "view")}

    def get(self, request: Request, project: Any, scoring: UUID) -> Response:
        return self.shown(get_object_or_404(self.get_queryset(), public_id=scoring))


class WinRates(UseView):
    queryset = Task.objects.none()
    serializer_class: Any = Empty
    project_path = "project"
    needs: ClassVar = {"GET": Need("read", "view")}

    @extend_schema(operation_id="tasks_win_rates", responses={200: {"type": "object", "additionalProperties": True}})
    def get(self, request: Request, project: Any, task: UUID) -> Response:
        """Win rates of the models whose completions the task compares, by people and by each judge; and where reward
        models and preferences part."""
        return Response(asdict(winrates.compared(self.task_named(task))))
