"""Judges and what they said, routing plans and what they decided."""

from __future__ import annotations

from typing import Any, Self

from django.db import models
from django.db.models import Q

from feedback.models import (
    Annotation,
    AnnotationRequest,
    Annotator,
    Instance,
    Job,
    PreferenceMix,
    Project,
    Task,
    User,
)
from feedback.models.columns import choice_field, one_of, public_id, set_exactly_in
from routing.judge.config import JudgeConfig

KEY_PREFIX = "TIEBREAK_JUDGE_KEY_"
MOST_RAW = 20_000
PILOT = "pilot"
"""The strategy of a plan that is a pilot's draw."""


class JudgeQuerySet(models.QuerySet["Judge"]):
    def current(self) -> Self:
        """Judges that may still be run: the newest version of each."""
        return self.filter(retired_at=None)


class Judge(models.Model):
    """One version of a configured LLM that annotates.

    ``config`` is a JudgeConfig without name and version. The API key is never stored: ``api_key_env`` names the
    environment variable that holds it.
    """

    public_id = public_id()
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="judges")
    annotator = models.OneToOneField(Annotator, on_delete=models.PROTECT, related_name="judge")
    name = models.CharField(max_length=120)
    version = models.PositiveIntegerField(default=1)
    config = models.JSONField()
    api_key_env = models.CharField(max_length=80, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    retired_at = models.DateTimeField(null=True, blank=True)

    objects = JudgeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "name", "version"], name="judge_version_once"),
            models.UniqueConstraint(
                fields=["project", "name"], condition=Q(retired_at=None), name="judge_one_current_version"
            ),
            models.CheckConstraint(
                condition=Q(api_key_env="") | Q(api_key_env__startswith=KEY_PREFIX), name="judge_key_variable"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} v{self.version}"

    @property
    def parsed(self) -> JudgeConfig:
        return JudgeConfig(name=self.name, version=self.version, **self.config)

    @property
    def backend(self) -> str:
        return str(self.config["backend"])

    @property
    def model(self) -> str:
        return str(self.config["model"])


class CallState(models.TextChoices):
    RESERVED = "reserved", "In flight"
    SETTLED = "settled", "Answered"
    FAILED = "failed", "Not reached"
    LOST = "lost", "Lost"


class CallOrder(models.TextChoices):
    AB = "ab", "A first"
    BA = "ba", "B first"


class JudgeCall(models.Model):
    """One question put to a judge, in one order, of all completions or the one at ``part``; with a ``dimension`` of the
    prompt alone. Its money is reserved while it is in flight. ``said`` is what its reply says beside a preference
    (routing.judge.said).

    ``settled`` calls are the cache: the same key is never paid twice. A ``failed`` call did not reach the judge and may
    be made again; a ``lost`` one was in flight when its worker died, and counts at its worst case.
    """

    judge = models.ForeignKey(Judge, on_delete=models.CASCADE, related_name="calls")
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="judge_calls")
    job = models.ForeignKey(Job, on_delete=models.SET_NULL, null=True, blank=True, related_name="judge_calls")
    fence = models.PositiveBigIntegerField(default=0)
    order = choice_field(CallOrder)
    sample = models.PositiveSmallIntegerField(default=0)
    part = models.PositiveSmallIntegerField(null=True, blank=True)
    dimension = models.CharField(max_length=40, blank=True, default="", db_default="")
    cache_key = models.CharField(max_length=64)
    state = choice_field(CallState, default=CallState.RESERVED)
    raw = models.TextField(max_length=MOST_RAW, blank=True)
    parse_status = models.CharField(max_length=24, blank=True)
    error = models.CharField(max_length=300, blank=True)
    p_a = models.FloatField(null=True, blank=True)
    strength_a = models.FloatField(null=True, blank=True)
    attention = models.FloatField(null=True, blank=True)
    said = models.JSONField(default=dict, blank=True)
    rationale = models.TextField(max_length=4000, blank=True)
    tokens_in = models.PositiveIntegerField(null=True, blank=True)
    tokens_out = models.PositiveIntegerField(null=True, blank=True)
    reserved_micros = models.BigIntegerField(default=0)
    cost_micros = models.BigIntegerField(default=0)
    cost_measured = models.BooleanField(default=False)
    latency_ms = models.PositiveIntegerField(default=0)
    tries = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            one_of(CallState, "state", "judge_call_state"),
            one_of(CallOrder, "order", "judge_call_order"),
            set_exactly_in(["settled", "failed", "lost"], "ended_at", "judge_call_ended"),
            models.UniqueConstraint(
                fields=["judge", "cache_key"],
                condition=Q(state__in=["reserved", "settled"]),
                name="judge_call_paid_once",
            ),
            models.CheckConstraint(condition=Q(p_a=None) | Q(p_a__gte=0, p_a__lte=1), name="judge_call_p_range"),
            models.CheckConstraint(
                condition=Q(cost_micros__gte=0, cost_micros__lte=models.F("reserved_micros")),
                name="judge_call_cost_reserved",
            ),
        ]
        indexes = [
            models.Index(fields=["judge", "-id"], name="judge_call_recent"),
            models.Index(fields=["job"], condition=Q(state="reserved"), name="judge_call_in_flight"),
        ]

    def __str__(self) -> str:
        return f"{self.judge_id} · {self.order} · {self.parse_status or self.state}"

    @property
    def seconds(self) -> float:
        return self.latency_ms / 1000


class Verdict(models.Model):
    """What a judge thinks of one instance, side order taken out. Without an ``annotation`` the judge abstained.

    ``p_a`` is None where it did not compare two completions. ``unreached`` verdicts say nothing of the instance (the
    endpoint was away) and may be asked again. ``attention`` is the probability mass on valid options, where the
    endpoint tells; ``panel_agreement`` the share of a panel's members on its side.
    """

    judge = models.ForeignKey(Judge, on_delete=models.CASCADE, related_name="verdicts")
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="verdicts")
    annotation = models.OneToOneField(
        Annotation, on_delete=models.SET_NULL, null=True, blank=True, related_name="verdict"
    )
    p_a = models.FloatField(null=True, blank=True)
    p_ab = models.FloatField(null=True, blank=True)
    p_ba = models.FloatField(null=True, blank=True)
    strength = models.FloatField(default=0.0)
    tie = models.BooleanField(default=False)
    order_consistent = models.BooleanField(null=True, blank=True)
    self_consistency = models.FloatField(null=True, blank=True)
    panel_agreement = models.FloatField(null=True, blank=True)
    attention = models.FloatField(null=True, blank=True)
    said = models.JSONField(default=dict, blank=True)
    needs_person = models.BooleanField(default=False)
    unreached = models.BooleanField(default=False)
    attempts = models.PositiveSmallIntegerField(default=1)
    abstentions = models.JSONField(default=list, blank=True)
    rationale = models.TextField(max_length=4000, blank=True)
    cost_micros = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["judge", "instance"], name="verdict_once"),
            models.CheckConstraint(condition=Q(p_a=None) | Q(p_a__gte=0, p_a__lte=1), name="verdict_p_range"),
            models.CheckConstraint(condition=Q(cost_micros__gte=0), name="verdict_cost_positive"),
            models.CheckConstraint(condition=Q(unreached=False) | Q(p_a=None), name="verdict_unreached_has_no_side"),
        ]

    def __str__(self) -> str:
        return f"{self.judge_id} on {self.instance_id}"


class DescriptiveTag(models.Model):
    """What a judge says of an instance's prompt in one dimension; ``None`` where its reply named no options."""

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="descriptive_tags")
    judge = models.ForeignKey(Judge, on_delete=models.CASCADE, related_name="descriptive_tags")
    dimension = models.CharField(max_length=40)
    options = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["instance", "dimension", "judge"], name="descriptive_tag_once")]

    def __str__(self) -> str:
        return f"{self.dimension} of {self.instance_id}"


class PairDescription(models.Model):
    """What the texts of an instance look like to the router, by one recipe. Without ``values`` it is no pair.

    ``content_key`` names the texts, so that the same ones are described once whatever task they are in; ``values``,
    ``difference`` (of the completions) and ``prompt`` are 32-bit numbers in the order of the recipe.
    """

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="descriptions")
    recipe = models.CharField(max_length=120)
    content_key = models.CharField(max_length=64, blank=True)
    completion_a = models.BigIntegerField(null=True, blank=True)
    completion_b = models.BigIntegerField(null=True, blank=True)
    values = models.BinaryField(null=True, blank=True)
    difference = models.BinaryField(null=True, blank=True)
    prompt = models.BinaryField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["instance", "recipe"], name="description_once")]
        indexes = [models.Index(fields=["content_key", "recipe"], name="description_of_texts")]

    def __str__(self) -> str:
        return f"{self.recipe} of {self.instance_id}"


class TaskFeatures(models.Model):
    """What plans know of a task's instances beside their texts: columns of tags and metadata, and which do not count.

    ``columns``: name and number of instances of each, as last described; ``tags``: the same of a language model's tags,
    with how each counts (:class:`routing.features.tagged.TagReport`); ``why`` texts are embedded as they are.
    """

    task = models.OneToOneField(Task, on_delete=models.CASCADE, related_name="features")
    left_out = models.JSONField(default=list, blank=True)
    columns = models.JSONField(default=list, blank=True)
    tags = models.JSONField(default=list, blank=True)
    recipe = models.CharField(max_length=120, blank=True)
    why = models.CharField(max_length=600, blank=True)
    size = models.PositiveIntegerField(default=0)
    described_at = models.DateTimeField(null=True, blank=True)
    job = models.ForeignKey(Job, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")

    def __str__(self) -> str:
        return f"features of {self.task}"


class PlanState(models.TextChoices):
    DRAFT = "draft", "Waiting"
    COMPUTING = "computing", "Computing"
    READY = "ready", "Ready"
    APPLIED = "applied", "Applied"
    FAILED = "failed", "Failed"


class Course(models.TextChoices):
    """How a plan that labels in rounds stands; plans that ask for all at once have none."""

    NONE = "none", "All at once"
    RUNNING = "running", "In rounds"
    STOPPED = "stopped", "Stopped"
    FINISHED = "finished", "Finished"


class PerformancePredictionModel(models.Model):
    """A fitted prediction: mix features → score of the reward model trained on that mix, and how far to trust it."""

    public_id = public_id()
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="prediction_models")
    kind = models.CharField(max_length=40)
    coefficients = models.JSONField(default=dict)
    evaluation = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.kind} of {self.task}"


class RoutingPlan(models.Model):
    """A strategy's answer for a task's instances under a budget. A pilot's draw is a plan too (strategy ``pilot``).

    ``prediction_model`` predicts the metric of a mix; of a plan in rounds ``lesson`` is what its labels taught, and
    ``heard`` the people's annotations that it has learned from.
    """

    public_id = public_id()
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="plans")
    strategy = models.CharField(max_length=40)
    judge = models.ForeignKey(Annotator, on_delete=models.PROTECT, null=True, blank=True, related_name="plans")
    budget_micros = models.BigIntegerField()
    seed = models.BigIntegerField(default=0)
    params = models.JSONField(default=dict, blank=True)
    state = choice_field(PlanState, default=PlanState.DRAFT)
    job = models.ForeignKey(Job, on_delete=models.SET_NULL, null=True, blank=True, related_name="plans")
    prediction_model = models.ForeignKey(
        PerformancePredictionModel, on_delete=models.SET_NULL, null=True, blank=True, related_name="plans"
    )
    lesson = models.ForeignKey(
        PerformancePredictionModel, on_delete=models.SET_NULL, null=True, blank=True, related_name="taught_by"
    )
    heard = models.JSONField(default=list, blank=True)
    predicted_mean = models.FloatField(null=True, blank=True)
    predicted_sd = models.FloatField(null=True, blank=True)
    curve = models.JSONField(default=dict, blank=True)
    summary = models.JSONField(default=dict, blank=True)
    mix = models.OneToOneField(PreferenceMix, on_delete=models.SET_NULL, null=True, blank=True, related_name="plan")
    error = models.TextField(max_length=4000, blank=True)
    course = choice_field(Course, default=Course.NONE)
    course_reason = models.CharField(max_length=300, blank=True)
    round_job = models.ForeignKey(Job, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    applied_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            one_of(PlanState, "state", "plan_state"),
            one_of(Course, "course", "plan_course"),
            models.CheckConstraint(condition=Q(course="none") | Q(state="applied"), name="plan_course_applied"),
            set_exactly_in(["applied"], "applied_at", "plan_applied"),
            models.CheckConstraint(condition=Q(budget_micros__gte=0), name="plan_budget_positive"),
        ]
        indexes = [
            models.Index(fields=["task", "-created_at"], name="plan_recent"),
            models.Index(fields=["id"], condition=Q(course="running"), name="plan_in_rounds"),
        ]

    def __str__(self) -> str:
        return f"{self.strategy} {str(self.public_id)[:8]}"

    @property
    def origin(self) -> str:
        """How requests and mixes name this plan, since the ground knows no plans."""
        return f"plan:{self.public_id}"

    def share(self, arm: str) -> float:
        """The share of the plan's instances that go to an arm, 0 before it is computed."""
        shares: dict[str, Any] = self.summary.get("share", {})
        return float(shares.get(arm, 0.0))


class Arm(models.TextChoices):
    HUMAN = "human", "People"
    JUDGE = "judge", "Judge"
    NONE = "none", "Nobody"


class RoutingRound(models.Model):
    """One round of a plan: how many labels it asked for, how many of those at random, and what was known before it.

    ``progress`` is what makes the learner anew (:class:`routing.ppm.adaptive.Progress`), ``stats`` what pages show.
    """

    plan = models.ForeignKey(RoutingPlan, on_delete=models.CASCADE, related_name="rounds")
    number = models.PositiveSmallIntegerField()
    asked = models.PositiveIntegerField()
    drawn = models.PositiveIntegerField(default=0)
    reserved_micros = models.BigIntegerField(default=0)
    progress = models.JSONField(default=dict, blank=True)
    stats = models.JSONField(default=dict, blank=True)
    opened_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["plan", "number"], name="round_once"),
            models.UniqueConstraint(fields=["plan"], condition=Q(ended_at=None), name="round_one_open"),
            models.CheckConstraint(condition=Q(number__gte=1, drawn__lte=models.F("asked")), name="round_counts"),
        ]

    def __str__(self) -> str:
        return f"round {self.number} of {self.plan}"


class DecisionQuerySet(models.QuerySet["RoutingDecision"]):
    def current(self) -> Self:
        """Decisions that stand: those that a later round replaced are kept for the record only."""
        return self.filter(superseded_at=None)


class RoutingDecision(models.Model):
    """Who should label one instance, and why. ``propensity`` is the probability with which this arm was drawn.

    ``arm_name`` is the one of the plan's own arms that was chosen, where it has several.

    A later round of the plan supersedes a decision; it is never changed. ``details``: ``p_a`` as believed then, and
    the ``tags`` that stand out, each with its effect on the score.
    """

    plan = models.ForeignKey(RoutingPlan, on_delete=models.CASCADE, related_name="decisions")
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="decisions")
    arm = choice_field(Arm)
    arm_name = models.CharField(max_length=40, blank=True, default="", db_default="")
    n_labels = models.PositiveSmallIntegerField(default=1)
    score = models.FloatField(default=0.0)
    lower = models.FloatField(null=True, blank=True)
    upper = models.FloatField(null=True, blank=True)
    propensity = models.FloatField(default=1.0)
    reason = models.CharField(max_length=300, blank=True)
    details = models.JSONField(default=dict, blank=True)
    round = models.PositiveSmallIntegerField(default=1)
    superseded_at = models.DateTimeField(null=True, blank=True)
    superseded_by = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    request = models.ForeignKey(
        AnnotationRequest, on_delete=models.SET_NULL, null=True, blank=True, related_name="decisions"
    )

    objects = DecisionQuerySet.as_manager()

    class Meta:
        constraints = [
            one_of(Arm, "arm", "decision_arm"),
            models.UniqueConstraint(
                fields=["plan", "instance"], condition=Q(superseded_at=None), name="decision_one_stands"
            ),
            models.CheckConstraint(
                condition=Q(superseded_by=None) | Q(superseded_at__isnull=False), name="decision_superseded"
            ),
            models.CheckConstraint(condition=Q(propensity__gte=0, propensity__lte=1), name="decision_propensity"),
            models.CheckConstraint(
                condition=Q(arm="none", n_labels=0) | (~Q(arm="none") & Q(n_labels__gte=1)), name="decision_labels"
            ),
        ]
        indexes = [models.Index(fields=["plan", "-score", "id"], name="decision_by_score")]

    def __str__(self) -> str:
        return f"{self.instance_id} → {self.arm}"
