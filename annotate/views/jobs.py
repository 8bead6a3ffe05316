"""A job's state on any page: the part polls itself while the job is active."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_GET, require_POST

from feedback.models import Job, JobKind, JobState, Project
from feedback.services import jobs

from ..access import in_project, user_of

# the page that shows what a job made, and the name under which params or result hold its public id
RESULTS = {
    JobKind.IMPORT: ("import", "import"),
    JobKind.FREEZE: ("dataset", "dataset"),
    JobKind.PLAN: ("plan", "plan"),
    JobKind.TRAIN: ("run", "run"),
    JobKind.EVALUATE: ("evaluation", "evaluation"),
    JobKind.GENERATE: ("generation", "generation"),
    JobKind.SCORE: ("scoring", "scoring"),
    JobKind.JUDGE: ("judge", ""),
    JobKind.DESCRIBE: ("features", ""),
    JobKind.TAG: ("features", ""),
}


def job_context(request: HttpRequest, project: Project, job: Job) -> dict[str, Any]:
    """What ``components/_job.html`` needs of one job."""
    job.result_url = result_url(job, project)  # type: ignore[attr-defined]
    return {
        "project": project,
        "job": job,
        "job_title": job.get_kind_display(),
        "eta": eta_words(job),
        "can_cancel": "manage" in getattr(request, "permissions", ()),
    }


def eta_words(job: Job) -> str:
    """How long a running job still takes at its rate so far, in words; empty while that says nothing."""
    if job.state != JobState.RUNNING or not job.started_at or not 0 < job.progress_done < job.progress_total:
        return ""
    elapsed = (timezone.now() - job.started_at).total_seconds()
    left = elapsed * (job.progress_total - job.progress_done) / job.progress_done
    if left < 90:
        return f"{max(1, round(left))} s"
    return f"{round(left / 60)} min" if left < 5400 else f"{left / 3600:.1f} h"


def result_url(job: Job, project: Project) -> str:
    """The page of what the job made; empty when there is none."""
    name, key = RESULTS[JobKind(job.kind)]
    made = job.result.get(key) or job.params.get(key)
    if key and not made:
        return ""
    return reverse(name, args=[project.public_id, *([made] if key else [])])


@require_GET
@in_project("view")
def job_part(request: HttpRequest, project: Project, job: UUID) -> HttpResponse:
    return _part(request, project, get_object_or_404(project.jobs, public_id=job))


def _part(request: HttpRequest, project: Project, row: Job) -> HttpResponse:
    """The part alone; on the page of what an ended job made, the whole page has something else to show."""
    context = job_context(request, project, row)
    response = render(request, "components/_job.html", context)
    at = urlsplit(request.headers.get("HX-Current-URL", "")).path
    if not row.is_active and RESULTS[JobKind(row.kind)][1] and at == context["job"].result_url:
        response["HX-Refresh"] = "true"
    return response


@require_POST
@in_project("manage")
def job_cancel(request: HttpRequest, project: Project, job: UUID) -> HttpResponse:
    row = get_object_or_404(project.jobs, public_id=job)
    jobs.cancel(row, actor=user_of(request))
    if request.headers.get("HX-Request"):
        row.refresh_from_db()
        return _part(request, project, row)
    back = request.headers.get("Referer", "")
    if url_has_allowed_host_and_scheme(back, {request.get_host()}, request.is_secure()):
        return redirect(back)
    return redirect("overview", project.public_id)
