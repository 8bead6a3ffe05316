"""Definitions of tasks, and their questions over time."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from feedback.definitions import json_schema
from feedback.models import QuestionsVersion
from feedback.services import definitions
from feedback.services.questions import impact_of

from .idempotency import once
from .permissions import Need
from .tasks import RELATED, TaskSerializer, TaskView
from .views import ProjectView


class DefinitionSchema(APIView):
    """The JSON Schema of a task's definition. Public: it tells nothing of anybody's data."""

    authentication_classes = ()
    permission_classes = ()
    throttle_classes = ()

    @extend_schema(exclude=True)  # it describes a document, as the description of this API does
    def get(self, request: Request) -> Response:
        return Response(json_schema(), content_type="application/schema+json")


class TaskDefinition(TaskView):
    needs: ClassVar = {"GET": Need("read", "view")}

    @extend_schema(operation_id="tasks_definition", responses=OpenApiTypes.OBJECT)
    def get(self, request: Request, project: Any, task: UUID) -> Response:
        """What the task asks and how its queue works, as one JSON document; no instances, no answers, no money."""
        return Response(definitions.definition_of(self.row(task)))


class TaskImport(ProjectView):
    """A task out of its definition; see the schema at ``task-definition/``."""

    serializer_class = TaskSerializer
    queryset = RELATED
    needs: ClassVar = {"POST": Need("write", "manage")}
    idempotent = True

    @extend_schema(operation_id="tasks_import", request=OpenApiTypes.OBJECT, responses={201: TaskSerializer})
    @once
    def post(self, request: Request, project: Any) -> Response:
        made = definitions.create_from(self.project, definitions.checked(request.data), actor=self.user)
        return self.shown(self.get_queryset().get(pk=made.pk), 201)


class QuestionsVersionSerializer(serializers.ModelSerializer[QuestionsVersion]):
    """The questions of a task under one number; an annotation names the number it was made under."""

    questions = serializers.ListField(child=serializers.DictField(), read_only=True)

    class Meta:
        model = QuestionsVersion
        fields = ("number", "questions", "created_at")
        read_only_fields = fields


class QuestionVersions(TaskView):
    needs: ClassVar = {"GET": Need("read", "view")}
    serializer_class = QuestionsVersionSerializer  # type: ignore[assignment]

    @extend_schema(operation_id="questions_list", responses=QuestionsVersionSerializer(many=True))
    def get(self, request: Request, project: Any, task: UUID) -> Response:
        return self.listed(self.row(task).question_versions.all())


class QuestionsBody(serializers.Serializer[Any]):
    questions = serializers.ListField(child=serializers.DictField(child=serializers.JSONField()), max_length=30)


class QuestionImpactSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    kind = serializers.CharField()
    change = serializers.ChoiceField(choices=["same", "reworded", "changed", "new", "removed"])
    answers = serializers.IntegerField(help_text="Stored answers to it.")
    misfits = serializers.IntegerField(help_text="Answers that would no longer fit.")
    unanswered = serializers.IntegerField(help_text="Annotations without an answer that is required from then on.")


class ImpactSerializer(serializers.Serializer[Any]):
    """Counted in the newest ``annotations`` of ``total``."""

    questions = QuestionImpactSerializer(many=True)
    annotations = serializers.IntegerField()
    total = serializers.IntegerField()
    lent = serializers.IntegerField(help_text="Assignments under way.")


class QuestionsCheck(TaskView):
    needs: ClassVar = {"POST": Need("write", "manage")}

    @extend_schema(operation_id="questions_check", request=QuestionsBody, responses=ImpactSerializer)
    def post(self, request: Request, project: Any, task: UUID) -> Response:
        """What asking other questions would mean for the answers there are. Nothing is changed."""
        row = self.row(task)
        return Response(ImpactSerializer(impact_of(row, self.checked(request, QuestionsBody)["questions"])).data)
