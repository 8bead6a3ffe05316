"""Judge a task from the shell: ``run_judge JUDGE TASK [--random N | --pilot]``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

import routing.tasks  # noqa: F401 - its handlers do the job here
from feedback.exceptions import FeedbackError
from feedback.models import Task
from routing.models import Judge
from routing.services import judging

from .import_instances import finished, owner_of


class Command(BaseCommand):
    help = "Put a judge to work on a task and wait for it. Its money comes from the task's budget."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("judge", help="public id of the judge")
        parser.add_argument("task", help="public id of the task")
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--random", type=int, metavar="N", help="judge N instances drawn at random")
        which.add_argument("--pilot", action="store_true", help="judge the instances of the pilot")
        parser.add_argument("--seed", type=int, default=0)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            task = Task.objects.select_related("project").get(public_id=UUID(options["task"]))
            judge = Judge.objects.get(public_id=UUID(options["judge"]), project=task.project)
        except (ValueError, Task.DoesNotExist, Judge.DoesNotExist) as error:
            raise CommandError("There is no such judge and task in one project.") from error
        scope: dict[str, Any] = {"kind": "pilot" if options["pilot"] else "all"}
        if options["random"] is not None:
            scope = {"kind": "random", "n": options["random"], "seed": options["seed"]}
        try:
            job = judging.start_judging(task, judge, scope, actor=owner_of(task.project))
        except FeedbackError as error:
            raise CommandError(" ".join([error.message, *error.errors.values()])) from error
        finished(job)
        job.refresh_from_db()
        if job.error:
            raise CommandError(job.error)
        self.stdout.write(self.style.SUCCESS(job.result["message"]))
