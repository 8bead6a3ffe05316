"""A task's features as an admin sees them: which columns there are, which of them count, and describing as a job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from feedback.exceptions import InvalidInput
from feedback.models import AuditEvent, Job, JobKind, Task, User
from feedback.services import jobs
from feedback.services.jobs import JobContext
from routing.features.columns import source_of
from routing.features.tagged import TAGGED
from routing.judge.tagging import DIMENSIONS

from ..models import TaskFeatures
from .describing import Described, described

MOST_LEFT_OUT = 200
MOST_SOURCE = 200


@dataclass(frozen=True)
class OwnSource:
    """A tag or a metadata field of the team's: its columns, how many instances carry each, and whether it counts."""

    name: str
    columns: tuple[tuple[str, int], ...]
    counts: bool

    @property
    def instances(self) -> int:
        return sum(count for _, count in self.columns)


def features_of(task: Task) -> TaskFeatures:
    """What is known of a task's features; a row that is not stored before there is something to say."""
    return TaskFeatures.objects.select_related("job").filter(task=task).first() or TaskFeatures(task=task)


def own_sources(known: TaskFeatures) -> list[OwnSource]:
    """The sources of a task's own columns, the most carried first; one that is left out stays on the list."""
    own = [name for name in known.left_out if not name.startswith(TAGGED)]
    columns: dict[str, list[tuple[str, int]]] = {name: [] for name in own}
    for one in known.columns:
        columns.setdefault(source_of(one["name"]), []).append((one["name"], one["count"]))
    found = [OwnSource(name, tuple(each), name not in known.left_out) for name, each in columns.items()]
    return sorted(found, key=lambda one: (-one.instances, one.name))


def leave_out(task: Task, sources: Sequence[str], *, actor: User | None) -> TaskFeatures:
    """Say which tags and metadata fields do not count in the plans that are made from now on. Raises InvalidInput."""
    known = features_of(task)
    names = {one.name for one in own_sources(known)} | {f"{TAGGED}{name}" for name in DIMENSIONS}
    unknown = [name for name in sources if name not in names]
    if unknown or len(sources) > MOST_LEFT_OUT:
        listed = ", ".join(sorted(names)) or "none"
        sentence = f"No column is made from {unknown[0]!r}." if unknown else f"At most {MOST_LEFT_OUT}."
        raise InvalidInput(errors={"left_out": f"{sentence} There are: {listed}."[:1000]})
    with transaction.atomic():
        row, _ = TaskFeatures.objects.update_or_create(task=task, defaults={"left_out": sorted(set(sources))})
        AuditEvent.write(
            "features.leave_out", actor=actor, project=task.project, subject=task.name, left_out=row.left_out
        )
    return row


def errors_in(params: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with the sources that a plan leaves out. One that the pool does not have leaves out nothing."""
    given = params.get("left_out", [])
    fine = isinstance(given, list) and len(given) <= MOST_LEFT_OUT
    if fine and all(isinstance(one, str) and len(one) <= MOST_SOURCE for one in given):
        return {}
    return {"left_out": f"Must be a list of at most {MOST_LEFT_OUT} tags and metadata fields."}


def start_describing(task: Task, *, actor: User | None) -> Job:
    """Enqueue describing what is not described yet; while one waits or runs, that one."""
    with transaction.atomic():
        TaskFeatures.objects.get_or_create(task=task)
        row = TaskFeatures.objects.select_for_update(no_key=True, of=("self",)).select_related("job").get(task=task)
        if row.job and row.job.is_active:
            return row.job
        row.job = jobs.enqueue(JobKind.DESCRIBE, task.project, {"task": task.pk}, actor=actor)
        row.save(update_fields=["job"])
        return row.job


def run_describing(context: JobContext) -> dict[str, Any]:
    """The job's handler: describe, and keep what there is to say of it. Twice is once."""
    task = Task.objects.select_related("project").get(pk=context.params["task"])
    found = described(task, tell=lambda done, total: context.progress(done, total, "Describing instances"))
    remember(task, found)
    message = f"{len(found.ids):,} instances are described."
    context.progress(len(found.ids), len(found.ids), message)
    return {"instances": len(found.ids), "own_columns": len(found.own.names), "message": message}


def remember(task: Task, found: Described) -> None:
    """Keep for the pages which columns the pool has now, and what became of a language model's tags."""
    counts = Counter({name: int(found.own.values[:, n].sum()) for n, name in enumerate(found.own.names)})
    TaskFeatures.objects.update_or_create(
        task=task,
        defaults={
            "columns": [{"name": name, "count": count} for name, count in counts.most_common()],
            "tags": [asdict(one) for one in found.tagged],
            "recipe": found.recipe,
            "why": found.why[:600],
            "size": len(found.ids),
            "described_at": timezone.now(),
        },
    )
