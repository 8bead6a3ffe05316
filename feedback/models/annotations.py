"""Who was lent what, and what they said of it."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self

from django.db import models
from django.db.models import OuterRef, Q, Subquery
from django.utils import timezone

from ..questions import Question, parse_questions
from .columns import choice_field, one_of, public_id, set_exactly_in
from .people import Annotator, User
from .tasks import GuidelineVersion, Instance, QuestionsVersion, Task


class Source(models.TextChoices):
    HUMAN = "human", "Person"
    JUDGE = "judge", "Judge"
    SIMULATED = "simulated", "Simulated"


class RequestState(models.TextChoices):
    OPEN = "open", "Open"
    DONE = "done", "Done"
    ABSTAINED = "abstained", "Abstained"
    WITHDRAWN = "withdrawn", "Withdrawn"


class AnnotationRequest(models.Model):
    """That ``wanted`` annotations of one kind are asked for an instance: what a routing decision becomes.

    ``origin`` names who asked (``plan:<public id>``), since the ground knows no plans. Only people who have ``skill``
    answer it: until it ends, its instance asks for that skill, which it does not by itself.
    """

    public_id = public_id()
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="requests")
    source = choice_field(Source)
    judge = models.ForeignKey(Annotator, on_delete=models.PROTECT, null=True, blank=True, related_name="requests")
    wanted = models.PositiveSmallIntegerField(default=1)
    received = models.PositiveSmallIntegerField(default=0)
    price_micros = models.BigIntegerField(default=0)
    skill = models.CharField(max_length=40, blank=True, default="", db_default="")
    state = choice_field(RequestState, default=RequestState.OPEN)
    origin = models.CharField(max_length=80, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            one_of(Source, "source", "request_source"),
            one_of(RequestState, "state", "request_state"),
            set_exactly_in(["done", "abstained", "withdrawn"], "ended_at", "request_ended"),
            models.UniqueConstraint(fields=["instance", "source"], condition=Q(state="open"), name="request_open_once"),
            models.CheckConstraint(condition=Q(received__lte=models.F("wanted")), name="request_not_overfilled"),
        ]
        indexes = [models.Index(fields=["origin", "state"], name="request_origin")]

    def __str__(self) -> str:
        return f"{self.source} × {self.wanted}"


class AssignmentState(models.TextChoices):
    LENT = "lent", "Lent"
    SUBMITTED = "submitted", "Submitted"
    SKIPPED = "skipped", "Skipped"
    FLAGGED = "flagged", "Flagged"
    EXPIRED = "expired", "Expired"
    REQUEUED = "requeued", "Given to someone else"


class AssignmentQuerySet(models.QuerySet["Assignment"]):
    def lent(self) -> Self:
        return self.filter(state=AssignmentState.LENT)

    def with_questions(self) -> Self:
        """Rows that bring the questions they ask, so that a list of them needs no query for each."""
        version = QuestionsVersion.objects.filter(task=OuterRef("task"), number=OuterRef("questions_version"))
        return self.annotate(asked=Subquery(version.values("questions")))


class Assignment(models.Model):
    """An instance lent to an annotator, with a lease. ``order`` lists stored completion indexes as shown.

    It asks the questions of ``questions_version``, so a change of the task's questions breaks no work under way;
    ``set_aside`` holds draft answers that the present questions have no place for.
    """

    public_id = public_id()
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="assignments")
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="assignments")
    annotator = models.ForeignKey(Annotator, on_delete=models.PROTECT, related_name="assignments")
    guideline = models.ForeignKey(GuidelineVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    questions_version = models.PositiveIntegerField(default=1)
    order = models.JSONField()
    state = choice_field(AssignmentState, default=AssignmentState.LENT)
    lease_expires_at = models.DateTimeField()
    draft = models.JSONField(default=dict, blank=True)
    draft_version = models.PositiveIntegerField(default=0)
    set_aside = models.JSONField(default=dict, blank=True)
    active_ms = models.PositiveBigIntegerField(default=0)
    reason = models.CharField(max_length=40, blank=True)
    comment = models.TextField(max_length=4000, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = AssignmentQuerySet.as_manager()
    place: QueuePlace | None = None
    """Where its annotator stood when it was lent; not a column, and only there on what ``next_assignment`` returns."""

    class Meta:
        constraints = [
            one_of(AssignmentState, "state", "assignment_state"),
            set_exactly_in(["submitted", "skipped", "flagged", "expired", "requeued"], "ended_at", "assignment_ended"),
            models.UniqueConstraint(fields=["instance", "annotator"], name="assignment_once_per_person"),
        ]
        indexes = [
            models.Index(fields=["annotator", "task", "state"], name="assignment_of_annotator"),
            models.Index(fields=["lease_expires_at"], condition=Q(state="lent"), name="assignment_lease"),
            models.Index(fields=["task", "instance"], condition=Q(state="flagged"), name="assignment_flagged"),
        ]

    def __str__(self) -> str:
        return f"{self.instance} → {self.annotator}"

    @property
    def questions(self) -> list[dict[str, Any]]:
        asked: list[dict[str, Any]] | None = getattr(self, "asked", None)
        return asked if asked is not None else self.task.questions_of(self.questions_version)

    @cached_property
    def parsed_questions(self) -> list[Question]:
        if self.questions_version == self.task.questions_version:
            return self.task.parsed_questions
        return parse_questions(self.questions)


class Line(models.Model):
    """A task's line of open instances: ``epoch`` rises when it is formed anew, ``returns`` counts who came back to it.

    A row of its own, since it is locked by whoever hands an instance back (``services/queue/line.py``).
    """

    task = models.OneToOneField(Task, on_delete=models.CASCADE, primary_key=True, related_name="line")
    epoch = models.PositiveIntegerField(default=0)
    returns = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"line of {self.task}"


class QueuePlace(models.Model):
    """Where a person stands in a task's line, and how far they are.

    Everything open in front of (``priority``, ``instance_id``) and up to return number ``returned`` was theirs already
    or does not suit them, as long as ``basis`` still says what it was worked out from (``services/queue/line.py``).
    ``done`` counts their live answers; ``goal`` is ``done`` and what was left at ``counted_at``, ``more`` when that was
    more than was counted.
    """

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="+")
    annotator = models.ForeignKey(Annotator, on_delete=models.CASCADE, related_name="places")
    basis = models.CharField(max_length=64, blank=True)
    priority = models.SmallIntegerField(default=0)
    instance_id = models.BigIntegerField(default=0)
    returned = models.PositiveBigIntegerField(default=0)
    done = models.PositiveIntegerField(default=0)
    goal = models.PositiveIntegerField(default=0)
    more = models.BooleanField(default=False)
    counted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["annotator", "task"], name="queue_place_once")]

    def __str__(self) -> str:
        return f"{self.annotator} in {self.task}"


class AnnotationState(models.TextChoices):
    SUBMITTED = "submitted", "Submitted"
    WITHDRAWN = "withdrawn", "Withdrawn"
    DECIDED = "decided", "Decided by a reviewer"


class AnnotationQuerySet(models.QuerySet["Annotation"]):
    def live(self) -> Self:
        """Votes: what people and judges said. A reviewer's decision is none."""
        return self.filter(state=AnnotationState.SUBMITTED)


class Annotation(models.Model):
    """Everything one annotator or judge said of one instance in one go.

    ``answers`` name completions by stored index. ``details`` holds what a judge adds: ``p_a``, ``orders``
    (``{"ab": value, "ba": value}``, both in stored order), ``order_consistent``, ``rationale``.
    """

    public_id = public_id()
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="annotations")
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="annotations")
    annotator = models.ForeignKey(Annotator, on_delete=models.PROTECT, related_name="annotations")
    source = choice_field(Source)
    answers = models.JSONField()
    details = models.JSONField(default=dict, blank=True)
    questions_version = models.PositiveIntegerField(default=1)
    guideline = models.ForeignKey(GuidelineVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    assignment = models.OneToOneField(
        Assignment, on_delete=models.PROTECT, null=True, blank=True, related_name="annotation"
    )
    submission_id = models.UUIDField(null=True, blank=True, unique=True)
    body_sha256 = models.CharField(max_length=64, blank=True)
    order = models.JSONField(default=list, blank=True)
    active_ms = models.PositiveBigIntegerField(default=0)
    price_micros = models.BigIntegerField(default=0)
    recorded = models.BooleanField(default=False)
    state = choice_field(AnnotationState, default=AnnotationState.SUBMITTED)
    created_at = models.DateTimeField(auto_now_add=True)
    submitted_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    objects = AnnotationQuerySet.as_manager()

    class Meta:
        constraints = [
            one_of(Source, "source", "annotation_source"),
            one_of(AnnotationState, "state", "annotation_state"),
            set_exactly_in(["withdrawn"], "withdrawn_at", "annotation_withdrawn"),
            models.UniqueConstraint(
                fields=["instance", "annotator"], condition=Q(state="submitted"), name="annotation_once_per_annotator"
            ),
            models.UniqueConstraint(fields=["instance"], condition=Q(state="decided"), name="annotation_decided_once"),
        ]
        indexes = [
            models.Index(fields=["task", "source", "state"], name="annotation_of_task"),
            models.Index(fields=["task", "-created_at"], name="annotation_recent"),
            models.Index(fields=["annotator", "-submitted_at"], name="annotation_history"),
            models.Index(fields=["annotator", "task", "-submitted_at"], name="annotation_task_history"),
        ]

    def __str__(self) -> str:
        return f"{self.annotator} on {self.instance}"


class AnnotationRevision(models.Model):
    """What an annotation said before it was edited or withdrawn."""

    annotation = models.ForeignKey(Annotation, on_delete=models.CASCADE, related_name="revisions")
    answers = models.JSONField()
    action = models.CharField(max_length=24)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")

    def __str__(self) -> str:
        return f"{self.action} {self.created_at:%Y-%m-%d %H:%M}"
