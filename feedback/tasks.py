"""Celery's wake-ups. The work stands in the job table; running one of these twice does no harm."""

from __future__ import annotations

from celery import shared_task

from .models import JobKind
from .services import datasets, importing, jobs, queue, searching

jobs.handles(JobKind.IMPORT)(importing.run_import)
jobs.handles(JobKind.FREEZE)(datasets.run_freeze)
jobs.notes_failure(JobKind.FREEZE)(datasets.note_failure)


@shared_task
def run_job(job_id: int) -> None:
    jobs.run(job_id)


@shared_task
def sweep() -> None:
    jobs.reap()
    jobs.resend()
    queue.return_expired()
    searching.index()
