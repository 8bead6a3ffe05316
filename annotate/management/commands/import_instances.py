"""Import a file or folder into a task from the shell: ``import_instances TASK_OR_PROJECT PATH``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

import feedback.tasks  # noqa: F401 - registers the jobs
from feedback.exceptions import FeedbackError
from feedback.formats.sources import SOURCES
from feedback.models import ImportBatch, Job, JobState, Membership, Project, Role, Task, User
from feedback.services import importing, jobs, uploads


class Command(BaseCommand):
    help = "Import a file or a folder into a task; with a project's id, into a new task of it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("target", help="public id of a task, or of a project for a new task")
        parser.add_argument("path", type=Path)
        parser.add_argument("--format", choices=sorted(SOURCES), help="read the path as this; guessed otherwise")
        parser.add_argument("--name", help="name of a new task; the path's name otherwise")
        parser.add_argument("--dry-run", action="store_true", help="list bad rows and store nothing in the task")
        parser.add_argument("--skip-bad-rows", action="store_true", help="import the other rows")
        parser.add_argument("--without-annotations", action="store_true", help="leave recorded annotations out")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            batch = self.batch(options)
            report = importing.dry_run(batch, limit=None)
            self.tell(report)
            if not options["dry_run"]:
                self.run_now(batch, skip_bad_rows=options["skip_bad_rows"])
        except FeedbackError as error:
            raise CommandError(" ".join([error.message, *error.errors.values()])) from error

    def batch(self, options: dict[str, Any]) -> ImportBatch:
        stored = uploads.on_disk(options["path"])
        try:
            target = UUID(options["target"])
        except ValueError as error:
            raise CommandError(f"{options['target']!r} is not the id of a task or project.") from error
        task = Task.objects.select_related("project").filter(public_id=target).first()
        project = task.project if task else Project.objects.filter(public_id=target).first()
        if project is None:
            raise CommandError("There is no task or project with this id.")
        actor = owner_of(project)
        if task is None:
            task = importing.new_task_for(project, stored, name=options["name"] or options["path"].stem, actor=actor)
            self.stdout.write(f"New task {task.name!r}: {task.public_id}")
        batch = importing.new_batch(task, stored, actor=actor)
        if options["format"] and options["format"] != batch.format:
            ImportBatch.objects.filter(pk=batch.pk).update(format=options["format"])
            batch.format = options["format"]
        if options["without_annotations"]:
            importing.set_mapping(batch, None, annotations=False)
        return batch

    def tell(self, report: importing.Report) -> None:
        said = report.annotations
        self.stdout.write(
            f"{report.rows:,} rows: {report.instances:,} instances, {said['human']:,} annotations by people, "
            f"{said['judge']:,} by judges, {report.errors:,} bad rows"
        )
        for error in report.first_errors:
            self.stdout.write(f"  line {error['line']}, {error['field']}: {error['reason']}. {error['hint']}".rstrip())

    def run_now(self, batch: ImportBatch, *, skip_bad_rows: bool) -> None:
        job = importing.start_import(batch, actor=batch.created_by, skip_bad_rows=skip_bad_rows)
        finished(job)
        if job.state != JobState.SUCCEEDED:
            raise CommandError(job.error or f"The import {job.get_state_display().lower()}.")
        self.stdout.write(self.style.SUCCESS(f"Imported {job.result['instances']:,} instances."))


def finished(job: Job) -> None:
    """Do the job here, or wait for the worker that was faster."""
    jobs.run(job.pk)
    job.refresh_from_db()
    while job.is_active:
        time.sleep(0.5)
        job.refresh_from_db()


def owner_of(project: Project) -> User:
    """In whose name a command of the server's operator acts."""
    return Membership.objects.select_related("user").filter(project=project, role=Role.OWNER).order_by("pk")[0].user
