"""Tasks: what annotators are asked, its guideline and its budget."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

import django_filters
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from feedback.models import Budget, GuidelineVersion, Task, TaskState
from feedback.services import budget, tasks

from .fields import TextField, language_list, micros, public_id, skill_list
from .idempotency import once
from .permissions import Need
from .views import ProjectView

RELATED = Task.objects.select_related("project", "guideline", "budget")


class GuidelineSerializer(serializers.ModelSerializer[GuidelineVersion]):
    text = TextField(max_length=100_000, allow_blank=True, trim_whitespace=False)

    class Meta:
        model = GuidelineVersion
        fields = ("number", "text", "created_at")
        read_only_fields = ("number", "created_at")


class BudgetSerializer(serializers.ModelSerializer[Budget]):
    """Millionths of the project's currency; people and judge are paid from the same cap."""

    cap_micros = micros()
    left_micros = serializers.IntegerField(read_only=True)

    class Meta:
        model = Budget
        fields = ("cap_micros", "spent_micros", "reserved_micros", "left_micros")
        read_only_fields = ("spent_micros", "reserved_micros")


class TaskSerializer(serializers.ModelSerializer[Task]):
    """``questions`` is a list of typed questions: kind, name, title and what the kind needs.

    Who labels must read all of ``languages`` (BCP 47 tags) and have all of ``skills``.
    """

    id = public_id()
    name = TextField(max_length=120)
    description = TextField(max_length=4000, required=False, allow_blank=True)
    questions = serializers.ListField(child=serializers.DictField(child=serializers.JSONField()), max_length=30)
    overlap = serializers.IntegerField(min_value=1, max_value=100, required=False)
    lease_minutes = serializers.IntegerField(min_value=1, max_value=1440, required=False)
    languages = language_list()
    skills = skill_list()
    human_price_micros = micros(required=False)
    guideline = GuidelineSerializer(read_only=True, allow_null=True)
    budget = BudgetSerializer(read_only=True)

    class Meta:
        model = Task
        fields = (
            "id",
            "name",
            "description",
            "state",
            "questions",
            "questions_version",
            "overlap",
            "plan_only",
            "languages",
            "skills",
            "lease_minutes",
            "human_price_micros",
            "guideline",
            "budget",
            "created_at",
        )
        read_only_fields = ("state", "questions_version", "created_at")


class TaskCreation(TaskSerializer):
    guideline = TextField(max_length=100_000, required=False, allow_blank=True, trim_whitespace=False)  # type: ignore[assignment]
    budget_micros = micros(required=False)

    class Meta(TaskSerializer.Meta):
        fields = (*(name for name in TaskSerializer.Meta.fields if name != "budget"), "budget_micros")  # type: ignore[assignment]


class TaskChange(TaskSerializer):
    """``accept_misfits``: change the questions although stored answers no longer fit them."""

    accept_misfits = serializers.BooleanField(required=False, default=False, write_only=True)

    class Meta(TaskSerializer.Meta):
        fields = (*TaskSerializer.Meta.fields, "accept_misfits")  # type: ignore[assignment]


class TaskFilter(django_filters.FilterSet):
    state = django_filters.ChoiceFilter(choices=TaskState.choices)


@extend_schema_view(get=extend_schema(operation_id="tasks_list"))
class Tasks(ProjectView):
    serializer_class = TaskSerializer
    filterset_class = TaskFilter
    queryset = RELATED
    needs: ClassVar = {"GET": Need("read", "view"), "POST": Need("write", "manage")}
    idempotent = True

    def get(self, request: Request, project: Any) -> Response:
        return self.listed()

    @extend_schema(operation_id="tasks_create", request=TaskCreation, responses={201: TaskSerializer})
    @once
    def post(self, request: Request, project: Any) -> Response:
        body = self.checked(request, TaskCreation)
        made = tasks.create_task(self.project, body.pop("name"), body.pop("questions"), actor=self.user, **body)
        return self.shown(self.get_queryset().get(pk=made.pk), 201)


class TaskView(ProjectView):
    """A view of one task of the project."""

    serializer_class = TaskSerializer
    queryset = RELATED
    lookup_url_kwarg = "task"

    def row(self, task: UUID) -> Task:
        found: Task = get_object_or_404(self.get_queryset(), public_id=task)
        return found


@extend_schema_view(get=extend_schema(operation_id="tasks_retrieve"), patch=extend_schema(operation_id="tasks_update"))
class TaskDetail(TaskView):
    needs: ClassVar = {"GET": Need("read", "view"), "PATCH": Need("write", "manage")}

    def get(self, request: Request, project: Any, task: UUID) -> Response:
        return self.shown(self.row(task))

    @extend_schema(request=TaskChange, responses=TaskSerializer)
    def patch(self, request: Request, project: Any, task: UUID) -> Response:
        """Change a task. Questions that stored answers no longer fit are a 409 unless ``accept_misfits`` says so."""
        row = self.row(task)
        wanted = self.checked(request, TaskChange, partial=True)
        if wanted:
            tasks.edit_task(row, actor=self.user, **wanted)
        return self.shown(self.row(task))


class TaskOpen(TaskView):
    needs: ClassVar = {"POST": Need("write", "manage")}

    @extend_schema(operation_id="tasks_open", request=None, responses=TaskSerializer)
    def post(self, request: Request, project: Any, task: UUID) -> Response:
        """Let people label."""
        tasks.open_task(self.row(task), actor=self.user)
        return self.shown(self.row(task))


class TaskClose(TaskView):
    needs: ClassVar = {"POST": Need("write", "manage")}

    @extend_schema(operation_id="tasks_close", request=None, responses=TaskSerializer)
    def post(self, request: Request, project: Any, task: UUID) -> Response:
        """Lend no more instances; what is lent can still be submitted."""
        tasks.close_task(self.row(task), actor=self.user)
        return self.shown(self.row(task))


class Guidelines(TaskView):
    needs: ClassVar = {"GET": Need("read", "view"), "POST": Need("write", "manage")}
    serializer_class = GuidelineSerializer  # type: ignore[assignment]

    @extend_schema(operation_id="guidelines_list", responses=GuidelineSerializer(many=True))
    def get(self, request: Request, project: Any, task: UUID) -> Response:
        return self.listed(self.row(task).guidelines.all())

    @extend_schema(operation_id="guidelines_create", responses={201: GuidelineSerializer})
    def post(self, request: Request, project: Any, task: UUID) -> Response:
        """A new guideline version; what is lent from now on carries it."""
        row = self.row(task)
        return self.shown(tasks.set_guideline(row, self.checked(request)["text"], actor=self.user), 201)


class TaskBudget(TaskView):
    needs: ClassVar = {"GET": Need("read", "view"), "PUT": Need("write", "manage")}
    serializer_class = BudgetSerializer  # type: ignore[assignment]

    @extend_schema(operation_id="budgets_retrieve")
    def get(self, request: Request, project: Any, task: UUID) -> Response:
        return self.shown(budget.budget_of(self.row(task)))

    @extend_schema(operation_id="budgets_update")
    def put(self, request: Request, project: Any, task: UUID) -> Response:
        """Set the cap. It cannot be below what is spent and reserved."""
        row = self.row(task)
        return self.shown(budget.set_cap(row, self.checked(request)["cap_micros"], actor=self.user))
