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

from feedback.models import Instance
from feedback.services import finding
from feedback.text import fault_of

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
            "people",
            "judges",
            "removed_at",
            "created_at",
        )
        read_only_fields = fields


class InstanceFilter(django_filters.FilterSet):
    task = django_filters.UUIDFilter(field_name="task__public_id")
    external_id = django_filters.CharFilter()
    source = django_filters.CharFilter()
    state = django_filters.ChoiceFilter(choices=list(finding.STATES.items()), method="in_state")
    annotated_by = django_filters.ChoiceFilter(choices=list(finding.ANNOTATED_BY.items()), method="said_by")
    text = django_filters.CharFilter(method="with_text", max_length=200)

    def in_state(self, rows: QuerySet[Instance], name: str, value: str) -> QuerySet[Instance]:
        return finding.find(rows, state=value)

    def said_by(self, rows: QuerySet[Instance], name: str, value: str) -> QuerySet[Instance]:
        return finding.find(rows, by=value)

    def with_text(self, rows: QuerySet[Instance], name: str, value: str) -> QuerySet[Instance]:
        return rows.none() if fault_of(value) else finding.find(rows, text=value)


class Instances(ProjectView):
    """The instances of a project's tasks, newest first."""

    needs: ClassVar = {"GET": Need("read", "view")}
    queryset = finding.with_counts(Instance.objects.select_related("task"))
    project_path = "task__project"
    serializer_class = InstanceSerializer
    filterset_class = InstanceFilter

    @extend_schema(operation_id="instances_list")
    def get(self, request: Request, **kwargs: Any) -> Response:
        return self.listed()


class InstanceDetail(ProjectView):
    """One instance."""

    needs: ClassVar = {"GET": Need("read", "view")}
    queryset = finding.with_counts(Instance.objects.select_related("task"))
    project_path = "task__project"
    serializer_class = InstanceSerializer

    @extend_schema(operation_id="instances_retrieve")
    def get(self, request: Request, instance: UUID, **kwargs: Any) -> Response:
        return self.shown(get_object_or_404(self.get_queryset(), public_id=instance))
