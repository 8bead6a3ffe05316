"""Jobs: long work, its progress and its end."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

import django_filters
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from feedback.models import Job, JobKind, JobState
from feedback.services import jobs

from .fields import public_id
from .permissions import Need
from .views import ProjectView


class JobSerializer(serializers.ModelSerializer[Job]):
    id = public_id()
    result = serializers.DictField(child=serializers.JSONField(), read_only=True)

    class Meta:
        model = Job
        fields = (
            "id",
            "kind",
            "state",
            "attempt",
            "progress_done",
            "progress_total",
            "message",
            "error",
            "result",
            "cancel_requested",
            "created_at",
            "started_at",
            "ended_at",
        )
        read_only_fields = fields


class JobFilter(django_filters.FilterSet):
    kind = django_filters.ChoiceFilter(choices=JobKind.choices)
    state = django_filters.ChoiceFilter(choices=JobState.choices)


@extend_schema_view(get=extend_schema(operation_id="jobs_list"))
class Jobs(ProjectView):
    serializer_class = JobSerializer
    filterset_class = JobFilter
    queryset = Job.objects.all()
    needs: ClassVar = {"GET": Need("read", "view")}

    def get(self, request: Request, project: Any) -> Response:
        return self.listed()


@extend_schema_view(get=extend_schema(operation_id="jobs_retrieve"))
class JobDetail(ProjectView):
    serializer_class = JobSerializer
    queryset = Job.objects.all()
    needs: ClassVar = {"GET": Need("read", "view")}

    def get(self, request: Request, project: Any, job: UUID) -> Response:
        return self.shown(get_object_or_404(self.get_queryset(), public_id=job))


class JobCancel(ProjectView):
    serializer_class = JobSerializer
    queryset = Job.objects.select_related("project")
    needs: ClassVar = {"POST": Need("write", "manage")}

    @extend_schema(operation_id="jobs_cancel", request=None)
    def post(self, request: Request, project: Any, job: UUID) -> Response:
        """Ask a job to stop: a queued one ends at once, a running one within ten seconds."""
        row: Job = get_object_or_404(self.get_queryset(), public_id=job)
        jobs.cancel(row, actor=self.user)
        row.refresh_from_db()
        return self.shown(row)
