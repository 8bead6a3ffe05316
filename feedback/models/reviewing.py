"""What reviewers add to an instance: comments, what became of a flag, a decision where annotators disagree."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models import Q

from .annotations import Annotation, Assignment
from .columns import choice_field, one_of, public_id, set_exactly_in
from .people import User
from .tasks import Instance


class CommentQuerySet(models.QuerySet["Comment"]):
    def standing(self) -> Self:
        return self.filter(deleted_at=None)


class Comment(models.Model):
    """One line of an instance's thread. A deleted one keeps its row, not its words."""

    public_id = public_id()
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="comments")
    author = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    text = models.TextField(max_length=4000, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    edited_at = models.DateTimeField(null=True, blank=True)
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolved_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    deleted_at = models.DateTimeField(null=True, blank=True)

    objects = CommentQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(deleted_at__isnull=True) | Q(text=""), name="comment_deleted_has_no_words"
            ),
            models.CheckConstraint(
                condition=Q(resolved_at__isnull=True, resolved_by__isnull=True)
                | Q(resolved_at__isnull=False, resolved_by__isnull=False),
                name="comment_resolved_by_somebody",
            ),
        ]
        indexes = [
            models.Index(fields=["instance", "id"], condition=Q(deleted_at=None), name="comment_thread"),
        ]

    def __str__(self) -> str:
        return f"{self.author}: {self.text[:40]}"


class FlagAction(models.TextChoices):
    RESTORED = "restored", "Kept in the queue"
    REMOVED = "removed", "Removed"
    SENT_ON = "sent-on", "Sent to another person"


class FlagDecision(models.Model):
    """What a reviewer did about one flag. A flag without a decision is open."""

    assignment = models.OneToOneField(
        Assignment, on_delete=models.CASCADE, primary_key=True, related_name="flag_decision"
    )
    action = choice_field(FlagAction)
    note = models.TextField(max_length=4000, blank=True)
    decided_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    decided_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [one_of(FlagAction, "action", "flag_decision_action")]

    def __str__(self) -> str:
        return f"{self.assignment} {self.action}"


class AdjudicationState(models.TextChoices):
    STANDING = "standing", "Standing"
    UNDONE = "undone", "Undone"


class Adjudication(models.Model):
    """A reviewer's decision on one instance.

    What was decided is ``annotation`` (state ``decided``, so that no vote count sees it). ``took`` is the annotation
    it repeats, none when the reviewer answered anew; ``saw`` are the annotations that lay before the reviewer.
    """

    public_id = public_id()
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="adjudications")
    annotation = models.OneToOneField(Annotation, on_delete=models.CASCADE, related_name="adjudication")
    took = models.ForeignKey(Annotation, on_delete=models.CASCADE, null=True, blank=True, related_name="taken_by")
    saw = models.ManyToManyField(Annotation, related_name="seen_by")
    blind = models.BooleanField(default=True)
    reason = models.TextField(max_length=4000)
    state = choice_field(AdjudicationState, default=AdjudicationState.STANDING)
    decided_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    decided_at = models.DateTimeField(auto_now_add=True)
    undone_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    undone_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            one_of(AdjudicationState, "state", "adjudication_state"),
            set_exactly_in(["undone"], "undone_at", "adjudication_undone"),
            models.UniqueConstraint(
                fields=["instance"], condition=Q(state="standing"), name="adjudication_standing_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.decided_by} on {self.instance}"
