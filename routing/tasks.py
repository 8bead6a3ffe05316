"""Which handler does which kind of job, and what the beat wakes up: plans in rounds, requests without a slot."""

from __future__ import annotations

from celery import shared_task

from feedback.models import JobKind
from feedback.services import datasets, jobs

from .services import judging, planning, posteriors, requests, rounds, tagging, task_features

jobs.handles(JobKind.JUDGE)(judging.run_judging)
jobs.handles(JobKind.TAG)(tagging.run_tagging)
jobs.handles(JobKind.DESCRIBE)(task_features.run_describing)
jobs.handles(JobKind.PLAN)(planning.run_plan)
jobs.notes_failure(JobKind.PLAN)(planning.note_failure)
datasets.beliefs_come_from(posteriors.posterior_of)


@shared_task
def next_rounds() -> None:
    rounds.advance()


@shared_task
def reopen_slots() -> None:
    requests.reopen()
