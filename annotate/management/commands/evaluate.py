"""Evaluate a trained model from the shell: ``evaluate MODEL --version-id VERSION`` or ``… --file PATH``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from feedback.exceptions import FeedbackError
from feedback.models import DatasetVersion, Project
from feedback.services import uploads
from training import evaluations
from training.data import SPLITS
from training.models import TrainedModel

from .import_instances import finished, owner_of


class Command(BaseCommand):
    help = "Evaluate a trained model on a dataset version's split, or on a file of pairs such as RewardBench."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("model", type=UUID, help="public id of the model")
        data = parser.add_mutually_exclusive_group(required=True)
        data.add_argument("--version-id", type=UUID, help="public id of a dataset version of the model's project")
        data.add_argument("--file", type=Path, help="JSONL or Parquet with prompt, chosen and rejected")
        parser.add_argument("--split", choices=SPLITS, default="test")
        parser.add_argument("--max-length", type=int)
        parser.add_argument("--long-rows", choices=["truncate-prompt-left", "drop", "error"])

    def handle(self, *args: Any, **options: Any) -> None:
        model = TrainedModel.objects.select_related("run__project").filter(public_id=options["model"]).first()
        if model is None:
            raise CommandError("There is no model with this id.")
        project = model.run.project
        config = {name: options[name] for name in ("max_length", "long_rows")}
        try:
            data = uploads.on_disk(options["file"]) if options["file"] else version_of(project, options["version_id"])
            made = evaluations.start_evaluation(model, data, owner_of(project), split=options["split"], config=config)
        except FeedbackError as error:
            raise CommandError(" ".join([error.message, *error.errors.values()])) from error
        finished(made.job)
        made.refresh_from_db()
        if not made.report:
            made.job.refresh_from_db()
            raise CommandError(made.job.error or "The evaluation did not finish.")
        self.stdout.write(json.dumps(made.report, indent=2))


def version_of(project: Project, public_id: UUID) -> DatasetVersion:
    """A dataset version of the project. Raises CommandError."""
    versions = DatasetVersion.objects.select_related("task").filter(task__project=project)
    version = versions.filter(public_id=public_id).first()
    if version is None:
        raise CommandError("The model's project has no dataset version with this id.")
    return version
