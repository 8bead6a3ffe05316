"""Routing: pilots, plans, what they decide, and putting one in force."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

import django_filters
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from feedback.models import Annotator, Task
from routing.models import Arm, Judge, PlanState, RoutingDecision, RoutingPlan, RoutingRound
from routing.ppm.regression import MODELS
from routing.services import applying, arms, constraints, pilots, planning, progress, rounds, task_features
from routing.services.money import plan_money
from routing.services.requests import LABELS

from .fields import TextField, micros, public_id
from .idempotency import once
from .permissions import Need
from .views import ProjectView


class PlanSerializer(serializers.ModelSerializer[RoutingPlan]):
    """``judge`` is the annotator whose verdicts count. ``curve`` and ``summary`` are there once the plan is ready.

    ``course`` says how a plan in rounds stands, ``course_reason`` why it stopped or finished.
    """

    id = public_id()
    task = public_id("task.public_id")
    judge = serializers.UUIDField(source="judge.public_id", read_only=True, allow_null=True, default=None)
    job = serializers.UUIDField(source="job.public_id", read_only=True, allow_null=True, default=None)
    mix = serializers.UUIDField(source="mix.public_id", read_only=True, allow_null=True, default=None)
    params = serializers.DictField(child=serializers.JSONField(), read_only=True)
    curve = serializers.DictField(child=serializers.JSONField(), read_only=True)
    summary = serializers.DictField(child=serializers.JSONField(), read_only=True)

    class Meta:
        model = RoutingPlan
        fields = (
            "id",
            "task",
            "strategy",
            "judge",
            "budget_micros",
            "seed",
            "params",
            "state",
            "course",
            "course_reason",
            "predicted_mean",
            "predicted_sd",
            "curve",
            "summary",
            "error",
            "job",
            "mix",
            "created_at",
            "applied_at",
        )
        read_only_fields = fields


def whole(setting: str) -> serializers.IntegerField:
    """A setting of a plan within its limits."""
    return bounded(planning.LIMITS[setting])


def bounded(limits: tuple[int, int], *, required: bool = False) -> serializers.IntegerField:
    return serializers.IntegerField(min_value=limits[0], max_value=limits[1], required=required)


class ArmBody(serializers.Serializer[Any]):
    """People beside those of the task's price: ``labels`` of them for an instance, who have ``skill`` (experts must),
    for ``capacity`` instances at most. ``accuracy``: how often one is right, in percent, before labels tell."""

    name = serializers.CharField(max_length=arms.MOST_NAME)
    kind = serializers.ChoiceField(choices=("crowd", "expert"))
    skill = serializers.CharField(max_length=40, required=False)
    price_micros = bounded(arms.LIMITS["price_micros"], required=True)
    labels = bounded(arms.LIMITS["labels"])
    capacity = bounded(arms.LIMITS["capacity"])
    accuracy = bounded(arms.LIMITS["accuracy"])


class PlanCreation(serializers.Serializer[Any]):
    """``judge`` is an annotator's id. ``pilot``: instance ids; people's labels elsewhere are then not looked at.
    ``left_out``: tags and metadata fields that are no features of it, by default those that the task leaves out."""

    task = serializers.UUIDField()
    strategy = serializers.ChoiceField(choices=[strategy.name for strategy in planning.offered()])
    budget_micros = micros()
    judge = serializers.UUIDField()
    seed = serializers.IntegerField(min_value=0, max_value=2**31 - 1, default=0)
    labels = whole("labels")
    kind = serializers.ChoiceField(choices=sorted(MODELS), required=False)
    mixes = whole("mixes")
    judge_price_micros = whole("judge_price_micros")
    floors = serializers.ListField(
        child=serializers.CharField(max_length=80), max_length=constraints.MOST_FLOORS, required=False
    )
    most_people = whole("most_people")
    guarantee = serializers.BooleanField(required=False)
    escalate = serializers.BooleanField(required=False)
    arms = ArmBody(many=True, required=False)
    explore = whole("explore")
    least_points = whole("least_points")
    most_labels = whole("most_labels")
    left_out = serializers.ListField(
        child=TextField(max_length=task_features.MOST_SOURCE), max_length=task_features.MOST_LEFT_OUT, required=False
    )
    pilot = serializers.ListField(child=serializers.UUIDField(), max_length=100_000, required=False)


class PilotCreation(serializers.Serializer[Any]):
    """Draw ``count`` instances at random; ``judge`` (a judge's id) judges them too."""

    task = serializers.UUIDField()
    count = serializers.IntegerField(min_value=1, max_value=pilots.MOST)
    labels = serializers.IntegerField(min_value=LABELS[0], max_value=LABELS[1], default=1)
    judge = serializers.UUIDField(required=False, allow_null=True)
    seed = serializers.IntegerField(min_value=0, max_value=2**31 - 1, default=0)


class AppliedSerializer(serializers.Serializer[Any]):
    """Money in millionths: reserved now, released from earlier plans, and not needed of this plan's budget."""

    plan = PlanSerializer()
    reserved_micros = serializers.IntegerField(source="reserved")
    released_micros = serializers.IntegerField(source="released")
    unspent_micros = serializers.IntegerField(source="unspent")
    judge_job = serializers.UUIDField(allow_null=True)


class DecisionSerializer(serializers.ModelSerializer[RoutingDecision]):
    instance = public_id("instance.public_id")  # type: ignore[assignment]

    class Meta:
        model = RoutingDecision
        fields = (
            *("instance", "arm", "arm_name", "n_labels", "score", "lower", "upper", "propensity", "reason", "details"),
            *("round", "superseded_at"),
        )
        read_only_fields = fields


class RoundSerializer(serializers.ModelSerializer[RoutingRound]):
    """``labelled``: instances of the round whose labels are in. ``stats``: what was believed before it."""

    labelled = serializers.IntegerField(read_only=True)
    stats = serializers.DictField(child=serializers.FloatField(), read_only=True)

    class Meta:
        model = RoutingRound
        fields = ("number", "asked", "drawn", "labelled", "reserved_micros", "stats", "opened_at", "ended_at")
        read_only_fields = fields


class RoundsSerializer(serializers.Serializer[Any]):
    rounds = RoundSerializer(many=True)


class ArmProgressSerializer(serializers.Serializer[Any]):
    arm = serializers.ChoiceField(choices=Arm.choices)
    asked = serializers.IntegerField()
    answered = serializers.IntegerField()


class ProgressSerializer(serializers.Serializer[Any]):
    """Money in millionths; instances that each arm was asked for, and those of them that are answered."""

    spent_micros = serializers.IntegerField()
    reserved_micros = serializers.IntegerField()
    left_micros = serializers.IntegerField()
    arms = ArmProgressSerializer(many=True)


class StopBody(serializers.Serializer[Any]):
    """``take_back``: withdraw what nobody has begun, and release its money."""

    take_back = serializers.BooleanField(default=False)


class PlanFilter(django_filters.FilterSet):
    task = django_filters.UUIDFilter(field_name="task__public_id")
    state = django_filters.ChoiceFilter(choices=PlanState.choices)
    strategy = django_filters.CharFilter(max_length=40)


class DecisionFilter(django_filters.FilterSet):
    arm = django_filters.ChoiceFilter(choices=Arm.choices)
    round = django_filters.NumberFilter()
    current = django_filters.BooleanFilter(field_name="superseded_at", lookup_expr="isnull")
    instance = django_filters.UUIDFilter(field_name="instance__public_id")


class PlanView(ProjectView):
    serializer_class: Any = PlanSerializer
    queryset = RoutingPlan.objects.select_related("task__project", "judge", "job", "mix")
    project_path = "task__project"

    def row(self, plan: UUID) -> RoutingPlan:
        found: RoutingPlan = get_object_or_404(self.get_queryset(), public_id=plan)
        return found

    def task_named(self, public_id: UUID) -> Task:
        return get_object_or_404(Task, project=self.project, public_id=public_id)


@extend_schema_view(get=extend_schema(operation_id="plans_list"))
class Plans(PlanView):
    filterset_class = PlanFilter
    needs: ClassVar = {"GET": Need("read", "view"), "POST": Need("write", "manage")}
    idempotent = True

    def get(self, request: Request, project: Any) -> Response:
        return self.listed()

    @extend_schema(operation_id="plans_create", request=PlanCreation, responses={202: PlanSerializer})
    @once
    def post(self, request: Request, project: Any) -> Response:
        """Compute a plan, as a job. Nothing is asked or spent before it is applied."""
        body = self.checked(request, PlanCreation)
        task = self.task_named(body.pop("task"))
        judge = get_object_or_404(Annotator, project=self.project, public_id=body.pop("judge"))
        if "pilot" in body:
            body["pilot"] = [str(name) for name in body["pilot"]]
        made = planning.make_plan(
            task,
            body.pop("strategy"),
            body.pop("budget_micros"),
            judge=judge,
            actor=self.user,
            seed=body.pop("seed"),
            params=body,
        )
        return self.shown(self.row(made.public_id), 202)


@extend_schema_view(get=extend_schema(operation_id="plans_retrieve"))
class PlanDetail(PlanView):
    needs: ClassVar = {"GET": Need("read", "view")}

    def get(self, request: Request, project: Any, plan: UUID) -> Response:
        return self.shown(self.row(plan))


class PlanDecisions(PlanView):
    serializer_class: Any = DecisionSerializer
    filterset_class = DecisionFilter
    needs: ClassVar = {"GET": Need("read", "view")}

    @extend_schema(operation_id="decisions_list", responses=DecisionSerializer(many=True))
    def get(self, request: Request, project: Any, plan: UUID) -> Response:
        """Who should label each instance, and why; ``current=true`` leaves out what a later round replaced."""
        return self.listed(self.row(plan).decisions.select_related("instance"))


class PlanApply(PlanView):
    serializer_class: Any = AppliedSerializer
    needs: ClassVar = {"POST": Need("write", "manage")}

    @extend_schema(operation_id="plans_apply", request=None, responses=AppliedSerializer)
    def post(self, request: Request, project: Any, plan: UUID) -> Response:
        """Put a ready plan in force, once: reserve its money, ask people and the judge. 409 when it was applied."""
        done = applying.apply_plan(self.row(plan), actor=self.user)
        body = {
            "plan": self.row(plan),
            "reserved": done.reserved,
            "released": done.released,
            "unspent": done.unspent,
            "judge_job": done.judge_job.public_id if done.judge_job else None,
        }
        return Response(AppliedSerializer(body).data)


class PlanProgress(PlanView):
    serializer_class: Any = ProgressSerializer
    needs: ClassVar = {"GET": Need("read", "view")}

    @extend_schema(operation_id="plans_progress", responses=ProgressSerializer)
    def get(self, request: Request, project: Any, plan: UUID) -> Response:
        """How far a plan is, and where its money stands."""
        row = self.row(plan)
        money = plan_money(row)
        body = {
            "spent_micros": money.spent,
            "reserved_micros": money.reserved,
            "left_micros": money.left,
            "arms": [
                {"arm": arm.value, "asked": one.asked, "answered": one.answered}
                for arm, one in progress.progress_of(row).items()
            ],
        }
        return Response(ProgressSerializer(body).data)


class PlanRounds(PlanView):
    serializer_class: Any = RoundsSerializer
    needs: ClassVar = {"GET": Need("read", "view"), "POST": Need("write", "manage")}

    @extend_schema(operation_id="rounds_list", responses=RoundsSerializer)
    def get(self, request: Request, project: Any, plan: UUID) -> Response:
        """The rounds of a plan, the newest first."""
        found = rounds.progress_of(self.row(plan))
        for one in found:
            one.round.labelled = one.received  # type: ignore[attr-defined]
        return Response(RoundsSerializer({"rounds": [one.round for one in found]}).data)

    @extend_schema(operation_id="rounds_create", request=None, responses={202: PlanSerializer})
    def post(self, request: Request, project: Any, plan: UUID) -> Response:
        """Begin the next round now, with the labels that are in; twice is once. 409 unless the plan is in rounds."""
        rounds.next_round(self.row(plan), actor=self.user)
        return Response(PlanSerializer(self.row(plan)).data, status=202)


class PlanStop(PlanView):
    needs: ClassVar = {"POST": Need("write", "manage")}

    @extend_schema(operation_id="plans_stop", request=StopBody, responses=PlanSerializer)
    def post(self, request: Request, project: Any, plan: UUID) -> Response:
        """Begin no further round. 409 unless the plan is in rounds."""
        rounds.stop(self.row(plan), actor=self.user, take_back=self.checked(request, StopBody)["take_back"])
        return self.shown(self.row(plan))


class PlanResume(PlanView):
    needs: ClassVar = {"POST": Need("write", "manage")}

    @extend_schema(operation_id="plans_resume", request=None, responses=PlanSerializer)
    def post(self, request: Request, project: Any, plan: UUID) -> Response:
        """Go on with a stopped plan. 409 where a later plan is in force."""
        rounds.resume(self.row(plan), actor=self.user)
        return self.shown(self.row(plan))


class Pilots(PlanView):
    needs: ClassVar = {"POST": Need("write", "manage")}
    idempotent = True

    @extend_schema(operation_id="pilots_create", request=PilotCreation, responses={201: PlanSerializer})
    @once
    def post(self, request: Request, project: Any) -> Response:
        """Ask people, and a judge, for a random sample; answered as a plan of strategy ``pilot``."""
        body = self.checked(request, PilotCreation)
        task = self.task_named(body["task"])
        wanted = body.get("judge")
        judge = get_object_or_404(Judge, project=self.project, public_id=wanted) if wanted else None
        made, _ = pilots.start_pilot(
            task, body["count"], actor=self.user, judge=judge, labels=body["labels"], seed=body["seed"]
        )
        return self.shown(self.row(made.public_id), 201)
