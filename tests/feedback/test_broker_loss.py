"""A broker may forget everything: the rows of the job table are the truth, and the sweep sends them again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from django.db.models.functions import Now
from kombu import pools
from kombu.connection import Connection

import feedback.tasks  # noqa: F401 - registers the jobs
from annotate.celery import app
from feedback.models import Job, JobKind, JobState
from feedback.services import jobs
from tests.conftest import Cast, make_cast

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]


@dataclass
class Broker:
    """A real broker: what was sent can be taken, and everything in it can be lost."""

    url: str
    options: dict[str, Any]
    flush: Callable[[], None]

    def take(self) -> list[int]:
        """The job numbers of all waiting messages, each taken from its queue."""
        found: list[int] = []
        with Connection(self.url, transport_options=self.options) as connection:  # type: ignore[no-untyped-call]
            for name in ("default", "judge"):
                with connection.SimpleQueue(name) as waiting:
                    while True:
                        try:
                            message = waiting.get(block=False)
                        except Empty:
                            break
                        found += message.payload[0]
                        message.ack()
        return sorted(found)


def on_disk(folder: Path) -> Broker:
    names = {"data_folder_in": "queue", "data_folder_out": "queue", "control_folder": "control"}
    options = {key: str(folder / name) for key, name in names.items()}

    def flush() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        for path in options.values():
            Path(path).mkdir(parents=True, exist_ok=True)

    flush()
    return Broker("filesystem://localhost", options, flush)


def in_redis() -> Broker:
    url = os.environ.get("TEST_REDIS_URL")
    if not url:
        pytest.skip("no Redis to lose: set TEST_REDIS_URL to a database that may be emptied")
    import redis

    def flush() -> None:
        with redis.Redis.from_url(url) as client:
            client.flushdb()

    flush()
    return Broker(url, {}, flush)


@pytest.fixture(params=["filesystem", "redis"])
def broker(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    made = on_disk(tmp_path) if request.param == "filesystem" else in_redis()
    before = app.conf.broker_url, app.conf.broker_transport_options
    _connect(made.url, made.options)
    yield made
    made.flush()
    _connect(*before)


def _connect(url: str, options: dict[str, Any]) -> None:
    app.conf.update(broker_url=url, broker_write_url=url, broker_read_url=url, broker_transport_options=options)
    pools.reset()  # type: ignore[no-untyped-call]
    app._pool = app.amqp._producer_pool = None


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the jobs that were worked on."""
    done: list[int] = []
    for kind in (JobKind.IMPORT, JobKind.JUDGE):
        monkeypatch.setitem(jobs._HANDLERS, kind, lambda context: done.append(context.job.pk))
    return done


def enqueue(cast: Cast, count: int) -> list[int]:
    kinds = [JobKind.IMPORT, JobKind.JUDGE]
    return sorted(jobs.enqueue(kinds[n % 2], cast.project, {}, actor=cast.owner).pk for n in range(count))


def seconds_later(seconds: int) -> None:
    Job.objects.update(queued_at=Now() - timedelta(seconds=seconds))


def test_no_job_is_lost_when_the_broker_is_flushed(broker: Broker, runs: list[int]) -> None:
    wanted = enqueue(make_cast(instances=0), 5)
    broker.flush()
    assert broker.take() == []
    seconds_later(16)
    assert jobs.resend() == 5
    sent = broker.take()
    assert sent == wanted
    for number in sent:
        jobs.run(number)
    assert sorted(runs) == wanted
    assert set(Job.objects.values_list("state", flat=True)) == {JobState.SUCCEEDED}


def test_a_job_whose_worker_died_comes_back_through_an_empty_broker(broker: Broker, runs: list[int]) -> None:
    (number,) = enqueue(make_cast(instances=0), 1)
    assert broker.take() == [number]
    assert jobs.claim(number, "killed") is not None
    broker.flush()
    Job.objects.update(lease_expires_at=Now() - timedelta(seconds=1))
    assert jobs.reap() == 1
    assert broker.take() == [number]
    jobs.run(number)
    assert runs == [number]


def test_a_message_that_arrives_twice_does_the_work_once(broker: Broker, runs: list[int]) -> None:
    wanted = enqueue(make_cast(instances=0), 3)
    seconds_later(16)
    jobs.resend()  # the first messages were late, not lost
    sent = broker.take()
    assert sent == sorted(wanted * 2)
    for number in sent:
        jobs.run(number)
    assert sorted(runs) == wanted


def test_a_broker_that_is_away_loses_nothing(broker: Broker, runs: list[int]) -> None:
    _connect("redis://127.0.0.1:1/0", {"socket_connect_timeout": 0.2, "max_retries": 0})
    (number,) = enqueue(make_cast(instances=0), 1)
    assert Job.objects.get().state == JobState.QUEUED
    _connect(broker.url, broker.options)
    seconds_later(16)
    jobs.resend()
    assert broker.take() == [number]
