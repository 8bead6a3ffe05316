"""Submissions under double clicks, retries after a reset and killed web processes: none lost, none doubled.

``python bench/kills.py [--quick | --full] [--device cpu] [--sqlite]``; one JSON object a line. The web process runs
under the product's own supervisor (``manage.py serve``). Each submission is sent until it is answered, always with the
same id; at the end a history checker compares what people were told with what is stored.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from annotating import POSTGRES, REPOSITORY, environment_of, in_django, line, scratch
from load.client import ANSWERS, Annotator, Connection
from load.servers import Server, family, free_port

SIZES = {"quick": (1000, 5), "usual": (3000, 10), "full": (20_000, 30)}
DOUBLE = RESET = 0.05
APART = 12.5
"""Seconds between kills: the supervisor gives up on a part that dies more than five times within a minute."""
STALLED = 60
SUPERVISED = """
import django
django.setup()
from annotate.management.commands.serve import processes, supervise
supervise({"web": processes("127.0.0.1", int(__import__("sys").argv[1]))["web"]})
"""
LOST_CONNECTION = (OSError, asyncio.IncompleteReadError)
Answer = TypeVar("Answer")


@dataclass
class Tally:
    """What the people saw. ``told`` maps a submission's id to the annotation that its 2xx named."""

    submissions: int
    kills: int
    told: dict[str, str] = field(default_factory=dict)
    by_person: Counter[int] = field(default_factory=Counter)
    killed: int = 0
    doubles: int = 0
    resets: int = 0
    retries: int = 0
    odd: list[tuple[int, str]] = field(default_factory=list)

    @property
    def over(self) -> bool:
        return len(self.told) >= self.submissions and self.killed >= self.kills


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", dest="size", action="store_const", const="quick", default="usual")
    size.add_argument("--full", dest="size", action="store_const", const="full", help="20,000 submissions and 30 kills")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="nothing here runs on a GPU")
    parser.add_argument("--submissions", type=int)
    parser.add_argument("--kills", type=int)
    parser.add_argument("--people", type=int, help="64, on SQLite 16")
    parser.add_argument("--postgres", default=os.environ.get("DATABASE_URL", POSTGRES))
    parser.add_argument("--sqlite", action="store_true")
    options = parser.parse_args()
    submissions, kills = SIZES[options.size]
    tally = Tally(options.submissions or submissions, kills if options.kills is None else options.kills)
    with scratch("" if options.sqlite else options.postgres) as url, tempfile.TemporaryDirectory() as folder:
        measure(tally, environment_of(Path(folder), url), options.people or (64 if url else 16), bool(url))


def measure(tally: Tally, environment: dict[str, str], people: int, postgres: bool) -> None:
    enough = tally.submissions + int(tally.kills * APART) * 200  # people go on until the last kill
    known = in_django(environment, "furnish", str(enough))
    port, began = free_port(), time.monotonic()
    server = Server([sys.executable, "-c", SUPERVISED, str(port)], port, environment, REPOSITORY)
    try:
        asyncio.run(run(server, known, tally, people))
    finally:
        server.stop()
    seconds = time.monotonic() - began
    checked = in_django(environment, "check", stdin=json.dumps(list(tally.told.values())))
    tell(tally, checked, seconds, people, postgres)


async def run(server: Server, known: dict[str, Any], tally: Tally, count: int) -> None:
    people = [Annotator(server.port, known["task"]) for _ in range(count)]
    for person, link in zip(people, known["links"], strict=False):
        await person.log_in(link)
    async with asyncio.TaskGroup() as group:
        group.create_task(kill(server, tally))
        group.create_task(watch(tally))
        for number, person in enumerate(people):
            group.create_task(label(number, person, tally))


async def kill(server: Server, tally: Tally) -> None:
    """In turn what answers, its parent, and both; evenly over the submissions, while people work."""
    while tally.killed < tally.kills:
        await asyncio.sleep(APART)
        while len(tally.told) < tally.killed * tally.submissions / tally.kills:
            await asyncio.sleep(0.05)
        parent, *children = family(server.process.pid)[1:]
        for pid in (children, [parent], [parent, *children])[tally.killed % 3]:
            os.kill(pid, signal.SIGKILL)
        tally.killed += 1


async def watch(tally: Tally) -> None:
    """Raises when nothing was answered for a minute."""
    seen, since = -1, time.monotonic()
    while not tally.over:
        if len(tally.told) > seen:
            seen, since = len(tally.told), time.monotonic()
        if time.monotonic() - since > STALLED:
            raise RuntimeError(f"Nothing was answered for {STALLED} s, after {seen} submissions: {tally.odd[-5:]}")
        await asyncio.sleep(0.5)


async def label(number: int, person: Annotator, tally: Tally) -> None:
    while not tally.over:
        page = await until_answered(person.connection, tally, person.next)
        if page is None:
            tally.odd.append((0, "a page without an instance"))
            await asyncio.sleep(0.5)
            continue
        body = {"submission_id": str(uuid4()), "answers": ANSWERS, "active_ms": 1, "version": page["draft"]["version"]}
        url = page["urls"]["submit"]
        if random.random() < RESET:
            tally.resets += 1
            await send_and_hang_up(person, url, body)
        if random.random() < DOUBLE:
            tally.doubles += 1
            await asyncio.gather(submit(person, tally, url, body), submit(twin(person), tally, url, body))
        else:
            await submit(person, tally, url, body)
        tally.by_person[number] += 1


def twin(person: Annotator) -> Annotator:
    """The same person, same session, on a second connection: the other half of a double click."""
    other = Annotator(person.connection.port, "")
    other.token, other.connection.cookies = person.token, person.connection.cookies
    return other


async def submit(person: Annotator, tally: Tally, url: str, body: dict[str, Any]) -> None:
    while True:
        status, answer = await until_answered(person.connection, tally, lambda: person.send("POST", url, body))
        if status in (200, 201):
            break
        tally.odd.append((status, answer[:200].decode()))
        if status < 500:
            return
        await asyncio.sleep(0.5)
    told = json.loads(answer)["annotation"]
    if tally.told.setdefault(body["submission_id"], told) != told:
        tally.odd.append((status, f"{told} is another annotation than before"))


async def send_and_hang_up(person: Annotator, url: str, body: dict[str, Any]) -> None:
    """Send a submission and close the connection, mostly before its answer."""
    try:
        await asyncio.wait_for(person.send("POST", url, body), random.uniform(0.0005, 0.05))
    except (TimeoutError, *LOST_CONNECTION):
        pass
    person.connection.close()


async def until_answered(connection: Connection, tally: Tally, ask: Callable[[], Awaitable[Answer]]) -> Answer:
    while True:
        try:
            return await asyncio.wait_for(ask(), 30)
        except (TimeoutError, *LOST_CONNECTION):
            connection.close()
            tally.retries += 1
            await asyncio.sleep(0.1)


def tell(tally: Tally, checked: dict[str, int], seconds: float, people: int, postgres: bool) -> None:
    suffix = "" if postgres else "_sqlite"
    detail = checked | {
        "told": len(tally.told),
        "fewest_of_a_person": min(tally.by_person[number] for number in range(people)),
        **{name: getattr(tally, name) for name in ("killed", "doubles", "resets", "retries")},
        "people": people,
        "seconds": round(seconds, 1),
    }
    for name in ("lost", "doubled", "surplus", "twice", "untold"):
        print(line(f"kills_{name}{suffix}", checked[name], "annotations", 0, checked[name] == 0, detail))
        detail = {}
    found = {"odd": tally.odd[:5]} if tally.odd else {}
    print(line(f"kills_odd_answers{suffix}", len(tally.odd), "answers", 0, not tally.odd, found))


if __name__ == "__main__":
    main()
