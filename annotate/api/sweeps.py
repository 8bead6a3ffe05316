"""Sweeps, and runs beside each other."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from training import comparing, sweeps
from training.models import Run, Sweep

from .fields import Empty, public_id
from .idempotency import job_key_of
from .permissions import Need
from .training import RunBody, version_of
from .views import ProjectView


class SweepSerializer(serializers.ModelSerializer[Sweep]):
    """``best`` is the run with the highest accuracy on the split ``chosen_by`` so far."""

    id = public_id()
    grid = serializers.DictField(child=serializers.ListField(child=serializers.JSONField()), read_only=True)
    runs = serializers.SerializerMethodField()
    best = serializers.SerializerMethodField()
    chosen_by = serializers.SerializerMethodField()

    class Meta:
        model = Sweep
        fields = ("id", "grid", "runs", "best", "chosen_by", "created_at")
        read_only_fields = fields

    def get_runs(self, sweep: Sweep) -> list[dict[str, Any]]:
        return [
            {"id": str(run.public_id), "state": run.state, "values": sweeps.varied(run, sweep)}
            for run in sweep.runs.all()
        ]

    def get_best(self, sweep: Sweep) -> str | None:
        best = sweeps.best_of(list(sweep.runs.all()))
        return str(best.public_id) if best else None

    def get_chosen_by(self, sweep: Sweep) -> str:
        return sweeps.chosen_by(list(sweep.runs.all()))


class NewSweep(RunBody):
    """As a run, but that it is never checked first; ``grid`` maps settings and options to the values that are tried,
    2 to 24 combinations in all."""

    check_first = None  # type: ignore[assignment]  # its runs start at once
    grid = serializers.DictField(
        child=serializers.ListField(child=serializers.JSONField(), max_length=sweeps.MOST_RUNS)
    )


class SweepView(ProjectView):
    queryset = Sweep.objects.prefetch_related("runs")
    serializer_class: Any = SweepSerializer


@extend_schema_view(get=extend_schema(operation_id="sweeps_list"))
class Sweeps(SweepView):
    needs: ClassVar = {"GET": Need("read", "view"), "POST": Need("train", "manage")}
    idempotent = True

    def get(self, request: Request, project: Any) -> Response:
        return self.listed()

    @extend_schema(operation_id="sweeps_create", request=NewSweep, responses={201: SweepSerializer})
    def post(self, request: Request, project: Any) -> Response:
        """Start a run for each combination of the values of a few settings; all of them or none."""
        body = self.checked(request, NewSweep)
        made = sweeps.start_sweep(
            version_of(self.project, body, "version"),
            body["objective"],
            body["base_model"],
            body["config"],
            body["grid"],
            self.user,
            job_key_of(request, self.user),
            version_of(self.project, body, "held_out") if body["held_out"] else None,
        )
        return self.shown(self.get_queryset().get(pk=made.pk), 201)


@extend_schema_view(get=extend_schema(operation_id="sweeps_retrieve"))
class SweepDetail(SweepView):
    needs: ClassVar = {"GET": Need("read", "view")}

    def get(self, request: Request, project: Any, sweep: UUID) -> Response:
        return self.shown(get_object_or_404(self.get_queryset(), public_id=sweep))


class SweepCancel(SweepView):
    needs: ClassVar = {"POST": Need("train", "manage")}

    @extend_schema(operation_id="sweeps_cancel", request=Empty, responses={202: SweepSerializer})
    def post(self, request: Request, project: Any, sweep: UUID) -> Response:
        """Ask all runs of a sweep that have not ended to save their state and stop."""
        row = get_object_or_404(self.get_queryset(), public_id=sweep)
        sweeps.cancel_sweep(row, self.user)
        return self.shown(self.get_queryset().get(pk=row.pk), 202)


class RunsCompared(ProjectView):
    queryset = Run.objects.none()
    serializer_class: Any = Empty
    query: ClassVar = frozenset({"run"})
    needs: ClassVar = {"GET": Need("read", "view")}

    @extend_schema(
        operation_id="runs_compare",
        parameters=[OpenApiParameter("run", str, many=True, description=f"Ids of two to {comparing.MOST} runs.")],
        responses={200: {"type": "object", "additionalProperties": True}},
    )
    def get(self, request: Request, project: Any) -> Response:
        """Runs beside each other: settings, held-out figures, and the difference in accuracy to the first."""
        runs = comparing.runs_named(self.project, request.query_params.getlist("run"))
        return Response(
            {
                "runs": [
                    {"id": str(run.public_id), "number": run.number, "test": run.test_accuracy, "difference": one}
                    for run, one in zip(runs, comparing.differences(runs), strict=True)
                ],
                "settings": [
                    {"name": one.name, "values": one.values, "differs": one.differs}
                    for one in comparing.settings_beside(runs)
                ],
            }
        )
