"""Plan who labels what from the shell: ``make_plan TASK STRATEGY BUDGET JUDGE [--apply]``."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

import routing.tasks  # noqa: F401 - its handlers do the job here
from feedback.exceptions import FeedbackError
from feedback.models import Annotator, Task
from feedback.services.budget import MICROS
from routing.models import PlanState
from routing.services import applying, planning

from .import_instances import finished, owner_of


class Command(BaseCommand):
    help = "Compute a routing plan, and with --apply put it in force."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("task", help="public id of the task")
        parser.add_argument("strategy", choices=[strategy.name for strategy in planning.offered()])
        parser.add_argument("budget", help="money in the project's currency, such as 25.00")
        parser.add_argument("judge", help="public id of the annotator whose verdicts count")
        parser.add_argument("--labels", type=int, default=1, help="people for each instance")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--apply", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            task = Task.objects.select_related("project").get(public_id=UUID(options["task"]))
            judge = Annotator.objects.get(public_id=UUID(options["judge"]), project=task.project)
            budget = int(Decimal(options["budget"]) * MICROS)
        except (ValueError, OverflowError, InvalidOperation, Task.DoesNotExist, Annotator.DoesNotExist) as error:
            raise CommandError("There is no such task and judge in one project, or the budget is no amount.") from error
        owner = owner_of(task.project)
        try:
            plan = planning.make_plan(
                task,
                options["strategy"],
                budget,
                judge=judge,
                actor=owner,
                seed=options["seed"],
                params={"labels": options["labels"]},
            )
            assert plan.job is not None
            finished(plan.job)
            plan.refresh_from_db()
            if plan.state != PlanState.READY:
                raise CommandError(plan.error or "The plan could not be computed.")
            counts = plan.summary["counts"]
            self.stdout.write(f"{plan.public_id}: {counts['human']:,} to people, {counts['judge']:,} to the judge")
            if options["apply"]:
                done = applying.apply_plan(plan, actor=owner)
                self.stdout.write(self.style.SUCCESS(f"Applied: {done.reserved / MICROS:,.2f} reserved"))
        except FeedbackError as error:
            raise CommandError(" ".join([error.message, *error.errors.values()])) from error
