"""Projects: what a person belongs to."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db.models import F, QuerySet
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from feedback.models import AuditEvent, Project
from feedback.services import people

from .fields import TextField, public_id
from .idempotency import once
from .permissions import Need
from .views import ProjectView, View


class ProjectSerializer(serializers.ModelSerializer[Project]):
    id = public_id()
    name = TextField(max_length=120)
    description = TextField(max_length=4000, required=False, allow_blank=True)
    currency = serializers.RegexField(r"^[A-Z]{3}\Z", required=False)
    role = serializers.CharField(read_only=True, help_text="Your role in it.")

    class Meta:
        model = Project
        fields = ("id", "name", "description", "currency", "role", "created_at")
        read_only_fields = ("created_at",)


class ProjectChange(ProjectSerializer):
    """The currency stays: amounts are stored in it."""

    currency = serializers.CharField(read_only=True)  # type: ignore[assignment]


class Mine(View):
    """The projects of the person who asks, each with the person's role."""

    queryset = Project.objects.all()

    def get_queryset(self) -> QuerySet[Any]:
        if getattr(self, "swagger_fake_view", False):
            return Project.objects.none()
        return Project.objects.filter(memberships__user=self.user).annotate(role=F("memberships__role"))


@extend_schema_view(
    get=extend_schema(operation_id="projects_list"),
    post=extend_schema(operation_id="projects_create", responses={201: ProjectSerializer}),
)
class Projects(Mine):
    serializer_class = ProjectSerializer
    needs: ClassVar = {"GET": Need("read"), "POST": Need("write")}
    idempotent = True

    def get(self, request: Request) -> Response:
        return self.listed()

    @once
    def post(self, request: Request) -> Response:
        project = people.create_project(owner=self.user, **self.checked(request))
        return self.shown(self.get_queryset().get(pk=project.pk), 201)


@extend_schema_view(
    get=extend_schema(operation_id="projects_retrieve"), patch=extend_schema(operation_id="projects_update")
)
class ProjectDetail(ProjectView):
    serializer_class = ProjectChange
    queryset = Project.objects.all()
    needs: ClassVar = {"GET": Need("read", "view"), "PATCH": Need("write", "own")}

    def get(self, request: Request, project: Any) -> Response:
        return self._shown()

    def patch(self, request: Request, project: Any) -> Response:
        wanted = self.checked(request, partial=True)
        if wanted:
            Project.objects.filter(pk=self.project.pk).update(**wanted)
            changed = sorted(wanted)
            AuditEvent.write("project.edit", actor=self.user, project=self.project, fields=changed)
        return self._shown()

    def _shown(self) -> Response:
        mine = Project.objects.filter(memberships__user=self.user).annotate(role=F("memberships__role"))
        return self.shown(mine.get(pk=self.project.pk))
