"""The instances' browser over many instances: seconds to a page, by what is looked for.

``python bench/finding.py [--quick] [--device cpu] [--rows N]``; one JSON object a line. Runs on a fresh SQLite database
or on the empty PostgreSQL database of DATABASE_URL. Each instance has about 140 words, two people and a judge.
``cpu_s`` is this process alone: all there is on SQLite.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

REPOSITORY = Path(__file__).resolve().parent.parent
GOAL = 0.5
ASKED = {
    "first": {},
    "word": {"q": "kelvin"},
    "rare_word": {"q": "needle"},
    "phrase": {"q": '"kelvin amber"'},
    "no_such_word": {"q": "nowhere"},
    "people_disagree": {"disagreement": "people"},
    "low_agreement": {"disagreement": "low-agreement"},
    "judge_alone": {"disagreement": "judge"},
    "not_annotated": {"state": "unannotated"},
    "flagged": {"state": "flagged"},
    "meta": {"meta.category": "c7"},
    "model": {"model": "m3"},
    "by_people": {"sort": "-people"},
    "by_priority": {"sort": "-priority"},
    "word_and_disagreement": {"q": "kelvin", "disagreement": "people"},
}
WORDS = [
    *("amber", "basil", "cedar", "delta", "ember", "fjord", "glade", "harbor"),
    *("inlet", "juniper", "kelvin", "lagoon", "meadow", "nectar", "orchid", "pebble"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10,000 instances instead of 100,000")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="nothing here runs on a GPU")
    parser.add_argument("--rows", type=int)
    options = parser.parse_args()
    rows = options.rows or (10_000 if options.quick else 100_000)
    with tempfile.TemporaryDirectory(prefix="tiebreak-bench-") as folder:
        os.environ |= {"DJANGO_SETTINGS_MODULE": "annotate.settings", "ENV_FILE": os.devnull, "LOG_LEVEL": "ERROR"}
        os.environ |= {"VAR_DIR": folder, "HTTPS": "0", "ALLOWED_HOSTS": "testserver"}
        os.environ.setdefault("SECRET_KEY", uuid4().hex + uuid4().hex)
        sys.path.insert(0, str(REPOSITORY))
        import django

        django.setup()
        measure(rows)


def measure(rows: int) -> None:
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection

    Path(settings.STATIC_ROOT).mkdir(exist_ok=True)
    settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
    call_command("migrate", verbosity=0)
    owner, task = filled(rows)
    tell("index", index(rows), rows, connection.vendor, None, {})
    client = signed_in(owner)
    for name, asked in ASKED.items():
        seconds, detail = looked(client, task, asked)
        tell(name, seconds, rows, connection.vendor, GOAL, detail)


def filled(rows: int) -> tuple[Any, Any]:
    """A task with ``rows`` instances; two people and a judge annotate each, but one in ten."""
    from feedback.models import Annotation, Annotator, Instance, User
    from feedback.services import bulk, people, tasks

    rng = random.Random(0)
    owner = User.objects.create_user("owner@example.org", None)
    project = people.create_project("Bench", owner=owner)
    question = {"kind": "preference", "name": "overall", "title": "Which is better?"}
    task = tasks.create_task(project, "Pairs", [question], actor=owner)
    text = lambda n, k: " ".join([*rng.choices(WORDS, k=k), f"w{n}", "needle" if n % 50_000 == 7 else ""])  # noqa: E731
    columns = ("public_id", "task_id", "external_id", "prompt", "completions", "meta", "prompt_hash", "open_slots")
    bulk.insert(Instance, columns, (_instance(task, n, text) for n in range(rows)))
    cast = [Annotator.objects.create(project=project, kind=k, name=n) for k, n in (*_PEOPLE, ("judge", "gpt"))]
    keys = Instance.objects.filter(task=task).order_by("pk").values_list("pk", flat=True)
    said = ("public_id", "task_id", "instance_id", "annotator_id", "source", "answers")
    values = ("a-is-clearly-better", "tie", "b-is-slightly-better")
    spoken = (
        (uuid4(), task.pk, pk, who.pk, who.kind, {"overall": {"value": rng.choices(values, (8, 1, 1))[0]}})
        for pk in list(keys)
        if pk % 10
        for who in cast
    )
    bulk.insert(Annotation, said, spoken)
    _analysed()
    return owner, task


_PEOPLE = (("human", "ann"), ("human", "bob"))


def _instance(task: Any, n: int, text: Any) -> tuple[Any, ...]:
    prompt = [{"role": "user", "content": text(n, 20)}]
    pair = [{"content": text(n, 60), "model": f"m{n % 5}"}, {"content": text(n, 60), "model": f"m{n % 7}"}]
    return (uuid4(), task.pk, f"r{n}", prompt, pair, {"category": f"c{n % 20}"}, f"{n:064x}", 1)


def _analysed() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def index(rows: int) -> float:
    from feedback.services import searching

    begun, done = time.perf_counter(), 0
    while done < rows:
        done += searching.index()
    _analysed()
    return time.perf_counter() - begun


def signed_in(owner: Any) -> Any:
    from django.test import Client

    client = Client()
    client.force_login(owner, backend="annotate.sessions.Backend")
    return client


def looked(client: Any, task: Any, asked: dict[str, str]) -> tuple[float, dict[str, Any]]:
    from django.urls import reverse

    address, spent, worked = reverse("instances", args=[task.project.public_id]), [], []
    for _ in range(4):
        begun, cpu = time.perf_counter(), time.process_time()
        response = client.get(address, {"task": task.public_id, **asked})
        spent.append(time.perf_counter() - begun)
        worked.append(time.process_time() - cpu)
        assert response.status_code == 200, response.content
    shown = response.content.count(b'name="instance"')
    return median(spent[1:]), {"shown": shown, "asked": asked, "cpu_s": round(median(worked[1:]), 3)}


def tell(name: str, seconds: float, rows: int, vendor: str, goal: float | None, detail: dict[str, Any]) -> None:
    line = {"figure": f"find_{name}_{rows}_{vendor}", "value": round(seconds, 3), "unit": "s", "goal": goal}
    print(json.dumps(line | {"holds": goal is None or seconds <= goal, "detail": detail}), flush=True)


if __name__ == "__main__":
    main()
