"""R7: whatever is torn away while somebody types, at most two seconds of typing are lost, and no tab undoes another.

``LOSS_RUNS=50`` runs each case fifty times, each with other pauses and another moment; two are run by default.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.browser.visiting import Site, Visitors, eventually
from tests.conftest import Cast, make_cast

RUNS = int(os.environ.get("LOSS_RUNS", "2"))
MOST_LOST = 2.0
SETTLED = re.compile("^(Saved|Changed in another tab)$")
SLACK = 0.3  # what it takes from the key to the script, on a machine that is busy with other tests

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("run", range(RUNS)),
]


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return make_cast(instances=2)


class Typist:
    """Types into the own-reason field at a person's pace, and remembers when each character was there."""

    def __init__(self, page: Page, luck: random.Random) -> None:
        self.page, self.luck = page, luck
        self.field = page.get_by_label("Own reason")
        self.typed, self.times = "", list[float]()

    def type(self, seconds: float) -> None:
        self.field.focus()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            character = self.luck.choice("etaoin shrdlu" if self.typed else "etaoin")  # an answer begins with no space
            self.page.keyboard.insert_text(character)
            self.typed += character
            self.times.append(time.monotonic())
            time.sleep(self.luck.uniform(0.02, 0.3))

    def lost_seconds(self, kept: str) -> float:
        """From the first character that is not in ``kept`` to now, when the typing was cut off."""
        assert self.typed.startswith(kept.rstrip()), "what came back was never typed"
        missing = len(kept)
        return self.cut - self.times[missing] if missing < len(self.typed.rstrip()) else 0.0

    def stop(self) -> None:
        self.cut = time.monotonic()


def open_work(page: Page, cast: Cast) -> None:
    page.goto(f"/label/{cast.task.public_id}/")
    expect(page.locator("#save-state")).to_have_text("Saved")


def draft_text() -> str:
    """The own reason in the one draft on the server."""
    from feedback.models import Assignment

    return str(Assignment.objects.get().draft.get("overall", {}).get("other_reason", ""))


@pytest.mark.parametrize("offline", [False, True], ids=["online", "offline"])
def test_a_killed_browser(chromium: Any, site: Site, cast: Cast, tmp_path: Path, run: int, offline: bool) -> None:
    visitors = Visitors(chromium, site)
    luck = random.Random(f"killed {run} {offline}")

    def launch() -> BrowserContext:
        made = chromium.browser_type.launch_persistent_context(
            tmp_path / "profile",
            executable_path=next(filter(None, map(shutil.which, CHROMIUM))),
            args=ARGUMENTS,
            base_url=site.url,
        )
        made.add_cookies([visitors._session(cast.annotator)])
        return made  # type: ignore[no-any-return]

    page = launch().new_page()
    open_work(page, cast)
    page.context.set_offline(offline)
    typist = Typist(page, luck)
    typist.type(luck.uniform(1.0, 5.0))
    typist.stop()
    kill(tmp_path / "profile")
    again = launch()
    page = again.new_page()
    page.goto(f"/label/{cast.task.public_id}/")
    if offline:
        expect(page.get_by_text("Your unsaved answers were restored from this browser")).to_be_visible()
    expect(page.locator("#save-state")).to_have_text("Saved")
    kept = page.get_by_label("Own reason").input_value()
    again.close()
    assert typist.lost_seconds(kept) <= MOST_LOST + SLACK


def kill(profile: Path) -> None:
    """SIGKILL to every process of the browser that was started with this profile."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            started = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if f"--user-data-dir={profile}".encode() in started:
            os.kill(int(folder.name), signal.SIGKILL)


def test_a_minute_without_a_network(visitors: Visitors, cast: Cast, run: int) -> None:
    visitors.faults.expected.append("ERR_INTERNET_DISCONNECTED|ERR_FAILED")
    luck = random.Random(f"offline {run}")
    page = visitors.page(cast.annotator)
    page.clock.install()
    open_work(page, cast)
    typist = Typist(page, luck)
    typist.type(luck.uniform(0.2, 1.5))
    page.context.set_offline(True)
    typist.type(luck.uniform(0.5, 2.0))
    expect(page.locator("#save-state")).to_have_text("Offline: kept here")
    page.clock.fast_forward(60_000)
    typist.type(luck.uniform(0.2, 1.0))
    page.context.set_offline(False)
    typist.stop()
    eventually(lambda: draft_text() == typist.typed.strip(), MOST_LOST + SLACK, page=page)
    expect(page.locator("#save-state")).to_have_text("Saved")


def test_a_restarted_server(visitors: Visitors, site: Site, cast: Cast, run: int) -> None:
    visitors.faults.expected.append("ERR_CONNECTION|ERR_EMPTY_RESPONSE|ERR_FAILED|ERR_SOCKET")
    luck = random.Random(f"restart {run}")
    page = visitors.page(cast.annotator)
    open_work(page, cast)
    typist = Typist(page, luck)
    typist.type(luck.uniform(0.3, 2.0))
    site.restart(luck.uniform(0.1, 1.0))
    typist.type(luck.uniform(0.3, 2.0))
    typist.stop()
    eventually(lambda: draft_text() == typist.typed.strip(), 16, page=page)
    expect(page.locator("#save-state")).to_have_text("Saved")


def test_an_expired_login(visitors: Visitors, cast: Cast, run: int) -> None:
    from annotate.models import Session

    visitors.faults.expected.append("status of 40[139]")
    luck = random.Random(f"login {run}")
    page = visitors.page(cast.annotator)
    open_work(page, cast)
    typist = Typist(page, luck)
    typist.type(luck.uniform(0.2, 1.5))
    Session.objects.all().delete()
    typist.type(luck.uniform(0.3, 1.5))
    expect(page.locator("#save-state")).to_have_text("Signed out: kept here")
    page.context.add_cookies([visitors._session(cast.annotator)])
    page.get_by_role("button", name="Sign in").click()
    eventually(lambda: draft_text() == typist.typed.strip(), page=page)
    expect(page.get_by_label("Own reason")).to_have_value(typist.typed.strip())


def test_two_tabs(visitors: Visitors, cast: Cast, run: int) -> None:
    """Every word typed is on the server or still on the screen of a tab that says so; no tab shows what is not so."""
    visitors.faults.expected.append("status of 409")
    luck = random.Random(f"tabs {run}")
    context = visitors.context(cast.annotator)
    tabs = [context.new_page(), context.new_page()]
    for tab in tabs:
        open_work(tab, cast)
    words: list[str] = []
    for number in range(luck.randint(2, 6)):
        tab = luck.choice(tabs)
        tab.bring_to_front()
        words.append(f"word{number}")
        tab.get_by_label("Own reason").press_sequentially(f"{words[-1]} ")
        if luck.random() < 0.5:
            time.sleep(luck.uniform(0, 1.2))
    for tab in tabs:
        expect(tab.locator("#save-state")).to_have_text(SETTLED)
    screens = [tab.get_by_label("Own reason").input_value() for tab in tabs]
    seen = " ".join([draft_text(), *screens])
    assert [word for word in words if word not in seen] == []
    for tab, screen in zip(tabs, screens, strict=True):
        agrees = screen.strip() == draft_text() or not screen
        assert agrees or tab.locator("#save-state").inner_text() == "Changed in another tab"
