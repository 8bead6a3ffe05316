"""Annotations: what people and judges said."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

import django_filters
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from feedback.models import Annotation, AnnotationState, Assignment, AssignmentState, Source
from feedback.services import queue

from .assignments import AssignmentSerializer
from .fields import public_id
from .permissions import Need
from .views import ProjectView


class AnnotationSerializer(serializers.ModelSerializer[Annotation]):
    """``answers`` name completions by stored index (``a`` is 0); ``order`` is how they were shown."""

    id = public_id()
    task = public_id("task.public_id")
    instance = public_id("instance.public_id")  # type: ignore[assignment]
    external_id = serializers.CharField(source="instance.external_id", read_only=True)
    annotator = public_id("annotator.public_id")
    annotator_name = serializers.CharField(source="annotator.pseudonym", read_only=True)
    guideline = serializers.IntegerField(source="guideline.number", read_only=True, default=None, allow_null=True)
    assignment = serializers.UUIDField(source="assignment.public_id", read_only=True, default=None, allow_null=True)
    answers = serializers.DictField(child=serializers.JSONField(), read_only=True)
    details = serializers.DictField(child=serializers.JSONField(), read_only=True)
    order = serializers.ListField(child=serializers.IntegerField(), read_only=True)

    class Meta:
        model = Annotation
        fields = (
            "id",
            "task",
            "instance",
            "external_id",
            "annotator",
            "annotator_name",
            "assignment",
            "source",
            "answers",
            "details",
            "questions_version",
            "guideline",
            "order",
            "active_ms",
            "price_micros",
            "recorded",
            "state",
            "submitted_at",
            "updated_at",
        )
        read_only_fields = fields


class OwnAnnotationSerializer(AnnotationSerializer):
    """An annotation for who made it: what the instance is called where it came from may tell the model."""

    external_id = None  # type: ignore[assignment]
    details = None  # type: ignore[assignment]

    class Meta(AnnotationSerializer.Meta):
        fields = tuple(  # type: ignore[assignment]
            name for name in AnnotationSerializer.Meta.fields if name not in ("external_id", "details")
        )
        read_only_fields = fields  # type: ignore[assignment]


class AnswersBody(serializers.Serializer[Any]):
    answers = serializers.DictField(child=serializers.JSONField())


class AnnotationFilter(django_filters.FilterSet):
    task = django_filters.UUIDFilter(field_name="task__public_id")
    instance = django_filters.UUIDFilter(field_name="instance__public_id")
    annotator = django_filters.UUIDFilter(field_name="annotator__public_id")
    source = django_filters.ChoiceFilter(choices=Source.choices)
    state = django_filters.ChoiceFilter(choices=AnnotationState.choices)
    recorded = django_filters.BooleanFilter()
    submitted_after = django_filters.IsoDateTimeFilter(field_name="submitted_at", lookup_expr="gte")
    submitted_before = django_filters.IsoDateTimeFilter(field_name="submitted_at", lookup_expr="lt")


class AnnotationView(ProjectView):
    serializer_class = AnnotationSerializer
    queryset = Annotation.objects.select_related("task", "instance", "annotator", "guideline", "assignment")
    project_path = "task__project"


@extend_schema_view(get=extend_schema(operation_id="annotations_list"))
class Annotations(AnnotationView):
    filterset_class = AnnotationFilter
    needs: ClassVar = {"GET": Need("read", "view")}

    def get(self, request: Request, project: Any) -> Response:
        return self.listed()


@extend_schema_view(get=extend_schema(operation_id="annotations_retrieve"))
class AnnotationDetail(AnnotationView):
    needs: ClassVar = {"GET": Need("read", "view"), "PUT": Need("annotate", "label")}

    def get(self, request: Request, project: Any, annotation: UUID) -> Response:
        return self.shown(get_object_or_404(self.get_queryset(), public_id=annotation))

    @extend_schema(operation_id="annotations_edit", request=AnswersBody, responses=OwnAnnotationSerializer)
    def put(self, request: Request, project: Any, annotation: UUID) -> Response:
        """Change one of your own last ten answers; what it said before is kept."""
        mine = self.get_queryset().filter(annotator__user=self.user, recorded=False)
        row = get_object_or_404(mine, public_id=annotation)
        queue.edit(row, self.checked(request, AnswersBody)["answers"], user=self.user)
        changed = self.get_queryset().get(pk=row.pk)
        # the page for changing it begins from the draft
        Assignment.objects.filter(pk=row.assignment_id, state=AssignmentState.SUBMITTED).update(draft=changed.answers)
        return Response(OwnAnnotationSerializer(changed).data)


class AnnotationUndo(AnnotationView):
    needs: ClassVar = {"POST": Need("annotate", "label")}

    @extend_schema(operation_id="annotations_undo", request=None, responses=AssignmentSerializer)
    def post(self, request: Request, project: Any, annotation: UUID) -> Response:
        """Take your own annotation back within 30 seconds; its instance is lent to you again."""
        mine = self.get_queryset().filter(annotator__user=self.user, recorded=False)
        again = queue.undo(get_object_or_404(mine, public_id=annotation), self.user)
        return Response(AssignmentSerializer(again).data)
