"""A job's part on any page: state, ETA, result and cancel."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.urls import reverse
from django.utils import timezone

from annotate.views.jobs import RESULTS, eta_words, result_url
from feedback.models import Job, JobKind, JobState
from tests.conftest import Cast


def running(cast: Cast, seconds: float, done: int, total: int) -> Job:
    now = timezone.now()
    return Job.objects.create(
        project=cast.project,
        kind=JobKind.FREEZE,
        state=JobState.RUNNING,
        lease_expires_at=now + timedelta(seconds=30),
        started_at=now - timedelta(seconds=seconds),
        progress_done=done,
        progress_total=total,
    )


@pytest.mark.parametrize(
    ("seconds", "done", "total", "words"),
    [(10, 50, 100, "10 s"), (60, 10, 100, "9 min"), (3600, 10, 100, "9.0 h"), (10, 0, 100, ""), (10, 0, 0, "")],
)
def test_the_time_left_follows_the_rate_so_far(cast: Cast, seconds: float, done: int, total: int, words: str) -> None:
    assert eta_words(running(cast, seconds, done, total)) == words


@pytest.mark.parametrize("kind", list(JobKind))
def test_each_kind_of_job_links_to_what_it_made(cast: Cast, kind: JobKind) -> None:
    made = str(uuid4())
    job = Job(project=cast.project, kind=kind, params={RESULTS[kind][1]: made} if RESULTS[kind][1] else {})
    assert result_url(job, cast.project).startswith(f"/p/{cast.project.public_id}/")
    assert bool(RESULTS[kind][1]) is (made in result_url(job, cast.project))


def test_an_active_job_polls_and_an_ended_one_does_not(cast: Cast, browser: Any) -> None:
    job = running(cast, 10, 5, 10)
    url = reverse("job-part", args=[cast.project.public_id, job.public_id])
    client = browser(cast.viewer)
    assert "every 2s" in client.get(url).content.decode()
    Job.objects.update(state=JobState.SUCCEEDED, ended_at=timezone.now(), lease_expires_at=None)
    assert "every 2s" not in client.get(url).content.decode()


def test_cancelling_answers_with_the_part_or_leads_back(cast: Cast, browser: Any) -> None:
    client = browser(cast.manager)
    for headers, status in (({"HX-Request": "true"}, 200), ({}, 302)):
        job = Job.objects.create(project=cast.project, kind=JobKind.FREEZE)
        url = reverse("job-cancel", args=[cast.project.public_id, job.public_id])
        assert client.post(url, headers=headers).status_code == status
        job.refresh_from_db()
        assert job.state == "cancelled"


def test_a_referer_of_another_site_is_not_followed(cast: Cast, browser: Any) -> None:
    job = Job.objects.create(project=cast.project, kind=JobKind.FREEZE)
    url = reverse("job-cancel", args=[cast.project.public_id, job.public_id])
    response = browser(cast.manager).post(url, headers={"Referer": "https://evil.example/"})
    assert response.url == reverse("overview", args=[cast.project.public_id])


def test_an_ended_job_does_not_show_the_count_it_stopped_reporting_at(cast: Cast, browser: Any) -> None:
    job = running(cast, 10, 0, 1440)
    Job.objects.filter(pk=job.pk).update(state=JobState.SUCCEEDED, lease_expires_at=None, ended_at=timezone.now())
    body = browser(cast.viewer).get(reverse("job-part", args=[cast.project.public_id, job.public_id]))
    assert "0 of 1440" not in body.content.decode()
