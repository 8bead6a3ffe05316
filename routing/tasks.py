"""Which handler does which kind of job."""

from __future__ import annotations

from feedback.models import JobKind
from feedback.services import jobs

from .services import judging, planning

jobs.handles(JobKind.JUDGE)(judging.run_judging)
jobs.handles(JobKind.PLAN)(planning.run_plan)
jobs.notes_failure(JobKind.PLAN)(planning.note_failure)
