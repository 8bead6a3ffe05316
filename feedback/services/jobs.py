"""Long work that survives anything: claim, heartbeat, fence, finish, sweep.

Protocol (``docs/architecture.md`` has the picture): a request writes a row and wakes a worker; the worker claims the
row by one conditional UPDATE that increments ``fence``; every later write says ``fence = mine AND state = running``,
and no row changed means that somebody else has the job: stop and leave no trace.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils.module_loading import autodiscover_modules
from kombu.exceptions import OperationalError as BrokerError

from ..exceptions import FeedbackError, WrongState
from ..models import AuditEvent, Job, JobKind, JobState, Project, User

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=30)
HEARTBEAT_SECONDS = 5.0
RESEND_AFTER = timedelta(seconds=15)
MAX_ATTEMPTS = 3


class JobCancelled(FeedbackError):
    """The job was cancelled."""

    code = "cancelled"


CANCELLED = JobCancelled().message


class FenceLost(FeedbackError):
    """Another worker has taken this job over; nothing this one writes counts any more."""

    code = "fence-lost"


class JobContext:
    """What a handler holds while it works: the job's parameters, and fenced ways to report."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.params: dict[str, Any] = job.params
        self._lost = threading.Event()

    def mine(self) -> Any:
        return Job.objects.filter(pk=self.job.pk, fence=self.job.fence, state=JobState.RUNNING)

    def update(self, **fields: Any) -> None:
        """Write to the job's row while it is still ours. Raises FenceLost."""
        if self.mine().update(**fields) != 1:
            self._lost.set()
            raise FenceLost

    def progress(self, done: int, total: int, message: str = "") -> None:
        """Report progress. Raises FenceLost, or JobCancelled when somebody asked for that."""
        self.update(progress_done=done, progress_total=total, message=message[:300])
        self.check()

    def check(self) -> None:
        """Raises FenceLost or JobCancelled when this job must stop."""
        cancelled = self.mine().values_list("cancel_requested", flat=True).first()
        if cancelled is None or self._lost.is_set():
            raise FenceLost
        if cancelled:
            raise JobCancelled

    def hold(self) -> None:
        """Inside a transaction: keep it from committing unless the job is still ours. Raises FenceLost."""
        self.update(heartbeat_at=Now())

    def beat(self) -> bool:
        renewed = self.mine().update(heartbeat_at=Now(), lease_expires_at=Now() + LEASE)
        return bool(renewed == 1)


Handler = Callable[[JobContext], dict[str, Any] | None]
_HANDLERS: dict[str, Handler] = {}


def handles(kind: JobKind) -> Callable[[Handler], Handler]:
    """Register the function that does the work of one kind of job (in an app's ``tasks.py``)."""

    def register(handler: Handler) -> Handler:
        _HANDLERS[kind] = handler
        return handler

    return register


def _handler(kind: str) -> Handler:
    if kind not in _HANDLERS:
        autodiscover_modules("tasks")  # outside a worker nothing has loaded them yet
    return _HANDLERS[kind]


FailureNote = Callable[[Job, str], None]
_NOTES: dict[str, FailureNote] = {}


def notes_failure(kind: JobKind) -> Callable[[FailureNote], FailureNote]:
    """Register what tells the rows that a job was to make that it failed, and why, however it ended: also when it
    was cancelled before it began, or its worker died too often. Called inside the transaction of the job's end."""

    def register(note: FailureNote) -> FailureNote:
        _NOTES[kind] = note
        return note

    return register


def _note_failure(job: Job, sentence: str) -> None:
    _handler(job.kind)  # loads what registers the note
    if job.kind in _NOTES:
        _NOTES[job.kind](job, sentence)


def enqueue(
    kind: JobKind,
    project: Project,
    params: dict[str, Any],
    *,
    actor: User | None,
    idempotency_key: str = "",
) -> Job:
    """Write a job and wake a worker once the transaction commits. The same key returns the job it made before."""
    if idempotency_key:
        existing = Job.objects.filter(project=project, kind=kind, idempotency_key=idempotency_key).first()
        if existing:
            return existing
    try:
        with transaction.atomic():
            job = Job.objects.create(
                kind=kind, project=project, params=params, created_by=actor, idempotency_key=idempotency_key
            )
            AuditEvent.write(f"job.{kind}", actor=actor, project=project, subject=str(job.public_id))
    except IntegrityError:
        return Job.objects.get(project=project, kind=kind, idempotency_key=idempotency_key)
    transaction.on_commit(lambda: wake(job))
    return job


def wake(job: Job) -> None:
    """Tell a worker. A broker that is away loses nothing: the sweep sends again."""
    from ..tasks import run_job

    try:
        run_job.apply_async([job.pk], queue=job.queue)
    except (OSError, BrokerError) as error:
        log.warning("broker is away, job %s waits for the sweep: %s", job.public_id, error)


def worker_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident() % 10_000}"


def claim(job_id: int, worker: str) -> Job | None:
    """Take a queued job: one conditional UPDATE. ``None`` when somebody else has it or it has ended."""
    taken = Job.objects.filter(pk=job_id, state=JobState.QUEUED).update(
        state=JobState.RUNNING,
        attempt=F("attempt") + 1,
        fence=F("fence") + 1,
        lease_owner=worker,
        lease_expires_at=Now() + LEASE,
        heartbeat_at=Now(),
        started_at=Now(),
        error="",
    )
    return Job.objects.select_related("project", "created_by").get(pk=job_id) if taken else None


def run(job_id: int) -> None:
    """Claim a job and do its work; the outer edge where any error becomes the job's error sentence."""
    job = claim(job_id, worker_name())
    if job is None:
        return
    context = JobContext(job)
    try:
        with heartbeat(context):
            context.check()
            result = _handler(job.kind)(context)
        end(context, JobState.SUCCEEDED, result=result or {})
    except FenceLost:
        log.warning("job %s was taken over; this worker stops", job.public_id)
    except JobCancelled:
        end(context, JobState.CANCELLED)
    except FeedbackError as error:
        end(context, JobState.FAILED, error=error.in_full)
    except Exception as error:  # the task's outer edge
        log.exception("job %s failed", job.public_id)
        end(context, JobState.FAILED, error=f"{type(error).__name__}: {error}")


def end(context: JobContext, state: JobState, *, error: str = "", result: dict[str, Any] | None = None) -> None:
    """Write the job's end, fenced. A stale worker's end changes nothing."""
    fields: dict[str, Any] = {"state": state, "ended_at": Now(), "lease_expires_at": None, "error": error[:4000]}
    if result is not None:
        fields["result"] = result
    with transaction.atomic():
        if context.mine().update(**fields) != 1:
            log.warning("job %s ended elsewhere; this end is dropped", context.job.public_id)
        elif state != JobState.SUCCEEDED:
            _note_failure(context.job, error or CANCELLED)


@contextmanager
def heartbeat(context: JobContext) -> Iterator[None]:
    """Renew the lease every 5 s from a thread with its own database connection."""
    stop = threading.Event()

    def beat() -> None:
        try:
            while not stop.wait(HEARTBEAT_SECONDS):
                if not _beats(context):
                    context._lost.set()
                    return
        finally:
            connection.close()

    thread = threading.Thread(target=beat, name=f"heartbeat-{context.job.pk}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _beats(context: JobContext) -> bool:
    """One heartbeat; a database that is busy or away is asked again at the next one, the lease outlives several."""
    try:
        return context.beat()
    except OperationalError as error:
        log.warning("job %s: no heartbeat: %s", context.job.public_id, error)
        connection.close()
        return True


def cancel(job: Job, *, actor: User | None) -> None:
    """Ask a job to stop. A queued one ends at once, a running one within ten seconds."""
    with transaction.atomic():
        ended = Job.objects.filter(pk=job.pk, state=JobState.QUEUED).update(
            state=JobState.CANCELLED, ended_at=Now(), cancel_requested=True
        )
        if ended:
            _note_failure(job, CANCELLED)
        asked = ended or Job.objects.filter(pk=job.pk, state=JobState.RUNNING).update(cancel_requested=True)
        if not asked:
            raise WrongState("This job has already ended.")
        AuditEvent.write("job.cancel", actor=actor, project=job.project, subject=str(job.public_id))


def reap() -> int:
    """Requeue the jobs of dead workers; quarantine what killed its worker three times. Returns how many it touched."""
    overdue = Job.objects.overdue()
    poisoned = sum(_quarantine(job) for job in overdue.filter(attempt__gte=MAX_ATTEMPTS))
    revived = list(overdue.values_list("pk", flat=True))
    returned = overdue.filter(pk__in=revived).update(
        state=JobState.QUEUED, lease_expires_at=None, fence=F("fence") + 1, queued_at=Now(), message="Taken up again"
    )
    for job in Job.objects.filter(pk__in=revived, state=JobState.QUEUED):
        wake(job)
    return poisoned + returned


def _quarantine(job: Job) -> int:
    sentence = f"Its worker died {MAX_ATTEMPTS} times; it is set aside so that others can run."
    fields = {"state": JobState.QUARANTINED, "ended_at": Now(), "lease_expires_at": None, "error": sentence}
    with transaction.atomic():
        done = Job.objects.overdue().filter(pk=job.pk).update(**fields, fence=F("fence") + 1)
        if done:
            _note_failure(job, sentence)
    return done


def resend() -> int:
    """Wake workers again for jobs still queued after 15 s: the guarantee behind a broker that may forget."""
    unsent = list(Job.objects.unsent(RESEND_AFTER)[:1000])
    Job.objects.filter(pk__in=[job.pk for job in unsent], state=JobState.QUEUED).update(queued_at=Now())
    for job in unsent:
        wake(job)
    return len(unsent)
