"""Comments on instances. Somebody who only labels sees the threads of instances that were lent to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property
from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from feedback.models import Comment, Instance, User
from feedback.services import commenting

from .. import speaking
from .fields import Empty, TextField, public_id
from .permissions import Need
from .views import ProjectView


class CommentSerializer(serializers.ModelSerializer[Comment]):
    id = public_id()
    instance = public_id("instance.public_id")  # type: ignore[assignment]
    author = serializers.SerializerMethodField(help_text="Null where the thread names nobody to you, but yourself.")
    author_name = serializers.SerializerMethodField(help_text="Who reviews reads names, everybody else roles.")
    resolved_by = serializers.SerializerMethodField(help_text="As `author`.")
    resolved_by_name = serializers.SerializerMethodField(help_text="Empty while it is open.")

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
            "resolved_by_name",
        )
        read_only_fields = fields

    def get_author(self, row: Comment) -> UUID | None:
        return self._id(row.author)

    def get_author_name(self, row: Comment) -> str:
        return self._name(row, row.author)

    def get_resolved_by(self, row: Comment) -> UUID | None:
        return self._id(row.resolved_by) if row.resolved_by else None

    def get_resolved_by_name(self, row: Comment) -> str:
        return self._name(row, row.resolved_by) if row.resolved_by else ""

    def _id(self, user: User) -> UUID | None:
        view = self.context["view"]
        return user.public_id if user.pk == view.user.pk or view.sees_names else None

    def _name(self, row: Comment, user: User) -> str:
        return str(self.context["view"].naming(row.instance)(user))


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

    @cached_property
    def sees_names(self) -> bool:
        return speaking.sees_names(self.user, self.project)

    @cached_property
    def naming(self) -> Callable[[Instance], speaking.Naming]:
        """How the thread of an instance names people to the asker; worked out once for a page of it."""
        return cache(lambda instance: speaking.naming(instance, self.user, self.project))

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
