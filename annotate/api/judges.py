"""Judges: configure, put to work, and read what they said call by call."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

import django_filters
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from feedback.models import Task
from routing.models import CallState, Judge, JudgeCall
from routing.services import judges, judging

from .fields import TextField, public_id
from .idempotency import once
from .jobs import JobSerializer
from .permissions import Need
from .views import ProjectView


class JudgeSerializer(serializers.ModelSerializer[Judge]):
    """``config`` is how it is asked: backend, model, base_url, rubric, prices and so on; defaults where left out.

    The key is never part of it: ``api_key_env`` names the environment variable that holds it.
    """

    id = public_id()
    annotator = public_id("annotator.public_id")
    name = TextField(max_length=120)
    config = serializers.DictField(child=serializers.JSONField(allow_null=True))
    api_key_env = serializers.CharField(max_length=80, required=False, allow_blank=True)

    class Meta:
        model = Judge
        fields = ("id", "name", "version", "annotator", "config", "api_key_env", "created_at", "retired_at")
        read_only_fields = ("version", "created_at", "retired_at")


class JudgeChange(serializers.Serializer[Any]):
    """What of a judge to change; the rest of ``config`` stays."""

    config = serializers.DictField(child=serializers.JSONField(allow_null=True), required=False)
    api_key_env = serializers.CharField(max_length=80, required=False, allow_blank=True)


class JudgeRunBody(serializers.Serializer[Any]):
    """Which instances of ``task``: ``all``, the ``pilot``, ``n`` at ``random``, or what ``plan`` asks of it."""

    task = serializers.UUIDField()
    scope = serializers.ChoiceField(choices=sorted(judging.SCOPES))
    n = serializers.IntegerField(min_value=1, max_value=judging.MOST_RANDOM, required=False)
    seed = serializers.IntegerField(min_value=0, max_value=2**31 - 1, required=False)
    plan = serializers.UUIDField(required=False)


class JudgeCallSerializer(serializers.ModelSerializer[JudgeCall]):
    judge = public_id("judge.public_id")
    instance = public_id("instance.public_id")  # type: ignore[assignment]

    class Meta:
        model = JudgeCall
        fields = (
            "judge",
            "instance",
            "order",
            "sample",
            "part",
            "dimension",
            "state",
            "parse_status",
            "p_a",
            "attention",
            "said",
            "raw",
            "error",
            "tokens_in",
            "tokens_out",
            "cost_micros",
            "cost_measured",
            "latency_ms",
            "tries",
            "created_at",
        )
        read_only_fields = fields


class JudgeFilter(django_filters.FilterSet):
    current = django_filters.BooleanFilter(field_name="retired_at", lookup_expr="isnull")


class JudgeCallFilter(django_filters.FilterSet):
    state = django_filters.ChoiceFilter(choices=CallState.choices)
    parse_status = django_filters.CharFilter(max_length=24)
    instance = django_filters.UUIDFilter(field_name="instance__public_id")


class JudgeView(ProjectView):
    serializer_class: Any = JudgeSerializer
    queryset = Judge.objects.select_related("project", "annotator")

    def row(self, judge: UUID) -> Judge:
        found: Judge = get_object_or_404(self.get_queryset(), public_id=judge)
        return found


@extend_schema_view(get=extend_schema(operation_id="judges_list"))
class Judges(JudgeView):
    filterset_class = JudgeFilter
    needs: ClassVar = {"GET": Need("read", "view"), "POST": Need("write", "manage")}
    idempotent = True

    def get(self, request: Request, project: Any) -> Response:
        return self.listed()

    @extend_schema(operation_id="judges_create", responses={201: JudgeSerializer})
    @once
    def post(self, request: Request, project: Any) -> Response:
        body = self.checked(request)
        key = body.get("api_key_env", "")
        made = judges.create_judge(self.project, body["name"], body["config"], actor=self.user, api_key_env=key)
        return self.shown(self.row(made.public_id), 201)


@extend_schema_view(get=extend_schema(operation_id="judges_retrieve"))
class JudgeDetail(JudgeView):
    needs: ClassVar = {
        "GET": Need("read", "view"),
        "PATCH": Need("write", "manage"),
        "DELETE": Need("write", "manage"),
    }

    def get(self, request: Request, project: Any, judge: UUID) -> Response:
        return self.shown(self.row(judge))

    @extend_schema(operation_id="judges_update", request=JudgeChange, responses=JudgeSerializer)
    def patch(self, request: Request, project: Any, judge: UUID) -> Response:
        """Change it. What changes its answers makes a new version, which is then the answer's ``id``."""
        row = self.row(judge)
        body = self.checked(request, JudgeChange)
        config = {**row.config, **body.get("config", {})}
        current = judges.edit_judge(row, config, actor=self.user, api_key_env=body.get("api_key_env"))
        return self.shown(self.row(current.public_id))

    @extend_schema(operation_id="judges_retire", request=None, responses={204: None})
    def delete(self, request: Request, project: Any, judge: UUID) -> Response:
        """Take it out of use; its verdicts stay."""
        judges.retire_judge(self.row(judge), actor=self.user)
        return Response(status=204)


class JudgeRun(JudgeView):
    needs: ClassVar = {"POST": Need("write", "manage")}
    idempotent = True

    @extend_schema(operation_id="judges_run", request=JudgeRunBody, responses={202: JobSerializer})
    @once
    def post(self, request: Request, project: Any, judge: UUID) -> Response:
        """Put it to work. The job's money comes from the task's budget, reserved call by call."""
        row = self.row(judge)
        body = self.checked(request, JudgeRunBody)
        task = get_object_or_404(Task, project=self.project, public_id=body.pop("task"))
        scope = {"kind": body.pop("scope"), **body}
        job = judging.start_judging(task, row, scope, actor=self.user)
        return Response(JobSerializer(job).data, status=202)


class JudgeCalls(JudgeView):
    serializer_class: Any = JudgeCallSerializer
    filterset_class = JudgeCallFilter
    needs: ClassVar = {"GET": Need("read", "view")}

    @extend_schema(operation_id="judge_calls_list", responses=JudgeCallSerializer(many=True))
    def get(self, request: Request, project: Any, judge: UUID) -> Response:
        """Every call that it was asked, newest first, with its raw reply."""
        return self.listed(JudgeCall.objects.filter(judge=self.row(judge)).select_related("judge", "instance"))
