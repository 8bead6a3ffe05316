"""Freeze a dataset version from the shell: ``freeze TASK [--shape preference] [--format parquet] …``."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback.exceptions import FeedbackError
from feedback.formats.shape_table import SHAPES
from feedback.models import DatasetState, Task
from feedback.services import datasets

from .import_instances import finished, owner_of


class Command(BaseCommand):
    help = "Freeze the annotations of a task as a numbered, hashed dataset version."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("task", help="public id of the task")
        parser.add_argument("--shape", action="append", choices=list(SHAPES))
        parser.add_argument("--format", action="append", choices=["parquet", "jsonl"])
        parser.add_argument("--sources", choices=["any", "human", "judge", "mix"], default="any")
        parser.add_argument("--mix", help="public id of a preference mix, with --sources mix")
        parser.add_argument("--aggregation", choices=["majority", "dawid-skene", "posterior"], default="majority")
        parser.add_argument("--ties", choices=["drop", "keep-half"], default="drop")
        parser.add_argument("--pairs", choices=["all", "adjacent", "best-worst"], default="all")
        parser.add_argument("--refinements", choices=["leave-out", "chosen"], default="leave-out")
        parser.add_argument("--min-annotations", type=int, default=1)
        parser.add_argument("--votes-only", action="store_true", help="leave the decisions of reviewers out")
        parser.add_argument("--splits", type=float, nargs=3, metavar=("TRAIN", "VALIDATION", "TEST"))
        parser.add_argument("--seed", type=int, default=0)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            task = Task.objects.select_related("project").get(public_id=UUID(options["task"]))
        except (ValueError, Task.DoesNotExist) as error:
            raise CommandError("There is no task with this id.") from error
        names = ("sources", "aggregation", "ties", "pairs", "refinements", "min_annotations", "seed")
        lists = {"shapes": options["shape"], "formats": options["format"], "splits": options["splits"]}
        spec = {name: options[name] for name in names} | {name: value for name, value in lists.items() if value}
        spec["adjudicated"] = not options["votes_only"]
        try:
            spec |= {"mix": options["mix"]} if options["mix"] else {}
            version = datasets.create_version(task, spec, actor=owner_of(task.project))
        except FeedbackError as error:
            raise CommandError(" ".join([error.message, *error.errors.values()])) from error
        job = datasets.job_of(version)
        assert job is not None
        finished(job)
        version.refresh_from_db()
        if version.state != DatasetState.READY:
            raise CommandError(version.error or job.error)
        self.stdout.write(self.style.SUCCESS(f"Version {version.number}: {version.rows:,} rows, {version.sha256}"))
        self.stdout.write(str(datasets.folder_of(version)))
