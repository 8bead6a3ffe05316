"""Chromium against the real site. A test fails on any console error, script error, refused policy, foreign request."""

from __future__ import annotations

import faulthandler
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.visiting import Site, Visitors, Worker

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]


AT_MOST = 600.0
"""Seconds of one test. Closing a page once waited for Chromium for ever."""


@pytest.fixture(autouse=True)
def ends() -> Iterator[None]:
    """A test that hangs says where and ends its process; another takes over and tries it again."""
    faulthandler.dump_traceback_later(AT_MOST, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser for one module: Playwright's event loop must not outlive it, other tests have loops of their own."""
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        pytest.skip(f"no Chromium: none of {', '.join(CHROMIUM)} is installed")
    from playwright.sync_api import sync_playwright

    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Playwright's loop runs in this thread, though nothing here is asynchronous
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def collected() -> None:
    """Static files under their hashed names, as they are served outside of tests."""
    from django.core.management import call_command

    call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture
def site(transactional_db: None, collected: None, settings: Any, tmp_path: Path) -> Iterator[Site]:
    settings.FILES_DIR, settings.MODELS_DIR = tmp_path / "files", tmp_path / "models"
    settings.TRAIN_THREADS = 1
    running = Site()
    yield running
    running.stop()


@pytest.fixture
def visitors(chromium: Any, site: Site) -> Iterator[Visitors]:
    opened = Visitors(chromium, site)
    yield opened
    opened.close()
    if opened.faults.unexpected:
        pytest.fail("\n".join(opened.faults.unexpected), pytrace=False)


@pytest.fixture
def worker(site: Site) -> Iterator[Worker]:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    working = Worker()
    working.start()
    yield working
    working.stop()
