"""What a labelled pair costs: queries, and function calls through the whole stack, which no load on the machine moves.

``bench/annotating.py`` measures the same in time.
"""

from __future__ import annotations

import cProfile
import json
import pstats
import re
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from feedback.services import tasks
from tests.annotate.test_label import page_data
from tests.conftest import Cast, make_cast, make_instances

QUESTION = {"kind": "preference", "name": "overall", "title": "Which is better?", "aspects": ["helpful"]}
ANSWERS = {"overall": {"value": "a-is-slightly-better"}}
CALLS = {"page": 5_300, "submit": 3_300}
"""Seen: 4,900 and 3,180 on PostgreSQL outside of a test, whose savepoints add some 100."""


class Annotator:
    """Asks the application as a web server does: the test client would add calls of its own."""

    def __init__(self, cast: Cast) -> None:
        client = Client()
        client.force_login(cast.annotator, backend="annotate.sessions.Backend")
        self.work = f"/label/{cast.task.public_id}/"
        self.token = _token_of(client.get(self.work).content.decode())
        self._cookies = "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())
        self._application = WSGIHandler()
        self.page: dict[str, Any] = {}

    def ask(self, method: str, path: str, body: object = None) -> bytes:
        sent = json.dumps(body).encode() if body else b""
        environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "SERVER_NAME": "testserver", "SERVER_PORT": "80"}
        environ |= {"HTTP_COOKIE": self._cookies, "HTTP_X_CSRFTOKEN": self.token, "CONTENT_TYPE": "application/json"}
        environ |= {"CONTENT_LENGTH": str(len(sent)), "wsgi.input": BytesIO(sent), "wsgi.url_scheme": "http"}
        statuses: list[str] = []
        response = self._application(environ, lambda status, headers: statuses.append(status))
        assert statuses[0].startswith("20"), (statuses, response)
        return b"".join(response)

    def next(self) -> None:
        class Answer:
            content = self.ask("GET", self.work)

        self.page = page_data(Answer)

    def draft(self) -> None:
        body = {"version": self.page["draft"]["version"], "answers": ANSWERS}
        self.ask("PUT", self.page["urls"]["draft"], body)
        self.page["draft"]["version"] += 1

    def submit(self) -> None:
        body = {"submission_id": str(uuid4()), "answers": ANSWERS, "active_ms": 900}
        self.ask("POST", self.page["urls"]["submit"], body | {"version": self.page["draft"]["version"]})


def _token_of(page: str) -> str:
    found = re.search(r'name="csrf-token" content="([^"]+)"', page)
    assert found
    return found[1]


@pytest.fixture
def annotator(db: None) -> Iterator[Annotator]:
    cast = make_cast(instances=0)
    task = tasks.create_task(cast.project, "pairs", [QUESTION], actor=cast.owner, guideline="Prefer the true one.")
    make_instances(task, 30)
    tasks.open_task(task, actor=cast.owner)
    cast.task = task
    annotator = Annotator(cast)
    signals = (request_started, request_finished)
    for signal in signals:  # the test's transaction lives in this connection
        signal.disconnect(close_old_connections)
    for _ in range(3):  # what is composed and compiled once is not what a pair costs
        annotator.next()
        annotator.draft()
        annotator.submit()
    yield annotator
    for signal in signals:
        signal.connect(close_old_connections)


@pytest.mark.database
def test_a_pair_asks_the_database_a_few_times(annotator: Annotator) -> None:
    asked: dict[str, int] = {}
    for step in (annotator.next, annotator.draft, annotator.submit):
        with CaptureQueriesContext(connection) as queries:
            step()
        asked[step.__name__] = sum("SAVEPOINT" not in query["sql"] for query in queries)
    apart = int(connection.vendor != "postgresql")  # which answers several statements at once
    assert asked == {"next": 5, "draft": 3, "submit": 4 + apart}


def test_a_pair_takes_few_function_calls(annotator: Annotator) -> None:
    def calls(step: Callable[[], None]) -> int:
        profile = cProfile.Profile()
        profile.runcall(step)
        return int(pstats.Stats(profile).total_calls)  # type: ignore[attr-defined]

    assert calls(annotator.next) < CALLS["page"]
    assert calls(annotator.submit) < CALLS["submit"]
