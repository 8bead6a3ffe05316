"""What reviewers decide: adjudications of instances, and flags."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

import django_filters
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from feedback.models import (
    Adjudication,
    AdjudicationState,
    Annotation,
    Assignment,
    AssignmentState,
    FlagAction,
    Instance,
)
from feedback.services import adjudicating, flagging, queue

from .fields import Empty, TextField, public_id
from .idempotency import once
from .permissions import Need
from .views import ProjectView


class AdjudicationSerializer(serializers.ModelSerializer[Adjudication]):
    """``annotation`` holds the decided answers, ``took`` is what it repeats, ``saw`` lay before the reviewer."""

    id = public_id()
    instance = public_id("instance.public_id")  # type: ignore[assignment]
    annotation = public_id("annotation.public_id")
    answers = serializers.DictField(source="annotation.answers", child=serializers.JSONField(), read_only=True)
    took = serializers.UUIDField(source="took.public_id", read_only=True, default=None, allow_null=True)
    saw: Any = serializers.SlugRelatedField(slug_field="public_id", many=True, read_only=True)
    decided_by = public_id("decided_by.public_id")

    class Meta:
        model = Adjudication
        fields = (
            "id",
            "instance",
            "annotation",
            "answers",
            "took",
            "saw",
            "blind",
            "reason",
            "state",
            "decided_by",
            "decided_at",
            "undone_at",
        )
        read_only_fields = fields


class DecisionBody(serializers.Serializer[Any]):
    """Either ``took``, the annotation that is right, or ``answers`` of your own."""

    instance = serializers.UUIDField()
    took = serializers.UUIDField(required=False)
    answers = serializers.DictField(child=serializers.JSONField(), required=False)
    reason = TextField(max_length=4000)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if ("took" in attrs) == ("answers" in attrs):
            raise serializers.ValidationError({"took": "Give either took or answers."})
        return attrs


class AdjudicationFilter(django_filters.FilterSet):
    task = django_filters.UUIDFilter(field_name="instance__task__public_id")
    instance = django_filters.UUIDFilter(field_name="instance__public_id")
    state = django_filters.ChoiceFilter(choices=AdjudicationState.choices)


class AdjudicationView(ProjectView):
    serializer_class = AdjudicationSerializer
    queryset = Adjudication.objects.select_related(
        "instance__task__project", "annotation", "took", "decided_by"
    ).prefetch_related("saw")
    project_path = "instance__task__project"


@extend_schema_view(get=extend_schema(operation_id="adjudications_list"))
class Adjudications(AdjudicationView):
    filterset_class = AdjudicationFilter
    needs: ClassVar = {"GET": Need("read", "review"), "POST": Need("write", "review")}

    def get(self, request: Request, project: Any) -> Response:
        return self.listed()

    @extend_schema(operation_id="adjudications_create", request=DecisionBody, responses={201: AdjudicationSerializer})
    def post(self, request: Request, project: Any) -> Response:
        """Decide on an instance. The votes are kept as they are."""
        body = self.checked(request, DecisionBody)
        rows = Instance.objects.filter(task__project=self.project).select_related("task__project")
        row = get_object_or_404(rows, public_id=body["instance"])
        if "took" in body:
            votes = Annotation.objects.filter(instance=row).select_related("annotator")
            vote = get_object_or_404(votes, public_id=body["took"])
            made = adjudicating.take(row, vote, actor=self.user, reason=body["reason"], blind=False)
        else:
            made = adjudicating.answer(row, body["answers"], actor=self.user, reason=body["reason"], blind=False)
        return self.shown(made, status=201)


class AdjudicationUndo(AdjudicationView):
    needs: ClassVar = {"POST": Need("write", "review")}

    @extend_schema(operation_id="adjudications_undo", request=Empty)
    def post(self, request: Request, project: Any, adjudication: UUID) -> Response:
        """Take a decision back."""
        row = get_object_or_404(self.get_queryset(), public_id=adjudication)
        adjudicating.undo(row, actor=self.user)
        return self.shown(self.get_queryset().get(pk=row.pk))


class LoanSerializer(serializers.ModelSerializer[Assignment]):
    """Whom an instance was lent to, and what became of it. ``reason`` and ``comment`` say why it was handed back."""

    id = public_id()
    instance = public_id("instance.public_id")  # type: ignore[assignment]
    annotator = public_id("annotator.public_id")
    annotator_name = serializers.CharField(source="annotator.pseudonym", read_only=True)

    class Meta:
        model = Assignment
        fields = (
            "id",
            "instance",
            "annotator",
            "annotator_name",
            "state",
            "reason",
            "comment",
            "lease_expires_at",
            "created_at",
            "ended_at",
        )
        read_only_fields = fields


class LoanView(ProjectView):
    queryset = Assignment.objects.select_related("task__project", "instance", "annotator")
    project_path = "task__project"
    serializer_class = LoanSerializer


@extend_schema_view(get=extend_schema(operation_id="loans_list"))
class Loans(LoanView):
    """The assignments of one instance, newest first."""

    needs: ClassVar = {"GET": Need("read", "review")}

    def get(self, request: Request, project: Any, instance: UUID) -> Response:
        row = get_object_or_404(Instance.objects.filter(task__project=self.project), public_id=instance)
        return self.listed(self.get_queryset().filter(instance=row))


class RequeueBody(serializers.Serializer[Any]):
    reason = TextField(max_length=4000, help_text="Why somebody else is to do it; kept beside the assignment.")


class AssignmentRequeue(LoanView):
    needs: ClassVar = {"POST": Need("write", "review")}
    idempotent = True

    @extend_schema(operation_id="assignments_requeue", request=RequeueBody, responses=LoanSerializer)
    @once
    def post(self, request: Request, project: Any, assignment: UUID) -> Response:
        """Give the instance to somebody else: what this person was lent or answered is kept, and no longer counts.

        A 409 where there is nothing to take back: it was skipped, flagged, has expired or was requeued before.
        """
        row = get_object_or_404(self.get_queryset(), public_id=assignment)
        queue.requeue(row, reason=self.checked(request, RequeueBody)["reason"], actor=self.user)
        return self.shown(self.get_queryset().get(pk=row.pk))


class FlagBody(serializers.Serializer[Any]):
    action = serializers.ChoiceField(choices=FlagAction.choices)
    note = TextField(max_length=4000, required=False, allow_blank=True, default="")


class FlagDecisionSerializer(serializers.Serializer[Any]):
    assignment = public_id("assignment.public_id")
    action = serializers.ChoiceField(choices=FlagAction.choices, read_only=True)
    note = serializers.CharField(read_only=True)
    decided_at = serializers.DateTimeField(read_only=True)


class FlagDecide(ProjectView):
    """A flag is a flagged assignment of an instance: ``instances/<id>/assignments/``."""

    needs: ClassVar = {"POST": Need("write", "review")}
    queryset = Assignment.objects.filter(state=AssignmentState.FLAGGED).select_related("task__project", "instance")
    project_path = "task__project"
    serializer_class = FlagDecisionSerializer

    @extend_schema(operation_id="flags_decide", request=FlagBody, responses={201: FlagDecisionSerializer})
    def post(self, request: Request, project: Any, assignment: UUID) -> Response:
        """Settle a flag."""
        row = get_object_or_404(self.get_queryset(), public_id=assignment)
        return self.shown(flagging.decide(row, **self.checked(request, FlagBody), actor=self.user), status=201)
