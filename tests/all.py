"""``make test``: lint, the whole suite on SQLite, then everything about the database again on PostgreSQL.

PostgreSQL and Redis are used where they answer (TEST_DATABASE_URL, TEST_REDIS_URL), started privately where their
programs are installed, and else reported loudly as skipped; under CI a skip is a failure.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from glob import glob
from pathlib import Path

IN_CI = bool(os.environ.get("CI"))
# browsers, processes and deadlines on a busy machine: a second try is allowed, and named; `make check` has none
AGAIN = ("--reruns", "2", "-rR")
BIN = Path(sys.executable).parent


def main() -> int:
    chromium()
    if subprocess.call([BIN / "ruff", "check", "."]) or subprocess.call([BIN / "lint-imports"]):
        return 1
    if subprocess.call([BIN / "mypy", "annotate", "feedback", "routing", "training"]):
        return 1
    with redis() as redis_url:
        if redis_url:
            os.environ["TEST_REDIS_URL"] = redis_url
        together = ("not faults and not browser", "browser and not faults")
        if any(pytest("-n", "2", "-m", marks, *AGAIN) for marks in together) or pytest("-m", "faults", *AGAIN):
            return 1
        with postgres() as url:
            if url and pytest("-m", "database", *AGAIN, DATABASE_URL=url):
                return 1
    return 0


def pytest(*arguments: str, **environment: str) -> int:
    return subprocess.call([sys.executable, "-m", "pytest", *arguments], env=os.environ | environment)


def missing(what: str, how: str) -> None:
    print(f"\n*** SKIPPED: {what}. {how} ***\n", flush=True)
    if IN_CI:
        sys.exit(f"CI must not skip this: {what}")


def chromium() -> None:
    if not any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")):
        missing("browser tests: no Chromium found", "Install the package chromium.")


def answers(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def postgres() -> Iterator[str | None]:
    """The URL of a PostgreSQL server with an empty database for us, or ``None``."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given or answers("127.0.0.1", 5432):
        yield given or usable("postgres://postgres@127.0.0.1:5432/postgres")
        return
    programs = sorted(glob("/usr/lib/postgresql/*/bin")) or [
        str(Path(found).parent) for found in [shutil.which("initdb")] if found
    ]
    if not programs or (os.geteuid() == 0 and not shutil.which("runuser")):
        missing("database tests on PostgreSQL", "Set TEST_DATABASE_URL or install PostgreSQL.")
        yield None
        return
    with private_postgres(Path(programs[-1])) as url:
        yield url


def usable(url: str) -> str | None:
    import psycopg

    try:
        psycopg.connect(url, connect_timeout=3).close()
    except psycopg.OperationalError as error:
        missing(f"database tests on PostgreSQL: {error}", "Set TEST_DATABASE_URL.")
        return None
    return url


@contextlib.contextmanager
def private_postgres(programs: Path) -> Iterator[str]:
    port = free_port()
    as_user = ["runuser", "-u", "nobody", "--"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="tiebreak-postgres-") as folder:
        data = Path(folder) / "data"
        if as_user:
            shutil.chown(folder, "nobody")
        subprocess.check_call([*as_user, programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust"], stdout=-3)
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=200"
        control = [*as_user, programs / "pg_ctl", "-D", data, "-w"]
        subprocess.check_call([*control, "-o", options, "-l", Path(folder) / "log", "start"], stdout=-3)
        try:
            yield f"postgres://postgres@127.0.0.1:{port}/postgres"
        finally:
            subprocess.check_call([*control, "-m", "immediate", "stop"], stdout=-3)


@contextlib.contextmanager
def redis() -> Iterator[str | None]:
    """The URL of a Redis server (a database number that is ours to empty), or ``None``."""
    given = os.environ.get("TEST_REDIS_URL")
    if given or answers("127.0.0.1", 6379):
        yield given or "redis://127.0.0.1:6379/15"
        return
    program = shutil.which("redis-server")
    if program is None:
        missing("tests with Redis", "Set TEST_REDIS_URL or install redis-server.")
        yield None
        return
    port = free_port()
    server = subprocess.Popen([program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""], stdout=-3)
    try:
        while not answers("127.0.0.1", port):
            time.sleep(0.1)
        yield f"redis://127.0.0.1:{port}/15"
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    sys.exit(main())
