"""What is learned: runs, their curves, and the models that come out of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from feedback.models import Annotator, DatasetVersion, Job, JobState, Project, Task, User
from feedback.models.columns import choice_field, one_of, public_id, set_exactly_in
from feedback.models.jobs import ENDED as ENDED_JOBS

from .objectives.catalogue import OBJECTIVES


class RunState(models.TextChoices):
    QUEUED = "queued", "Waiting"
    RUNNING = "running", "Running"
    CHECKED = "checked", "Checked"
    FINISHED = "finished", "Finished"
    CANCELLED = "cancelled", "Cancelled"
    FAILED = "failed", "Failed"


ACTIVE = [RunState.QUEUED, RunState.RUNNING]
ENDED = [RunState.FINISHED, RunState.CANCELLED, RunState.FAILED]


class RunQuerySet(models.QuerySet["Run"]):
    def of(self, user: User) -> Self:
        return self.filter(project__memberships__user=user)

    def active(self) -> Self:
        return self.filter(state__in=ACTIVE)

    def adrift(self) -> Self:
        """Runs that still count as active although their job has ended (set aside, or stopped before it began)."""
        return self.active().filter(job__state__in=ENDED_JOBS)


class Sweep(models.Model):
    """Runs that differ in nothing but the settings of ``grid``: names with the values that are tried."""

    public_id = public_id()
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="sweeps")
    grid = models.JSONField()
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["project", "-id"], name="sweep_of_project")]

    def __str__(self) -> str:
        return " × ".join(self.grid)


class Run(models.Model):
    """One training. ``config`` holds the settings its owner chose; where files lie is worked out when it starts."""

    public_id = public_id()
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="runs")
    number = models.PositiveIntegerField()
    version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, related_name="runs")
    held_out = models.ForeignKey(
        DatasetVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="evaluated_runs"
    )
    objective = models.CharField(max_length=40)  # a name of the catalogue of objectives
    base_model = models.CharField(max_length=200)
    base_run = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="continued_by")
    config = models.JSONField()
    state = choice_field(RunState, default=RunState.QUEUED)
    check_first = models.BooleanField(default=False)  # its next job writes the report and learns nothing
    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="runs")
    sweep = models.ForeignKey(Sweep, on_delete=models.PROTECT, null=True, blank=True, related_name="runs")
    phase = models.CharField(max_length=24, blank=True)
    message = models.CharField(max_length=1000, blank=True)
    step = models.PositiveIntegerField(default=0)
    total_steps = models.PositiveIntegerField(default=0)
    eta_seconds = models.FloatField(null=True, blank=True)
    tokens = models.PositiveBigIntegerField(default=0)
    memory_bytes = models.PositiveBigIntegerField(default=0)
    seconds = models.FloatField(default=0)
    preflight = models.JSONField(default=dict, blank=True)
    evaluation = models.JSONField(default=dict, blank=True)
    votes = models.JSONField(default=dict, blank=True)  # how many labels reward models turned round or softened
    error = models.TextField(max_length=4000, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        constraints = [
            one_of(RunState, "state", "run_state"),
            set_exactly_in([state.value for state in ENDED], "ended_at", "run_ended"),
            models.CheckConstraint(
                condition=~Q(state__in=["running", "finished"]) | Q(started_at__isnull=False), name="run_started"
            ),
            models.UniqueConstraint(fields=["project", "number"], name="run_number_once"),
        ]
        indexes = [models.Index(fields=["project", "state"], name="run_of_project")]

    def __str__(self) -> str:
        return f"Run {self.number}"

    @property
    def is_active(self) -> bool:
        return self.state in ACTIVE

    @property
    def is_stopping(self) -> bool:
        return self.is_active and self.job.cancel_requested

    @property
    def is_checked(self) -> bool:
        """Whether its report is there, and it waits for the word to start."""
        return self.state == RunState.CHECKED

    @property
    def can_resume(self) -> bool:
        return self.state in (RunState.CANCELLED, RunState.FAILED)

    @property
    def folder(self) -> Path:
        return Path(settings.FILES_DIR) / "runs" / str(self.public_id)

    @property
    def kind(self) -> ModelKind:
        """What this run makes."""
        return ModelKind(OBJECTIVES[self.objective].makes)

    @property
    def objective_title(self) -> str:
        """The objective as people read it."""
        return OBJECTIVES[self.objective].title

    @property
    def base_name(self) -> str:
        """The base model in words."""
        if self.base_run is not None:
            return f"Model of run {self.base_run.number}"
        return "Small demo model" if self.base_model == "small" else self.base_model.removeprefix("folder:")

    @property
    def test_accuracy(self) -> dict[str, Any] | None:
        """The evaluation on held-out prompts, when there is one."""
        found = self.evaluation.get("test") or self.evaluation.get("validation")
        return found if found and found.get("accuracy") is not None else None

    def state_of_job(self) -> RunState:
        """What the job's end means for a run that did not write its own."""
        return {
            JobState.SUCCEEDED: RunState.FAILED,  # a run that finished has said so before its job did
            JobState.CANCELLED: RunState.CANCELLED,
            JobState.FAILED: RunState.FAILED,
            JobState.QUARANTINED: RunState.FAILED,
        }[JobState(self.job.state)]


class Metric(models.Model):
    """One point of a curve."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="metrics")
    step = models.PositiveIntegerField()
    name = models.CharField(max_length=60)
    value = models.FloatField()

    class Meta:
        # the unique index (run, name, step) is also the one that curves are read by
        constraints = [models.UniqueConstraint(fields=["run", "name", "step"], name="metric_once")]

    def __str__(self) -> str:
        return f"{self.name} {self.step}: {self.value}"


class ModelKind(models.TextChoices):
    REWARD_MODEL = "reward-model", "Reward model"
    POLICY = "policy", "Policy"


class TrainedModel(models.Model):
    """What a run made. ``files`` lists ``{path, sha256, bytes}`` relative to the model's folder."""

    public_id = public_id()
    run = models.OneToOneField(Run, on_delete=models.PROTECT, related_name="model")
    name = models.CharField(max_length=200)
    kind = choice_field(ModelKind)
    sha256 = models.CharField(max_length=64)
    files = models.JSONField()
    bytes = models.PositiveBigIntegerField()
    card = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [one_of(ModelKind, "kind", "model_kind")]

    def __str__(self) -> str:
        return self.name

    @property
    def folder(self) -> Path:
        return self.run.folder / "model"

    def file(self, path: str) -> dict[str, Any] | None:
        """The listed file with exactly this path; anything else, however spelled, is not there."""
        return next((file for file in self.files if file["path"] == path), None)


class Evaluation(models.Model):
    """How a trained model does on the rows of a dataset version's split, or of a file. Its job says how far it is.

    ``wishes`` holds what was asked, ``report`` what was found (``training.evaluate``), ``read`` what became of the
    rows.
    """

    public_id = public_id()
    model = models.ForeignKey(TrainedModel, on_delete=models.PROTECT, related_name="evaluations")
    version = models.ForeignKey(
        DatasetVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="evaluations"
    )
    split = models.CharField(max_length=16, blank=True)
    filename = models.CharField(max_length=255, blank=True)
    path = models.CharField(max_length=1000, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    wishes = models.JSONField(default=dict, blank=True)
    report = models.JSONField(default=dict, blank=True)
    read = models.JSONField(default=dict, blank=True)
    seconds = models.FloatField(default=0)
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="evaluation")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(version__isnull=False, filename="") | Q(version__isnull=True) & ~Q(filename=""),
                name="evaluation_of_version_or_file",
            )
        ]
        indexes = [models.Index(fields=["model", "-id"], name="evaluation_of_model")]

    def __str__(self) -> str:
        return f"{self.model} on {self.data_name}"

    @property
    def data_name(self) -> str:
        """What it was evaluated on, in words."""
        if self.version is None:
            return self.filename
        return f"{self.version.task.name} · version {self.version.number}, {self.split}"

    @property
    def folder(self) -> Path:
        return Path(settings.FILES_DIR) / "evaluations" / str(self.public_id)

    @property
    def accuracy(self) -> dict[str, Any] | None:
        """The accuracy with its interval, once there is one."""
        return self.report if self.report.get("accuracy") is not None else None


class Generation(models.Model):
    """Completions that a policy wrote for the prompts of one task, as instances of another.

    ``opponent`` is the base model (by key) that wrote beside it, if any. ``wishes`` holds what was asked, ``report``
    what was found of the texts (``training.generate``) and how many instances came of them.
    """

    public_id = public_id()
    model = models.ForeignKey(TrainedModel, on_delete=models.PROTECT, related_name="generations")
    opponent = models.CharField(max_length=200, blank=True)
    reward_model = models.ForeignKey(
        TrainedModel, on_delete=models.PROTECT, null=True, blank=True, related_name="chosen_by"
    )
    prompts = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="generations_from")
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="generations")
    wishes = models.JSONField()
    report = models.JSONField(default=dict, blank=True)
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="generation")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["model", "-id"], name="generation_of_model")]

    def __str__(self) -> str:
        return f"{self.model} → {self.task}"

    @property
    def folder(self) -> Path:
        return Path(settings.FILES_DIR) / "generations" / str(self.public_id)


class Scoring(models.Model):
    """A reward model as a judge of a task: what it scored became annotations of ``annotator``."""

    public_id = public_id()
    model = models.ForeignKey(TrainedModel, on_delete=models.PROTECT, related_name="scorings")
    task = models.ForeignKey(Task, on_delete=models.PROTECT, related_name="scorings")
    annotator = models.ForeignKey(Annotator, on_delete=models.PROTECT, related_name="scorings")
    report = models.JSONField(default=dict, blank=True)
    job = models.OneToOneField(Job, on_delete=models.PROTECT, related_name="scoring")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        indexes = [models.Index(fields=["model", "-id"], name="scoring_of_model")]

    def __str__(self) -> str:
        return f"{self.model} on {self.task}"

    @property
    def folder(self) -> Path:
        return Path(settings.FILES_DIR) / "scorings" / str(self.public_id)
