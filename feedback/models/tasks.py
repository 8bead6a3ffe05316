"""What annotators are asked, and about what."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self

from django.db import models
from django.db.models import Q

from ..content import passage_text, passages_of, text_of
from ..questions import Question, leading_question, parse_questions
from .columns import choice_field, one_of, public_id
from .people import Project, User


class TaskState(models.TextChoices):
    DRAFT = "draft", "Draft"
    OPEN = "open", "Open"
    CLOSED = "closed", "Closed"


class TaskQuerySet(models.QuerySet["Task"]):
    def of(self, user: User) -> Self:
        return self.filter(project__memberships__user=user)


class Task(models.Model):
    """``overlap`` people label an instance; with ``plan_only`` only the instances that a plan sends to people.

    ``languages`` and ``skills`` are what everybody who labels it must read and have.
    """

    public_id = public_id()
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="tasks")
    name = models.CharField(max_length=120)
    description = models.TextField(max_length=4000, blank=True)
    state = choice_field(TaskState, default=TaskState.DRAFT)
    questions = models.JSONField()
    questions_version = models.PositiveIntegerField(default=1)
    guideline = models.ForeignKey(
        "feedback.GuidelineVersion", on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    overlap = models.PositiveSmallIntegerField(default=1)
    plan_only = models.BooleanField(default=False)
    lease_minutes = models.PositiveSmallIntegerField(default=30)
    human_price_micros = models.BigIntegerField(default=500_000)
    languages = models.JSONField(default=list, blank=True)
    skills = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")

    objects = TaskQuerySet.as_manager()

    class Meta:
        constraints = [
            one_of(TaskState, "state", "task_state"),
            models.UniqueConstraint(fields=["project", "name"], name="task_name_once"),
            models.CheckConstraint(condition=Q(overlap__gte=1, overlap__lte=100), name="task_overlap_range"),
            models.CheckConstraint(condition=Q(lease_minutes__gte=1, lease_minutes__lte=1440), name="task_lease_range"),
            models.CheckConstraint(condition=Q(human_price_micros__gte=0), name="task_price_positive"),
        ]

    def __str__(self) -> str:
        return self.name

    @cached_property
    def parsed_questions(self) -> list[Question]:
        return parse_questions(self.questions)

    def questions_of(self, number: int) -> list[dict[str, Any]]:
        """The questions as they were in version ``number``. Raises QuestionsVersion.DoesNotExist."""
        if number == self.questions_version:
            return list(self.questions)
        version = QuestionsVersion.objects.get(task=self, number=number)
        return list(version.questions)

    @property
    def preference_question(self) -> Question | None:
        """The first preference that is asked without a condition: the one that judges answer, of every pair."""
        found = leading_question(self.parsed_questions, "preference")
        return found if found and found.when is None else None


class QuestionsVersion(models.Model):
    """A task's questions as they were under one number, so that every answer can be read back. Never changed."""

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="question_versions")
    number = models.PositiveIntegerField()
    questions = models.JSONField()
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["task", "number"], name="questions_number_once")]

    def __str__(self) -> str:
        return f"{self.task} · questions {self.number}"


class QuestionsDraft(models.Model):
    """Changes to a task's questions that nobody is asked yet. Kept as entered, also while they are not right.

    Every task has this row; without ``changes`` there is no draft. ``version`` counts whatever was changed, discarding
    and putting to use too, and never starts anew: whoever saves names the one last seen, so no editor overwrites what
    another one made since.
    """

    task = models.OneToOneField(Task, on_delete=models.CASCADE, related_name="questions_draft")
    changes = models.JSONField(null=True)
    version = models.PositiveIntegerField(default=0)
    updated_at = models.DateTimeField(auto_now=True)
    updated_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")

    def __str__(self) -> str:
        return f"{self.task} · draft {self.version}"

    @property
    def questions(self) -> list[dict[str, Any]]:
        """What the builder shows: the changes, or where there is no draft what the task asks."""
        questions: list[dict[str, Any]] = self.task.questions if self.changes is None else self.changes
        return questions


class GuidelineVersion(models.Model):
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="guidelines")
    number = models.PositiveIntegerField()
    text = models.TextField(max_length=100_000, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["task", "number"], name="guideline_number_once")]

    def __str__(self) -> str:
        return f"{self.task} · guideline {self.number}"


class ImportState(models.TextChoices):
    UPLOADED = "uploaded", "Uploaded"
    CHECKED = "checked", "Checked"
    IMPORTED = "imported", "Imported"
    FAILED = "failed", "Failed"


class ImportBatch(models.Model):
    """One file (or folder) brought into a task. The same bytes with the same mapping come in once."""

    public_id = public_id()
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="imports")
    filename = models.CharField(max_length=255)
    path = models.CharField(max_length=1000)
    sha256 = models.CharField(max_length=64)
    format = models.CharField(max_length=40)
    mapping = models.JSONField(default=dict)
    state = choice_field(ImportState, default=ImportState.UPLOADED)
    report = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    imported_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            one_of(ImportState, "state", "import_state"),
            models.UniqueConstraint(
                fields=["task", "sha256"], condition=Q(state="imported"), name="import_same_file_once"
            ),
        ]

    def __str__(self) -> str:
        return self.filename


OPEN = Q(open_slots__gt=0, removed_at=None, held_at=None)


class InstanceQuerySet(models.QuerySet["Instance"]):
    def open(self) -> Self:
        return self.filter(OPEN)


class Instance(models.Model):
    """One prompt with its completions.

    ``prompt`` is a list of ``{"role", "content"}``; ``completions`` a list of ``{"content", "model"}`` whose index is
    how answers name a completion. ``open_slots`` counts the annotations people may still begin: lending takes one,
    an expired lease or a skip gives it back (unless one is ``owed``, since the overlap was lowered below what was taken
    already), and then ``returned`` says as which of the task's returns. ``lang`` (a
    language tag) and ``skill`` are what a person must read and have; empty asks nothing. ``held_at``: reported as
    harmful, and shown to nobody until a reviewer has looked.
    ``searchable``: the full-text index holds its texts (``searching``).
    """

    public_id = public_id()
    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="instances")
    batch = models.ForeignKey(ImportBatch, on_delete=models.PROTECT, null=True, blank=True, related_name="instances")
    external_id = models.CharField(max_length=200)
    prompt = models.JSONField()
    completions = models.JSONField()
    meta = models.JSONField(default=dict, blank=True)
    source = models.CharField(max_length=80, blank=True)
    prompt_hash = models.CharField(max_length=64)
    open_slots = models.PositiveSmallIntegerField(default=0)
    owed = models.PositiveSmallIntegerField(default=0, db_default=0)
    priority = models.SmallIntegerField(default=0)
    returned = models.PositiveBigIntegerField(null=True, blank=True)
    lang = models.CharField(max_length=35, blank=True, default="", db_default="")
    skill = models.CharField(max_length=40, blank=True, default="", db_default="")
    removed_at = models.DateTimeField(null=True, blank=True)
    searchable = models.BooleanField(default=False)
    held_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = InstanceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "external_id"], name="instance_external_id_once"),
            models.CheckConstraint(condition=Q(open_slots__gte=0), name="instance_open_slots_positive"),
        ]
        indexes = [
            models.Index(fields=["task", "-priority", "id", "lang", "skill"], condition=OPEN, name="instance_line"),
            models.Index(
                fields=["task", "returned", "lang", "skill"],
                condition=OPEN & Q(returned__isnull=False),
                name="instance_returned",
            ),
            models.Index(fields=["task", "prompt_hash"], name="instance_prompt"),
            models.Index(fields=["id"], condition=Q(searchable=False), name="instance_to_index"),
        ]

    def __str__(self) -> str:
        return self.external_id

    def completion_texts(self) -> list[str]:
        return [text_of(completion["content"]) for completion in self.completions]

    def prompt_texts(self) -> list[str]:
        return [text_of(message["content"]) for message in self.prompt]

    def passage_texts(self) -> list[str]:
        return [passage_text(passage) for passage in passages_of(self.meta)]
