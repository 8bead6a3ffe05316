"""A database full of instances, made by SQL, and people who may label them. Run as a process of its own."""

from __future__ import annotations

import json
import sys
from typing import Any

PEOPLE = 64
QUESTION = {"kind": "preference", "name": "overall", "title": "Which completion is better?", "aspects": ["helpful"]}
WORDS = "The answer names the cause, gives two examples and says where it does not hold. " * 6


def furnish(instances: int) -> dict[str, Any]:
    """Returns the task's public id and a login link for each person."""
    from datetime import timedelta

    from django.core.management import call_command

    from feedback.models import LoginLink, Membership, Role, User
    from feedback.services import people, tasks

    call_command("migrate", verbosity=0)
    call_command("collectstatic", verbosity=0, interactive=False)
    owner = User.objects.create_user("owner@example.org", name="Owner")
    project = people.create_project("Bench", owner=owner)
    task = tasks.create_task(project, "Bench", [QUESTION], actor=owner, guideline="Prefer the true one.")
    fill(task.pk, instances)
    tasks.open_task(task, actor=owner)
    links = []
    for n in range(PEOPLE):
        user = User.objects.create_user(f"person{n}@example.org", name=f"Person {n}")
        Membership.objects.create(project=project, user=user, role=Role.ANNOTATOR)
        links.append(f"/account/link/{LoginLink.make(user, timedelta(hours=8))}/")
    return {"task": str(task.public_id), "links": [link.rstrip("/") + "/" for link in links]}


def fill(task: int, instances: int) -> None:
    """Two-completion instances, ``instances`` of them, by one statement."""
    from django.db import connection

    prompt = json.dumps([{"role": "user", "content": "Why does bread rise?"}])
    completions = json.dumps([{"content": WORDS, "model": "m1"}, {"content": WORDS[::-1], "model": "m2"}])
    if connection.vendor == "postgresql":
        numbers, key, now = "generate_series(1, %s) AS n(n)", "gen_random_uuid()", "now()"
    else:
        counted = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < %s) SELECT n FROM c"
        numbers, key, now = f"({counted}) AS n", "lower(hex(randomblob(16)))", "datetime('now')"
    external = "'i' || n.n"
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO feedback_instance (public_id, task_id, external_id, prompt, completions, meta, source, "
            "prompt_hash, open_slots, priority, searchable, created_at) "
            f"SELECT {key}, %s, {external}, %s, %s, '{{}}', '', '', 1, 0, true, {now} FROM {numbers}",
            [task, prompt, completions, instances],
        )
        cursor.execute("ANALYZE")
        if connection.vendor == "postgresql":
            cursor.execute("VACUUM ANALYZE feedback_instance")
            cursor.execute("CHECKPOINT")  # else the disk is still busy with the filling while people label


def check(accepted: list[str]) -> dict[str, int]:
    """How many annotations pass the overlap, are a person's second of an instance, were accepted and are gone, and
    how many nobody was told of."""
    from django.db.models import Count

    from feedback.models import Annotation

    live = Annotation.objects.live().filter(recorded=False)
    per_instance = live.values("instance").annotate(count=Count("pk")).filter(count__gt=1)
    per_person = live.values("instance", "annotator").annotate(count=Count("pk")).filter(count__gt=1)
    stored = {str(key) for key in live.values_list("public_id", flat=True)}
    told = set(accepted)
    return {
        "surplus": sum(row["count"] - 1 for row in per_instance),
        "twice": sum(row["count"] - 1 for row in per_person),
        "lost": len(told - stored),
        "doubled": len(accepted) - len(told),
        "untold": len(stored - told),
        "stored": len(stored),
    }


if __name__ == "__main__":
    import django

    django.setup()
    if sys.argv[1] == "furnish":
        print(json.dumps(furnish(int(sys.argv[2]))))
    else:
        print(json.dumps(check(json.load(sys.stdin))))
