"""Label over real HTTP: log in, next instance (a page), submit; beside a bare Django view in the same run.

``python bench/annotating.py [--quick] [--full] [--device cpu]``; one JSON object a line. The server is started as
``manage.py serve`` starts it. SQLite always; PostgreSQL (whose figures have the plain names) when DATABASE_URL or
--postgres names one on which databases can be made. --full adds a pool of 1,000,000 instances.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from load.client import Annotator, Bare, Seen, work
from load.servers import Server, cpu_of, free_port

REPOSITORY = Path(__file__).resolve().parent.parent
POSTGRES = "postgres://postgres@127.0.0.1:5432/postgres"
GOALS = {"cpu_ms_per_pair": 6.0, "pairs_per_s": 150.0, "next_p95_ms": 250.0, "next_p50_ms": 6.0, "submit_p50_ms": 6.0}
THINKING_GOAL = 150.0
AT_MOST = {"cpu_ms_per_pair", "next_p95_ms", "next_p50_ms", "submit_p50_ms"}
HELD = {1: ["cpu_ms_per_pair", "next_p50_ms", "submit_p50_ms", "pairs_per_s", "next_p95_ms"]}
USUAL = ["cpu_ms_per_pair", "pairs_per_s", "next_p95_ms"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short slices: under three minutes")
    parser.add_argument("--full", action="store_true", help="also 1,000,000 instances")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="nothing here runs on a GPU")
    parser.add_argument("--postgres", default=os.environ.get("DATABASE_URL", POSTGRES))
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    parser.add_argument("--people", type=int, nargs="*", default=[1, 32, 64])
    options = parser.parse_args()
    seconds, slices = (2.0, 2) if options.quick else (8.0, 3)
    for instances in [10_000, 1_000_000] if options.full else [10_000]:
        for vendor, url in databases(options.only, options.postgres):
            suffix = ("" if vendor == "postgresql" else "_sqlite") + ("" if instances == 10_000 else f"_{instances}")
            with tempfile.TemporaryDirectory(prefix="tiebreak-bench-") as folder:
                measure(Path(folder), url, instances, suffix, options.people, seconds, slices)


def databases(only: str | None, postgres: str) -> Iterator[tuple[str, str]]:
    if only != "sqlite":
        with scratch(postgres) as url:
            if url:
                yield "postgresql", url
    if only != "postgresql":
        yield "sqlite", ""


@contextmanager
def scratch(url: str) -> Iterator[str]:
    """A database of our own on this server, dropped at the end; none when there is no such server."""
    import psycopg

    if not url:
        yield ""
        return
    name = f"tiebreak_bench_{os.getpid()}"
    try:
        admin = psycopg.connect(url, autocommit=True)
    except psycopg.OperationalError as error:
        print(f"no PostgreSQL at {urlsplit(url).hostname}: {error}", file=sys.stderr)
        yield ""
        return
    with admin:
        admin.execute(f"CREATE DATABASE {name}")
        try:
            yield urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def environment_of(folder: Path, url: str) -> dict[str, str]:
    environment = {key: value for key, value in os.environ.items() if key not in ("DATABASE_URL", "REDIS_URL")}
    environment |= {
        "DJANGO_SETTINGS_MODULE": "annotate.settings",
        "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'bench'}",
        "ENV_FILE": os.devnull,
        "LOG_LEVEL": "ERROR",
        "VAR_DIR": str(folder),
    }
    if url:
        key = "a-key-for-the-bench-only-0123456789-abcdefgh"
        environment |= {"DATABASE_URL": url, "SECRET_KEY": key, "ALLOWED_HOSTS": "127.0.0.1", "HTTPS": "0"}
    return environment


def in_django(environment: dict[str, str], *arguments: str, stdin: str = "") -> Any:
    command = [sys.executable, "-m", "load.furnish", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, input=stdin)
    return json.loads(done.stdout.splitlines()[-1])


def web_command(port: int) -> list[str]:
    """What ``manage.py serve`` runs as its web process."""
    program = "import django, json; django.setup(); from annotate.management.commands.serve import processes; "
    program += f"print(json.dumps(processes('127.0.0.1', {port})['web']))"
    with tempfile.TemporaryDirectory() as folder:
        environment = environment_of(Path(folder), "")
        done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, env=environment)
    command: list[str] = json.loads(done.stdout.splitlines()[-1])
    return command


def measure(
    folder: Path, url: str, instances: int, suffix: str, crowds: list[int], seconds: float, slices: int
) -> None:
    environment = environment_of(folder, url)
    known = in_django(environment, "furnish", str(instances))
    ports = free_port(), free_port()
    product = Server(web_command(ports[0]), ports[0], environment, REPOSITORY)
    bare_command = [
        part if part != "annotate.wsgi:application" else "load.bare:application" for part in web_command(ports[1])
    ]
    bare = Server(bare_command, ports[1], environment, REPOSITORY)
    try:
        asyncio.run(load(product, bare, known, suffix, crowds, seconds, slices, environment))
    finally:
        product.stop()
        bare.stop()


async def load(
    product: Server,
    bare: Server,
    known: dict[str, Any],
    suffix: str,
    crowds: list[int],
    seconds: float,
    slices: int,
    environment: dict[str, str],
) -> None:
    idle = product.memory_mib()
    people = [Annotator(product.port, known["task"]) for _ in known["links"]]
    for person, link in zip(people, known["links"], strict=True):
        await person.log_in(link)
    accepted: list[str] = []
    for crowd in crowds:
        bares = [Bare(bare.port) for _ in range(crowd)]
        accepted += (await work(people[:crowd], 1.0)).accepted  # warm
        await work(bares, 0.3)
        ours, theirs, cpu, ceiling, database = Seen(), Seen(), 0.0, 0.0, 0.0
        for _ in range(slices):
            before, behind = product.cpu_seconds(), backends(environment)
            ours.add(await work(people[:crowd], seconds))
            cpu += product.cpu_seconds() - before
            database += backends(environment) - behind
            before = bare.cpu_seconds()
            theirs.add(await work(bares, seconds / 2))
            ceiling += bare.cpu_seconds() - before
        drafts = await work(people[:crowd], 1.0, draft=True)
        accepted += ours.accepted + drafts.accepted
        tell(suffix, crowd, ours, theirs, cpu, ceiling, database, drafts)
    for person in people:
        person.connection.close()  # the server may have closed one that rested
    thinking = await work(people, 2 + 2 * seconds, think=1.0)
    accepted += thinking.accepted
    tell_of_thinking(suffix, len(people), thinking)
    checked = in_django(environment, "check", stdin=json.dumps(accepted))
    for name in ("surplus", "lost"):
        print(line(f"{name}{suffix}", checked[name], "annotations", 0, checked[name] == 0, checked))
    print(line(f"server_idle{suffix}", round(idle, 1), "MiB", 220, idle <= 220, {}), flush=True)


def backends(environment: dict[str, str]) -> float:
    """CPU seconds of the PostgreSQL backends that serve this database; 0 on SQLite, which works in the server."""
    url = environment.get("DATABASE_URL")
    if not url:
        return 0.0
    import psycopg

    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return sum(cpu_of(pid) for (pid,) in rows)


def tell(
    suffix: str, crowd: int, ours: Seen, theirs: Seen, cpu: float, ceiling: float, database: float, drafts: Seen
) -> None:
    pairs = len(ours.accepted)
    found = {
        "cpu_ms_per_pair": 1000 * cpu / max(pairs, 1),
        "pairs_per_s": pairs / ours.seconds,
        "next_p95_ms": 1000 * quantile(ours.next_s, 0.95),
        "next_p50_ms": 1000 * quantile(ours.next_s, 0.5),
        "submit_p50_ms": 1000 * quantile(ours.submit_s, 0.5),
    }
    bare_cpu = 1000 * ceiling / max(len(theirs.accepted), 1)
    detail = {name: round(value, 2) for name, value in found.items()} | {
        "pairs": pairs,
        "refused": len(ours.refused),
        "draft_p50_ms": round(1000 * quantile(drafts.draft_s, 0.5), 2),
        "database_cpu_ms_per_pair": round(1000 * database / max(pairs, 1), 2),
        "bare_cpu_ms_per_pair": round(bare_cpu, 2),
        "bare_pairs_per_s": round(len(theirs.accepted) / theirs.seconds, 1),
        "times_the_ceiling": round(found["cpu_ms_per_pair"] / max(bare_cpu, 0.01), 1),
    }
    for name in HELD.get(crowd, USUAL):
        value, goal = found[name], GOALS[name]
        if name == "pairs_per_s" and crowd == 1:
            continue
        holds = value <= goal if name in AT_MOST else value >= goal
        unit = "pairs/s" if name == "pairs_per_s" else "ms"
        print(line(f"{name}_{crowd}{suffix}", round(value, 2), unit, goal, holds, detail), flush=True)
        detail = {}


def tell_of_thinking(suffix: str, crowd: int, seen: Seen) -> None:
    """What people wait who think for a second between two instances."""
    for name, times in (("next", seen.next_s), ("submit", seen.submit_s)):
        value = 1000 * quantile(times, 0.95)
        detail = {"pairs": len(seen.accepted), "refused": len(seen.refused)}
        figure = f"{name}_p95_ms_{crowd}_thinking{suffix}"
        print(line(figure, round(value, 2), "ms", THINKING_GOAL, value <= THINKING_GOAL, detail), flush=True)


def line(figure: str, value: float, unit: str, goal: float, holds: bool, detail: dict[str, Any]) -> str:
    row = {"figure": figure, "value": value, "unit": unit, "goal": goal, "holds": holds, "detail": detail}
    return json.dumps(row)


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else 0.0


if __name__ == "__main__":
    main()
