"""Long work. The row is the truth, Celery only the wake-up."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from .columns import choice_field, one_of, public_id, set_exactly_in
from .people import Project, User


class JobKind(models.TextChoices):
    IMPORT = "import", "Import"
    FREEZE = "freeze", "Freeze version"
    JUDGE = "judge", "Judge"
    DESCRIBE = "describe", "Describe instances"
    TAG = "tag", "Tag instances"
    PLAN = "plan", "Plan routing"
    TRAIN = "train", "Train"
    EVALUATE = "evaluate", "Evaluate"
    GENERATE = "generate", "Generate completions"
    SCORE = "score", "Score completions"


class JobState(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"
    QUARANTINED = "quarantined", "Quarantined"


ENDED = [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.QUARANTINED]
QUEUES = {
    JobKind.JUDGE: "judge",
    JobKind.TAG: "judge",
    **dict.fromkeys((JobKind.TRAIN, JobKind.EVALUATE, JobKind.GENERATE, JobKind.SCORE), "training"),
}


class JobQuerySet(models.QuerySet["Job"]):
    def of(self, user: User) -> Self:
        return self.filter(project__memberships__user=user)

    def active(self) -> Self:
        return self.filter(state__in=[JobState.QUEUED, JobState.RUNNING])

    def overdue(self) -> Self:
        """Running jobs whose worker stopped renewing its lease, on the database's clock."""
        return self.filter(state=JobState.RUNNING, lease_expires_at__lt=Now())

    def unsent(self, after: timedelta) -> Self:
        """Queued jobs whose wake-up may be lost."""
        return self.filter(state=JobState.QUEUED, queued_at__lt=Now() - after)


class Job(models.Model):
    """``fence`` counts claims: a write by an earlier claim carries an old fence and changes nothing."""

    public_id = public_id()
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="jobs")
    kind = choice_field(JobKind)
    params = models.JSONField(default=dict)
    params_schema = models.PositiveSmallIntegerField(default=1)
    state = choice_field(JobState, default=JobState.QUEUED)
    attempt = models.PositiveSmallIntegerField(default=0)
    fence = models.PositiveBigIntegerField(default=0)
    lease_owner = models.CharField(max_length=120, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    cancel_requested = models.BooleanField(default=False)
    progress_done = models.PositiveBigIntegerField(default=0)
    progress_total = models.PositiveBigIntegerField(default=0)
    message = models.CharField(max_length=300, blank=True)
    error = models.TextField(max_length=4000, blank=True)
    result = models.JSONField(default=dict, blank=True)
    idempotency_key = models.CharField(max_length=200, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    queued_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        constraints = [
            one_of(JobKind, "kind", "job_kind"),
            one_of(JobState, "state", "job_state"),
            set_exactly_in([state.value for state in ENDED], "ended_at", "job_ended"),
            set_exactly_in(["running"], "lease_expires_at", "job_leased"),
            models.UniqueConstraint(
                fields=["project", "kind", "idempotency_key"],
                condition=~Q(idempotency_key=""),
                name="job_idempotency_key_once",
            ),
        ]
        indexes = [
            models.Index(fields=["state", "queued_at"], name="job_queued"),
            models.Index(fields=["project", "-created_at"], name="job_recent"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {str(self.public_id)[:8]}"

    @property
    def is_active(self) -> bool:
        return self.state in (JobState.QUEUED, JobState.RUNNING)

    @property
    def queue(self) -> str:
        return QUEUES.get(JobKind(self.kind), "default")
