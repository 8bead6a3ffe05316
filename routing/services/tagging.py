"""Descriptive tags by a judge's model, as a job: one call per prompt and dimension, with the money, the cache, the
retries and the fence of judging (:class:`routing.services.judging.Judging`)."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, ClassVar

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from feedback.content import text_of
from feedback.exceptions import Conflict, InvalidInput, WrongState
from feedback.models import AnnotationRequest, AuditEvent, Instance, Job, JobKind, Task, User
from feedback.services import budget, jobs
from feedback.services.jobs import JobContext
from routing.judge.asking import Material
from routing.judge.calling import CallResult
from routing.judge.calling import tag as ask_tag
from routing.judge.config import JudgeConfig
from routing.judge.cost import worst_case_cost
from routing.judge.tagging import DIMENSIONS, Dimension, tagging_config, tagging_key, tagging_prompt

from ..models import CallState, DescriptiveTag, Judge, JudgeCall
from . import calls, verdicts
from .asking import Call
from .calls import Question
from .judges import micros
from .judging import Judging

MOST_TAGGED = 100_000
SAMPLE = 20


@dataclass(frozen=True)
class TagAsking:
    """A judge's model and the dimensions in which it is asked about prompts."""

    judge: Judge
    config: JudgeConfig
    dimensions: tuple[Dimension, ...]

    def material(self, instance: Instance) -> Material | None:
        """The prompt as the model is shown it; ``None`` where there is none."""
        prompt = tuple({"role": str(m["role"]), "content": text_of(m["content"])} for m in instance.prompt)
        return Material(prompt, ()) if any(message["content"].strip() for message in prompt) else None

    def wanted(self, material: Material) -> dict[str, Call]:
        """Cache key → call."""
        return {tagging_key(self.config, one, material): Call(dimension=one.name) for one in self.dimensions}

    def worst_case_micros(self, material: Material) -> int:
        """The most that one of the calls about this prompt can cost."""
        return max(self._each(material))

    def most_for(self, material: Material) -> int:
        """The most that all of them can cost."""
        return sum(self._each(material))

    def _each(self, material: Material) -> list[int]:
        sent = [tagging_prompt(one, material, random.Random(0)).sent_bytes for one in self.dimensions]
        return [micros(worst_case_cost(self.config, size)) for size in sent]


class Tagging(Judging):
    """One run of the job. An instance is done when every dimension is answered, or named no options."""

    counted: ClassVar[tuple[str, ...]] = ("tagged", "unread", "unreached", "skipped", "spent_micros")

    def __init__(
        self, context: JobContext, task: Task, judge: Judge, pool: Sequence[int], names: Sequence[str]
    ) -> None:
        self.dimensions = tuple(DIMENSIONS[name] for name in names)
        super().__init__(context, task, judge, pool)

    def _asks(self) -> TagAsking:
        return TagAsking(self.judge, tagging_config(self.judge.parsed), self.dimensions)

    def _requests(self, batch: Sequence[int]) -> dict[int, AnnotationRequest]:
        """None: plans ask for verdicts."""
        return {}

    def _call(self, material: Material, call: JudgeCall) -> CallResult:
        dimension = DIMENSIONS[call.dimension]
        return ask_tag(self.asking.config, self.backend, material, dimension, random.SystemRandom())

    def _store(self, question: Question) -> verdicts.HandedOver | None:
        self.tally["spent_micros"] += calls.settle_calls(self.judge, self.task, question, self.secret)
        answered = [*question.calls, *question.answered]
        reached = [call for call in answered if call.state == CallState.SETTLED]
        rows = [self._row(question.instance, call) for call in reached]
        DescriptiveTag.objects.bulk_create(rows, ignore_conflicts=True)
        self.tally["unread"] += sum(row.options is None for row in rows)
        away = len(reached) < len(answered)
        self.tally["unreached" if away else "tagged"] += 1
        self.unreached_in_a_row = self.unreached_in_a_row + 1 if away else 0
        if away:
            self.last_error = next((call.error for call in question.calls if call.error), "")
        return None

    def _row(self, instance: Instance, call: JudgeCall) -> DescriptiveTag:
        options = call.said.get("choices", {}).get(call.dimension) if call.parse_status == "ok" else None
        return DescriptiveTag(instance=instance, judge=self.judge, dimension=call.dimension, options=options)

    def _told(self) -> str:
        words = [f"{self.tally['tagged']:,} tagged"]
        words += [f"{self.tally[name]:,} {name}" for name in ("unreached", "skipped") if self.tally[name]]
        unread = self.tally["unread"]
        return f"{', '.join(words)}." + (f" {unread:,} replies named no options and stay empty." if unread else "")


def untagged(task: Task, judge: Judge, names: Sequence[str]) -> QuerySet[Instance]:
    """The task's instances that this judge has not tagged in all of these dimensions."""
    said = DescriptiveTag.objects.filter(instance=OuterRef("pk"), judge=judge)
    missing = [Q(~Exists(said.filter(dimension=name))) for name in names]
    return Instance.objects.filter(reduce(or_, missing), task=task, removed_at=None).order_by("pk")


@dataclass(frozen=True)
class Estimate:
    """How many instances would be asked about, and the most that it can cost in micros."""

    instances: int
    most_micros: int


def estimate(task: Task, judge: Judge, names: Sequence[str], count: int | None) -> Estimate:
    """Before anything starts: from the worst cases of a few instances. Raises InvalidInput, WrongState."""
    check(task, judge, names, count)
    left = untagged(task, judge, names)
    size = left.count() if count is None else min(left.count(), count)
    asking = TagAsking(judge, tagging_config(judge.parsed), tuple(DIMENSIONS[name] for name in names))
    materials = [asking.material(instance) for instance in left[:SAMPLE]]
    costs = [asking.most_for(material) for material in materials if material]
    return Estimate(size, -(-sum(costs) * size // len(costs)) if costs else 0)


def check(task: Task, judge: Judge, names: Sequence[str], count: int | None) -> None:
    """Raises InvalidInput or WrongState for what cannot be tagged."""
    if judge.retired_at is not None or judge.project_id != task.project_id:
        raise WrongState("This judge is out of use; take its newest version.")
    errors = {}
    if judge.parsed.members:
        errors["judge"] = "A panel has no model of its own; choose one of its members."
    if not names or any(name not in DIMENSIONS for name in names) or len(set(names)) < len(names):
        errors["dimensions"] = f"Choose some of: {', '.join(DIMENSIONS)}."
    if count is not None and not 1 <= count <= MOST_TAGGED:
        errors["count"] = f"Choose between 1 and {MOST_TAGGED:,} instances."
    if errors:
        raise InvalidInput("This cannot be tagged.", errors=errors)


def start_tagging(
    task: Task, judge: Judge, names: Sequence[str], count: int | None, *, actor: User | None, seed: int = 0
) -> Job:
    """Enqueue tagging of ``count`` instances drawn at random, or of all that are not tagged yet. What a stopped run
    left is tagged by the next one, and nothing is paid twice. Raises InvalidInput, WrongState, Conflict."""
    check(task, judge, names, count)
    drawn = None
    if count is not None:
        left = list(untagged(task, judge, names).values_list("pk", flat=True))
        drawn = sorted(random.Random(seed).sample(left, min(count, len(left))))
    with transaction.atomic():
        budget.lock(task)
        if active_job(task) is not None:
            raise Conflict("This task is being tagged already.")
        AuditEvent.write(
            "features.tag",
            actor=actor,
            project=task.project,
            subject=task.name,
            judge=str(judge),
            dimensions=list(names),
        )
        params = {"task": task.pk, "judge": judge.pk, "dimensions": list(names), "instances": drawn}
        return jobs.enqueue(JobKind.TAG, task.project, params, actor=actor)


def active_job(task: Task) -> Job | None:
    return Job.objects.active().filter(kind=JobKind.TAG, params__task=task.pk).first()


def newest_job(task: Task) -> Job | None:
    return Job.objects.filter(kind=JobKind.TAG, project=task.project_id, params__task=task.pk).order_by("-pk").first()


def run_tagging(context: JobContext) -> dict[str, Any]:
    """The job's handler. Raises JudgeUnreachable when the endpoint fails ten instances in a row."""
    task = Task.objects.select_related("project").get(pk=context.params["task"])
    judge = Judge.objects.select_related("annotator").get(pk=context.params["judge"])
    with transaction.atomic():
        context.hold()
        budget.lock(task)
        lost = calls.end_lost_calls(task, context.job)
    names, drawn = context.params["dimensions"], context.params["instances"]
    left = untagged(task, judge, names).values_list("pk", flat=True)
    wanted = None if drawn is None else set(drawn)
    pool = [pk for pk in left if wanted is None or pk in wanted]
    return Tagging(context, task, judge, pool, names).work() | {"lost_calls": lost}


@dataclass(frozen=True)
class DimensionState:
    """How far a dimension is tagged, by the judge that tagged most of it; ``unread`` replies named no options."""

    dimension: Dimension
    judge: Judge | None
    tagged: int
    unread: int


def states_of(task: Task) -> list[DimensionState]:
    """Every dimension, with the tags of the judge that has most of them."""
    found = _counts(task)
    judges = Judge.objects.in_bulk([judge for judge, _, _ in found.values()])
    return [
        DimensionState(one, judges[found[name][0]], found[name][1], found[name][2])
        if name in found
        else DimensionState(one, None, 0, 0)
        for name, one in DIMENSIONS.items()
    ]


def _counts(task: Task) -> Mapping[str, tuple[int, int, int]]:
    """Dimension → (judge that tagged most, tags, unread ones)."""
    rows = DescriptiveTag.objects.filter(instance__task=task, instance__removed_at=None)
    counted = (
        rows.order_by()
        .values("dimension", "judge")
        .annotate(all=Count("pk"), unread=Count("pk", filter=Q(options__isnull=True)))
    )
    best: dict[str, tuple[int, int, int]] = {}
    for row in sorted(counted, key=lambda row: (row["all"], row["judge"])):
        best[row["dimension"]] = (row["judge"], row["all"], row["unread"])
    return best


def said_of(task: Task) -> dict[str, dict[int, tuple[str, ...] | None]]:
    """Dimension → instance → options, of the judge that tagged most of the task in it."""
    found: dict[str, dict[int, tuple[str, ...] | None]] = {}
    for name, (judge, _, _) in _counts(task).items():
        if name in DIMENSIONS:
            rows = DescriptiveTag.objects.filter(
                instance__task=task, instance__removed_at=None, judge=judge, dimension=name
            )
            pairs = rows.values_list("instance_id", "options")
            found[name] = {pk: None if options is None else tuple(options) for pk, options in pairs}
    return found
