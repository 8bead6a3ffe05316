"""A site that listens, people who visit it in Chromium, and a worker: the three parties of a browser test."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.core.servers.basehttp import ThreadedWSGIServer
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.test import Client
from django.test.testcases import QuietWSGIRequestHandler
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, Request, WebError

BACKEND = "annotate.sessions.Backend"


class Site:
    """The real WSGI application, middleware and static files included, on a port of this process (0: a free one)."""

    def __init__(self, port: int = 0) -> None:
        self.start(port)

    def start(self, port: int) -> None:
        self.server = ThreadedWSGIServer(("127.0.0.1", port), QuietWSGIRequestHandler)
        self.server.set_app(get_wsgi_application())
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def stop(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def restart(self, away_seconds: float) -> None:
        """Be gone for a while, then answer at the same address."""
        port = self.server.server_port
        self.stop()
        time.sleep(away_seconds)
        self.start(port)


class Worker(threading.Thread):
    """Does queued jobs one after another with their real handlers, as a Celery worker does, and what the beat does."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = threading.Event()

    def run(self) -> None:
        import routing.tasks  # noqa: F401 - registers its handlers
        import training.tasks  # noqa: F401 - registers its handler
        from feedback.models import Job, JobState
        from feedback.services import jobs
        from routing.services import rounds

        try:
            while not self.ended.wait(0.1):
                rounds.advance()
                for job in Job.objects.filter(state=JobState.QUEUED).order_by("pk").values_list("pk", flat=True):
                    jobs.run(job)
        finally:
            connection.close()

    def stop(self) -> None:
        self.ended.set()
        self.join()


@dataclass
class Faults:
    """What must not happen in a browser: script errors, refused policies, dialogs, requests to elsewhere.

    ``expected`` are patterns of console lines that a test provokes itself, such as a 409 that the page handles.
    """

    origin: str
    seen: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        context.on("console", self._console)
        context.on("weberror", self._web_error)
        context.on("dialog", self._dialog)
        context.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        refused = "Content Security Policy" in message.text
        if message.type == "error" or refused:
            page = message.page.url if message.page else ""
            self.seen.append(f"console: {message.text} [{message.location.get('url') or page}]")

    def _web_error(self, error: WebError) -> None:
        self.seen.append(f"script error: {error.error}")

    def _dialog(self, dialog: Dialog) -> None:
        self.seen.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _request(self, request: Request) -> None:
        if not request.url.startswith((self.origin, "data:", "blob:", "about:")):
            self.seen.append(f"request to elsewhere: {request.url}")

    @property
    def unexpected(self) -> list[str]:
        return [line for line in self.seen if not any(re.search(pattern, line) for pattern in self.expected)]


class Visitors:
    """Opens browsers for people. Each person has a context of their own: cookies, storage, offline switch."""

    def __init__(self, chromium: Browser, site: Site) -> None:
        self.chromium, self.site = chromium, site
        self.faults = Faults(site.url)
        self.contexts: list[BrowserContext] = []

    def context(self, user: Any = None, *, width: int = 1440, scheme: Any = "light") -> BrowserContext:
        """A fresh browser, signed in as ``user`` unless there is none."""
        made = self.chromium.new_context(
            base_url=self.site.url,
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            reduced_motion="reduce",
            locale="en-GB",
        )
        made.set_default_timeout(15_000)
        self.faults.watch(made)
        self.contexts.append(made)
        if user is not None:
            made.add_cookies([self._session(user)])
        return made

    def page(self, user: Any = None, **options: Any) -> Page:
        return self.context(user, **options).new_page()

    def _session(self, user: Any) -> Any:
        client = Client()
        client.force_login(user, backend=BACKEND)
        name = settings.SESSION_COOKIE_NAME
        return {"name": name, "value": client.cookies[name].value, "url": self.site.url}

    def close(self) -> None:
        for context in self.contexts:
            context.close()


Until = Callable[[], Any]


def eventually(seen: Until, seconds: float = 10.0, *, page: Page | None = None) -> Any:
    """What ``seen`` answers once it is true. Raises AssertionError when that does not happen in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := seen():
            return found
        if page:
            page.wait_for_timeout(50)  # lets the browser's events in
        else:
            time.sleep(0.05)
    raise AssertionError("it did not happen in time")
