"""Which handler does which kind of job, and the beat's wake-up of plans in rounds."""

from __future__ import annotations

from celery import shared_task

from feedback.models import JobKind
from feedback.services import jobs

from .services import judging, planning, rounds

jobs.handles(JobKind.JUDGE)(judging.run_judging)
jobs.handles(JobKind.PLAN)(planning.run_plan)
jobs.notes_failure(JobKind.PLAN)(planning.note_failure)


@shared_task
def next_rounds() -> None:
    rounds.advance()
