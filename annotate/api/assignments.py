"""Labelling over REST: the protocol of the reading room for programs of the annotator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

import django_filters
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_field, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from feedback.content import MEDIA_KINDS
from feedback.exceptions import LeaseLost, WrongState
from feedback.models import Assignment, AssignmentState, MediaFile
from feedback.services import labelling, media, queue

from .bodies import DraftBody, ReasonBody, SubmissionBody
from .fields import public_id
from .permissions import Need
from .views import ProjectView, View


class QueueSerializer(serializers.Serializer[Any]):
    """A task open to you."""

    task = serializers.UUIDField(source="task.public_id")
    name = serializers.CharField(source="task.name")
    project = serializers.UUIDField(source="task.project.public_id")
    done = serializers.IntegerField()
    left = serializers.IntegerField()


class ShownCompletion(serializers.Serializer[Any]):
    index = serializers.IntegerField(help_text="The stored index that answers name.")
    content = serializers.JSONField(help_text="A text, or a list of parts.")


class AssignmentsSerializer(serializers.ListSerializer[Assignment]):
    """Reads the files that a page of assignments shows at once."""

    child: AssignmentSerializer

    def to_representation(self, data: Any) -> Any:
        rows = list(data)
        self.child.files = media.named_by(row.instance for row in rows)
        return super().to_representation(rows)


class AssignmentSerializer(serializers.ModelSerializer[Assignment]):
    """An instance lent to you. ``completions`` come in the order drawn for you, without the models' names. A part of a
    content that is no text has the id of its ``media`` file (null: it is not here any more), not its name."""

    id = public_id()
    task = public_id("task.public_id")
    instance = public_id("instance.public_id")  # type: ignore[assignment]
    prompt = serializers.SerializerMethodField()
    completions = serializers.SerializerMethodField()
    questions = serializers.ListField(child=serializers.DictField(), read_only=True)
    guideline = serializers.IntegerField(source="guideline.number", read_only=True, default=None, allow_null=True)
    draft = serializers.DictField(child=serializers.JSONField(), read_only=True)
    set_aside = serializers.DictField(child=serializers.JSONField(), read_only=True)
    files: Mapping[int, Mapping[str, MediaFile]]

    class Meta:
        model = Assignment
        list_serializer_class = AssignmentsSerializer
        fields = (
            "id",
            "task",
            "instance",
            "state",
            "prompt",
            "completions",
            "questions",
            "questions_version",
            "guideline",
            "draft",
            "draft_version",
            "set_aside",
            "lease_expires_at",
            "created_at",
        )
        read_only_fields = fields

    def to_representation(self, instance: Assignment) -> Any:
        if self.parent is None:
            self.files = media.named_by([instance.instance])
        return super().to_representation(instance)

    @extend_schema_field(serializers.ListField(child=serializers.DictField()))
    def get_prompt(self, row: Assignment) -> list[dict[str, Any]]:
        files = self.files[row.task_id]
        return [one | {"content": nameless(one["content"], files)} for one in row.instance.prompt]

    @extend_schema_field(ShownCompletion(many=True))
    def get_completions(self, row: Assignment) -> list[dict[str, Any]]:
        stored, files = row.instance.completions, self.files[row.task_id]
        return [{"index": index, "content": nameless(stored[index]["content"], files)} for index in row.order]


def nameless(content: Any, files: Mapping[str, MediaFile]) -> Any:
    """A content whose media go by their ids, since names may tell which model made them."""
    if not isinstance(content, list):
        return content
    return [
        {"type": part["type"], "media": _id_of(files.get(part["file"])), "alt": part.get("alt", "")}
        if part["type"] in MEDIA_KINDS
        else part
        for part in content
    ]


def _id_of(file: MediaFile | None) -> str | None:
    return str(file.public_id) if file else None


class NextBody(serializers.Serializer[Any]):
    task = serializers.UUIDField()


class DraftAnswer(serializers.Serializer[Any]):
    version = serializers.IntegerField()
    lease_expires = serializers.DateTimeField()


class SubmissionAnswer(serializers.Serializer[Any]):
    annotation = serializers.UUIDField()
    undo_seconds = serializers.IntegerField()


class AssignmentFilter(django_filters.FilterSet):
    task = django_filters.UUIDFilter(field_name="task__public_id")
    state = django_filters.ChoiceFilter(choices=AssignmentState.choices)


class Queue(View):
    """What is open to you, in all your projects."""

    needs: ClassVar = {"GET": Need("annotate")}
    serializer_class = QueueSerializer
    pagination_class = None
    filter_backends = ()

    @extend_schema(operation_id="queue_list", responses=QueueSerializer(many=True))
    def get(self, request: Request) -> Response:
        return Response(QueueSerializer(labelling.queue_of(self.user), many=True).data)


class OwnAssignments(ProjectView):
    """Only the annotator's own: anybody else's assignment is a 404."""

    serializer_class = AssignmentSerializer
    queryset = Assignment.objects.with_questions().select_related("task__project", "instance", "guideline", "annotator")
    project_path = "task__project"
    needs: ClassVar = {"POST": Need("annotate", "label")}

    def get_queryset(self) -> QuerySet[Any]:
        rows = super().get_queryset()
        return rows if getattr(self, "swagger_fake_view", False) else rows.filter(annotator__user=self.user)

    def row(self, assignment: UUID) -> Assignment:
        found: Assignment = get_object_or_404(self.get_queryset(), public_id=assignment)
        return found


@extend_schema_view(get=extend_schema(operation_id="assignments_list"))
class Assignments(OwnAssignments):
    filterset_class = AssignmentFilter
    needs: ClassVar = {"GET": Need("annotate", "label")}

    def get(self, request: Request, project: Any) -> Response:
        return self.listed()


class NextAssignment(OwnAssignments):
    @extend_schema(operation_id="assignments_next", request=NextBody, responses=AssignmentSerializer)
    def post(self, request: Request, project: Any) -> Response:
        """Lend the next instance of a task. Asked again before it is submitted, it is the same one."""
        wanted = self.checked(request, NextBody)["task"]
        task = get_object_or_404(self.project.tasks.select_related("project"), public_id=wanted)
        return self.shown(queue.next_assignment(task, self.user))


@extend_schema_view(get=extend_schema(operation_id="assignments_retrieve"))
class AssignmentDetail(OwnAssignments):
    needs: ClassVar = {"GET": Need("annotate", "label")}

    def get(self, request: Request, project: Any, assignment: UUID) -> Response:
        return self.shown(self.row(assignment))


class AssignmentDraft(OwnAssignments):
    needs: ClassVar = {"PUT": Need("annotate", "label")}

    @extend_schema(operation_id="assignments_draft", request=DraftBody, responses=DraftAnswer)
    def put(self, request: Request, project: Any, assignment: UUID) -> Response:
        """Keep the draft and renew the lease."""
        row = self.row(assignment)
        try:
            version = queue.save_draft(row, **self.checked(request, DraftBody))
        except WrongState as error:
            raise LeaseLost(error.message) from error
        return Response({"version": version, "lease_expires": row.lease_expires_at})


class AssignmentSubmit(OwnAssignments):
    @extend_schema(
        operation_id="assignments_submit",
        request=SubmissionBody,
        responses={201: SubmissionAnswer, 200: SubmissionAnswer},
    )
    def post(self, request: Request, project: Any, assignment: UUID) -> Response:
        """Submit answers: 201 when this call stored them, 200 when an earlier one with the same id did."""
        row = self.row(assignment)
        body = self.checked(request, SubmissionBody)
        labelling.check_version(row, body.pop("version", None), body["answers"])
        annotation, made = queue.submit(row, **body)
        answer = {"annotation": annotation.public_id, "undo_seconds": queue.UNDO_SECONDS}
        return Response(answer, status=201 if made else 200)


class AssignmentSkip(OwnAssignments):
    @extend_schema(operation_id="assignments_skip", request=ReasonBody, responses=AssignmentSerializer)
    def post(self, request: Request, project: Any, assignment: UUID) -> Response:
        """Hand the instance back."""
        queue.skip(self.row(assignment), **self.checked(request, ReasonBody))
        return self.shown(self.row(assignment))


class AssignmentFlag(OwnAssignments):
    @extend_schema(operation_id="assignments_flag", request=ReasonBody, responses=AssignmentSerializer)
    def post(self, request: Request, project: Any, assignment: UUID) -> Response:
        """Report the instance and hand it back."""
        queue.flag(self.row(assignment), **self.checked(request, ReasonBody))
        return self.shown(self.row(assignment))
