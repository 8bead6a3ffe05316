"""Check the router on recorded data: ``route_replay TABLE.jsonl --budget 0.25 --out PLAN.jsonl``."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from routing.replay.plan import affordable, replay
from routing.replay.pool import pool_of
from routing.replay.strategies import DEFAULT, STRATEGIES
from routing.replay.table import BadTableError, read_rows


class Command(BaseCommand):
    help = (
        "Route a table of instances with recorded verdicts. A person's label is shown to the strategy only when the "
        "plan buys it. One JSON line an instance: {budget, id, source, n_labels, p_a, seed}."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("table", type=Path, help="JSON lines: id, group, prompt, a, b, judges, main, human_label")
        parser.add_argument(
            "--budget",
            type=float,
            nargs="+",
            required=True,
            metavar="SHARE",
            help="of one label for each instance, 0…1",
        )
        parser.add_argument("--strategy", choices=list(STRATEGIES), default=DEFAULT)
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--out", type=Path, required=True, help="the plan, as JSON lines")

    def handle(self, *args: Any, **options: Any) -> None:
        seed, out = options["seed"], options["out"]
        if seed < 0:
            raise CommandError("A seed is zero or more.")
        try:
            for budget in options["budget"]:
                affordable(budget, 1)
            rows = read_rows(options["table"])
        except (BadTableError, ValueError) as error:
            raise CommandError(str(error)) from error
        pool, labels = pool_of(rows), [row.human_labels for row in rows]
        strategy = STRATEGIES[options["strategy"]]
        part = out.with_name(f"{out.name}.part")
        try:
            with part.open("w", encoding="utf-8") as file:
                for budget in options["budget"]:
                    plan = replay(pool, labels, strategy, budget, seed)
                    file.writelines(plan.lines(pool.ids))
                    bought = int(plan.labels.sum())
                    self.stdout.write(f"{budget:.0%} offered: {bought:,} labels bought of {pool.size:,} instances")
            os.replace(part, out)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise CommandError(f"{out} cannot be written: {error.strerror}.") from error
        self.stdout.write(self.style.SUCCESS(f"Plan: {out}"))
