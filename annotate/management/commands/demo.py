from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from annotate.demo import loading
from feedback.models import Project, User


class Command(BaseCommand):
    help = "Load the demo project into an installation that has no project yet."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--owner", required=True, help="address of the user who will own it")

    def handle(self, *args: Any, **options: Any) -> None:
        if Project.objects.exists():
            return
        project = loading.load(User.objects.get_by_natural_key(options["owner"]))
        self.stdout.write(f"Loaded {project.name!r}.")
