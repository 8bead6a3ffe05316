"""What is exported and trained on, and how well training on it went."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from .columns import choice_field, one_of, public_id, set_exactly_in
from .people import User
from .tasks import Task


class DatasetState(models.TextChoices):
    FREEZING = "freezing", "Freezing"
    READY = "ready", "Ready"
    FAILED = "failed", "Failed"


class PreferenceMix(models.Model):
    """A fixed choice of source for each instance: ``sources`` maps an instance's public id to human or judge."""

    public_id = public_id()
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="mixes")
    name = models.CharField(max_length=120)
    origin = models.CharField(max_length=80, blank=True)
    sources = models.JSONField()
    features = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class DatasetVersion(models.Model):
    """Immutable once ready: numbered, hashed, with a card. ``spec`` says what was asked, ``manifest`` what was made."""

    public_id = public_id()
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="dataset_versions")
    number = models.PositiveIntegerField()
    state = choice_field(DatasetState, default=DatasetState.FREEZING)
    spec = models.JSONField()
    mix = models.ForeignKey(PreferenceMix, on_delete=models.PROTECT, null=True, blank=True, related_name="versions")
    card = models.JSONField(default=dict, blank=True)
    manifest = models.JSONField(default=dict, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    rows = models.PositiveBigIntegerField(default=0)
    error = models.TextField(max_length=4000, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    frozen_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "number"], name="dataset_number_once"),
            one_of(DatasetState, "state", "dataset_state"),
            set_exactly_in(["ready"], "frozen_at", "dataset_frozen"),
            models.CheckConstraint(condition=~Q(state="ready") | ~Q(sha256=""), name="dataset_ready_has_hash"),
        ]

    def __str__(self) -> str:
        return f"{self.task} · version {self.number}"


class Fidelity(models.TextChoices):
    PROXY = "proxy", "Proxy"
    SMALL = "small", "Small"
    FULL = "full", "Full"


class MixScore(models.Model):
    """How a reward model trained on a mix scored: what the performance-prediction model learns from."""

    mix = models.ForeignKey(PreferenceMix, on_delete=models.CASCADE, related_name="scores")
    metric = models.CharField(max_length=80)
    fidelity = choice_field(Fidelity)
    value = models.FloatField()
    stderr = models.FloatField(null=True, blank=True)
    seed = models.BigIntegerField(default=0)
    cost_micros = models.BigIntegerField(default=0)
    origin = models.CharField(max_length=80, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            one_of(Fidelity, "fidelity", "mix_score_fidelity"),
            models.UniqueConstraint(fields=["mix", "metric", "fidelity", "seed", "origin"], name="mix_score_once"),
        ]

    def __str__(self) -> str:
        return f"{self.metric} {self.value:.3f}"
