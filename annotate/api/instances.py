"""Instances. What was said of one: ``annotations/?instance=``."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

import django_filters
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from feedback.exceptions import InvalidInput
from feedback.models import Instance, Task
from feedback.services import curating, disagreeing, finding

from .fields import public_id
from .permissions import Need
from .views import ProjectView


class InstanceSerializer(serializers.ModelSerializer[Instance]):
    id = public_id()
    task = public_id("task.public_id")
    prompt = serializers.ListField(child=serializers.DictField(child=serializers.JSONField()), read_only=True)
    completions = serializers.ListField(child=serializers.DictField(child=serializers.JSONField()), read_only=True)
    meta = serializers.DictField(child=serializers.JSONField(), read_only=True)
    people = serializers.IntegerField(read_only=True, help_text="How many people annotated it.")
    judges = serializers.IntegerField(read_only=True, help_text="How many judges annotated it.")
    talk = serializers.IntegerField(read_only=True, help_text="How many open comments it has.")

    class Meta:
        model = Instance
        fields = (
            "id",
            "task",
            "external_id",
            "prompt",
            "completions",
            "meta",
            "source",
            "prompt_hash",
            "open_slots",
            "priority",
            "people",
            "judges",
            "talk",
            "removed_at",
            "created_at",
        )
        read_only_fields = fields


class InstanceFilter(django_filters.FilterSet):
    """The filters of the instances' page under the same names; ``meta.KEY`` looks into the imported metadata."""

    task = django_filters.UUIDFilter(help_text="The instances of one task.")
    q = django_filters.CharFilter(help_text="Words, a phrase in double quotes, or what an id begins with.")
    state = django_filters.ChoiceFilter(choices=list(finding.STATES.items()))
    by = django_filters.ChoiceFilter(choices=list(finding.ANNOTATED_BY.items()))
    disagreement = django_filters.ChoiceFilter(choices=list(disagreeing.KINDS.items()), help_text="Needs `task`.")
    external_id = django_filters.CharFilter(help_text="What the id begins with.")
    source = django_filters.CharFilter()
    model = django_filters.CharFilter(help_text="A model that wrote one of the completions.")
    language = django_filters.CharFilter()
    annotator = django_filters.UUIDFilter()
    comments = django_filters.ChoiceFilter(choices=list(finding.COMMENTED.items()))

    class Meta:
        model = Instance
        fields: ClassVar[list[str]] = []

    def filter_queryset(self, rows: QuerySet[Instance]) -> QuerySet[Instance]:
        """Raises ValidationError for an unknown filter or value."""
        asked = {name: str(value) for name, value in self.data.items()}
        task = self._task(asked.pop("task", ""))
        try:
            wanted = finding.parse(asked, also=("limit", "cursor"))
            return finding.find(rows.filter(task=task) if task else rows, wanted, task)
        except InvalidInput as error:
            raise serializers.ValidationError(error.errors) from error

    def _task(self, asked: str) -> Task | None:
        if not asked:
            return None
        project = self.request.parser_context["kwargs"]["project"]
        return get_object_or_404(Task, public_id=UUID(asked), project__public_id=project)


class Instances(ProjectView):
    """The instances of a project's tasks, newest first."""

    needs: ClassVar = {"GET": Need("read", "view")}
    queryset = finding.with_counts(Instance.objects.select_related("task"))
    project_path = "task__project"
    serializer_class = InstanceSerializer
    filterset_class = InstanceFilter
    query_prefix = "meta."

    @extend_schema(operation_id="instances_list")
    def get(self, request: Request, **kwargs: Any) -> Response:
        return self.listed()


class ChangeBody(serializers.Serializer[Any]):
    """``remove`` keeps all that was said; ``send-to-people`` opens one more slot for a person."""

    action = serializers.ChoiceField(choices=list(curating.ACTIONS))
    instances = serializers.ListField(child=serializers.UUIDField(), min_length=1, max_length=curating.MOST)


class ChangedSerializer(serializers.Serializer[Any]):
    changed = serializers.IntegerField(help_text="How many were changed; the others were so already.")


class InstancesChange(ProjectView):
    """Change several instances at once."""

    needs: ClassVar = {"POST": Need("write", "review")}
    queryset = Instance.objects.all()
    project_path = "task__project"
    serializer_class = ChangedSerializer

    @extend_schema(operation_id="instances_change", request=ChangeBody, responses=ChangedSerializer)
    def post(self, request: Request, **kwargs: Any) -> Response:
        body = self.checked(request, ChangeBody)
        changed = curating.change(self.project, body["instances"], body["action"], actor=self.user)
        return Response({"changed": changed})


class InstanceDetail(ProjectView):
    """One instance."""

    needs: ClassVar = {"GET": Need("read", "view")}
    queryset = finding.with_counts(Instance.objects.select_related("task"))
    project_path = "task__project"
    serializer_class = InstanceSerializer

    @extend_schema(operation_id="instances_retrieve")
    def get(self, request: Request, instance: UUID, **kwargs: Any) -> Response:
        return self.shown(get_object_or_404(self.get_queryset(), public_id=instance))
