"""Comments on instances. Somebody who only labels sees the threads of instances that were lent to them."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from feedback.models import Comment
from feedback.services import commenting

from .fields import Empty, TextField, public_id
from .permissions import Need
from .views import ProjectView


class CommentSerializer(serializers.ModelSerializer[Comment]):
    id = public_id()
    instance = public_id("instance.public_id")  # type: ignore[assignment]
    author = public_id("author.public_id")
    author_name = serializers.CharField(source="author", read_only=True)
    resolved_by = serializers.UUIDField(source="resolved_by.public_id", read_only=True, default=None, allow_null=True)

    class Meta:
        model = Comment
        fields = (
            "id",
            "instance",
            "author",
            "author_name",
            "text",
            "created_at",
            "edited_at",
            "resolved_at",
            "resolved_by",
        )
        read_only_fields = fields


class CommentBody(serializers.Serializer[Any]):
    text = TextField(max_length=commenting.LONGEST)


class CommentView(ProjectView):
    serializer_class = CommentSerializer
    queryset = Comment.objects.standing().select_related("instance__task__project", "author", "resolved_by")
    project_path = "instance__task__project"

    def get_queryset(self) -> QuerySet[Comment]:
        rows = super().get_queryset()
        if getattr(self, "swagger_fake_view", False):
            return rows
        return rows.filter(instance__in=commenting.readable(self.project, self.user))

    def row(self, comment: UUID) -> Comment:
        found: Comment = get_object_or_404(self.get_queryset(), public_id=comment)
        return found


@extend_schema_view(get=extend_schema(operation_id="comments_list"))
class Comments(CommentView):
    """The thread of one instance, newest first."""

    needs: ClassVar = {"GET": Need("read", "discuss"), "POST": Need("write", "discuss")}

    def get(self, request: Request, project: Any, instance: UUID) -> Response:
        row = get_object_or_404(commenting.readable(self.project, self.user), public_id=instance)
        return self.listed(self.get_queryset().filter(instance=row))

    @extend_schema(operation_id="comments_create", request=CommentBody, responses={201: CommentSerializer})
    def post(self, request: Request, project: Any, instance: UUID) -> Response:
        row = get_object_or_404(commenting.readable(self.project, self.user), public_id=instance)
        made = commenting.add(row, self.checked(request, CommentBody)["text"], author=self.user)
        return self.shown(made, status=201)


class CommentDetail(CommentView):
    needs: ClassVar = {"PATCH": Need("write", "discuss"), "DELETE": Need("write", "discuss")}

    @extend_schema(operation_id="comments_update", request=CommentBody)
    def patch(self, request: Request, project: Any, comment: UUID) -> Response:
        """Change your own words."""
        row = self.row(comment)
        return self.shown(commenting.edit(row, self.checked(request, CommentBody)["text"], actor=self.user))

    @extend_schema(operation_id="comments_delete", responses={204: None})
    def delete(self, request: Request, project: Any, comment: UUID) -> Response:
        """Delete your own comment, or as a manager anybody's."""
        commenting.delete(self.row(comment), actor=self.user)
        return Response(status=204)


class CommentResolve(CommentView):
    needs: ClassVar = {"POST": Need("write", "discuss")}

    @extend_schema(operation_id="comments_resolve", request=Empty)
    def post(self, request: Request, project: Any, comment: UUID) -> Response:
        row = self.row(comment)
        commenting.resolve(row, actor=self.user)
        return self.shown(row)


class CommentReopen(CommentView):
    needs: ClassVar = {"POST": Need("write", "discuss")}

    @extend_schema(operation_id="comments_reopen", request=Empty)
    def post(self, request: Request, project: Any, comment: UUID) -> Response:
        row = self.row(comment)
        commenting.reopen(row)
        return self.shown(row)
