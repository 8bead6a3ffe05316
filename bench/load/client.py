"""Annotators without think time: each on one kept connection asks for the next instance and submits an answer."""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

DATA = re.compile(rb'<script id="work-data" type="application/json">(.*?)</script>', re.DOTALL)
TOKEN = re.compile(rb'name="csrf-token" content="([^"]+)"')
ANSWERS = {"overall": {"value": "a-is-slightly-better"}}


@dataclass
class Seen:
    """What one slice of load saw: seconds per request, accepted annotations, and statuses that were no answer."""

    next_s: list[float] = field(default_factory=list)
    submit_s: list[float] = field(default_factory=list)
    draft_s: list[float] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other: Seen) -> None:
        for name in ("next_s", "submit_s", "draft_s", "accepted", "refused"):
            getattr(self, name).extend(getattr(other, name))
        self.seconds += other.seconds


class Connection:
    """One HTTP/1.1 connection that is kept, with its cookies; opened again when the server closed it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: dict[str, str] = {}
        self._reader: asyncio.StreamReader | None = None

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        if self._reader is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{self.port}", f"Content-Length: {len(body)}"]
        lines += [f"Cookie: {cookies}"] if cookies else []
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return await self._answer(self._reader)

    async def _answer(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        length = 0
        for line in head[1:]:
            name, _, value = line.partition(":")
            if name.lower() == "content-length":
                length = int(value)
            elif name.lower() == "set-cookie":
                key, _, rest = value.strip().partition("=")
                self.cookies[key] = rest.partition(";")[0]
        return int(head[0].split()[1]), await reader.readexactly(length)

    def close(self) -> None:
        if self._reader is not None:
            self._writer.close()
        self._reader = None


class Annotator:
    """A person at work in the product: the page of the next instance, and the answer its script sends."""

    def __init__(self, port: int, task: str) -> None:
        self.connection = Connection(port)
        self._work = f"/label/{task}/"
        self.token = ""

    async def log_in(self, link: str) -> None:
        _, page = await self.connection.ask("GET", link)
        form = re.search(rb'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        assert form, page[:500]
        body = b"csrfmiddlewaretoken=" + form[1]
        status, answer = await self.connection.ask("POST", link, body, Content_Type="application/x-www-form-urlencoded")
        assert status == 302, (status, answer[:500])

    async def next(self) -> dict[str, Any] | None:
        status, page = await self.connection.ask("GET", self._work)
        found, token = DATA.search(page), TOKEN.search(page)
        if status != 200 or not found or not token:
            return None
        self.token = token[1].decode()
        data: dict[str, Any] = json.loads(found[1])
        return data

    async def send(self, method: str, url: str, body: dict[str, Any]) -> tuple[int, bytes]:
        return await self.connection.ask(
            method, url, json.dumps(body).encode(), Content_Type="application/json", X_CSRFToken=self.token
        )

    async def pair(self, seen: Seen, *, draft: bool) -> bool:
        began = time.perf_counter()
        page = await self.next()
        if page is None:
            return False
        seen.next_s.append(time.perf_counter() - began)
        version = page["draft"]["version"]
        if draft:
            began = time.perf_counter()
            status, _ = await self.send("PUT", page["urls"]["draft"], {"version": version, "answers": ANSWERS})
            seen.draft_s.append(time.perf_counter() - began)
            version += status == 200
        body = {"submission_id": str(uuid4()), "answers": ANSWERS, "active_ms": 900, "version": version}
        began = time.perf_counter()
        status, answer = await self.send("POST", page["urls"]["submit"], body)
        seen.submit_s.append(time.perf_counter() - began)
        if status == 201:
            seen.accepted.append(json.loads(answer)["annotation"])
        else:
            seen.refused.append(status)
        return True


class Bare:
    """The same two requests to the bare view."""

    def __init__(self, port: int) -> None:
        self.connection = Connection(port)

    async def pair(self, seen: Seen, *, draft: bool) -> bool:
        began = time.perf_counter()
        await self.connection.ask("GET", "/next/")
        seen.next_s.append(time.perf_counter() - began)
        body = json.dumps({"submission_id": str(uuid4()), "answers": ANSWERS, "active_ms": 900}).encode()
        began = time.perf_counter()
        await self.connection.ask("POST", "/submit/", body, Content_Type="application/json")
        seen.submit_s.append(time.perf_counter() - began)
        seen.accepted.append("")
        return True


async def work(people: Sequence[Annotator | Bare], seconds: float, *, draft: bool = False, think: float = 0.0) -> Seen:
    """Everybody works at once until the time is over or nothing is left; ``think`` seconds after each pair, and as
    long at most before the first."""
    seen, began = Seen(), time.perf_counter()

    async def one(person: Annotator | Bare) -> None:
        await asyncio.sleep(random.uniform(0, think))
        while time.perf_counter() - began < seconds and await person.pair(seen, draft=draft):
            await asyncio.sleep(think)

    await asyncio.gather(*(one(person) for person in people))
    seen.seconds = time.perf_counter() - began
    return seen
