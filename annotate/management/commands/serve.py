"""``manage.py serve``: the whole product on one machine: web, worker, training worker, one-time admin link."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from contextlib import suppress
from datetime import timedelta
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from feedback.models import LoginLink, User

ADMIN = "admin@localhost.localdomain"
LINK_LIFETIME = timedelta(hours=24)
RESTARTS_PER_MINUTE = 5


class Command(BaseCommand):
    help = "Migrate, then serve the web pages, a worker and a training worker until interrupted."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--demo", action="store_true", help="load the demo project into an empty installation")

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0)
        call_command("collectstatic", verbosity=0, interactive=False)
        admin = User.objects.filter(is_superuser=True).order_by("pk").first() or User.objects.create_superuser(
            ADMIN, name="Administrator"
        )
        if options["demo"]:
            call_command("demo", owner=admin.email, verbosity=1)
        port = free_port(options["host"], options["port"])
        address = f"http://{options['host'].replace('127.0.0.1', 'localhost')}:{port}"
        self.stdout.write(f"\n  Tiebreak     {address}/")
        self.stdout.write(f"  Sign in once  {address}/account/link/{LoginLink.make(admin, LINK_LIFETIME)}")
        self.stdout.write(f"  Data         {settings.VAR_DIR}\n  Stop         Ctrl+C\n\n", ending="")
        self.stdout.flush()
        supervise(processes(options["host"], port))


def free_port(host: str, port: int) -> int:
    """``port``, or the next free one up to 20 further. Raises CommandError when all are taken."""
    for candidate in range(port, port + 20):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, candidate))
            except OSError:
                continue
            return candidate
    raise CommandError(f"Ports {port} to {port + 19} are all taken; choose another with --port.")


def processes(host: str, port: int) -> dict[str, list[str]]:
    """The command line of each part."""
    python = sys.executable
    celery = [python, "-m", "celery", "-q", "-A", "annotate", "worker", "--loglevel", "WARNING", "--without-mingle"]
    beat = ["--beat", "--schedule", settings.CELERY_BEAT_SCHEDULE_FILENAME]
    return {
        "web": [
            *[python, "-m", "granian", "--interface", "wsgi", "--host", host, "--port", str(port)],
            *["--workers", str(min(2, os.cpu_count() or 1)), "--blocking-threads", "2"],
            *["--no-ws", "--log-level", "warning"],
            "annotate.wsgi:application",
        ],
        "worker": [*celery, *beat, "-n", "worker@%h", "--concurrency", "2", "--queues", "default,judge"],
        "training": [*celery, "-n", "training@%h", "--concurrency", "1", "--queues", "training"],
    }


def supervise(commands: dict[str, list[str]]) -> None:
    """Keep every part running until SIGINT or SIGTERM; a part that keeps dying stops the whole with an error."""
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "annotate.settings", "PYTHONPATH": str(settings.BASE_DIR)}
    stopping = False

    def stop(signum: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)

    def start(name: str) -> subprocess.Popen[bytes]:
        # a session of its own: Ctrl+C reaches this process only, which then stops the parts in order
        return subprocess.Popen(commands[name], env=environment, cwd=settings.BASE_DIR, start_new_session=True)

    children = {name: start(name) for name in commands}
    deaths: dict[str, list[float]] = {name: [] for name in commands}
    failed = ""
    while not stopping and not failed:
        time.sleep(0.5)
        for name, child in children.items():
            if child.poll() is None:
                continue
            deaths[name] = [at for at in deaths[name] if time.monotonic() - at < 60] + [time.monotonic()]
            if len(deaths[name]) > RESTARTS_PER_MINUTE:
                failed = name
                break
            end(child)
            children[name] = start(name)
    for child in children.values():
        child.terminate()
    for child in children.values():
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=15)
        end(child)
    if failed:
        raise CommandError(f"The {failed} process died {RESTARTS_PER_MINUTE} times within a minute; see the log above.")


def end(part: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a part: children outlive a killed parent, keep its port and answer with old code."""
    with suppress(ProcessLookupError):
        os.killpg(part.pid, signal.SIGKILL)
