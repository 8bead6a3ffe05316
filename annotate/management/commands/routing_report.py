"""Measure the router: ``routing_report [--data FOLDER …] [--quick]`` writes routing.html and routing.json."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from annotate.routing_report.page import (
    REPLAY_HEADINGS,
    WORLD_HEADINGS,
    by_case,
    facts_of,
    replay_cells,
    text_table,
    world_cells,
    write,
)
from annotate.routing_report.replaying import BUDGETS as SHARES
from annotate.routing_report.replaying import JUDGES, ReplayLine, cases, replay_lines
from annotate.routing_report.simulating import BUDGETS, simulated_lines
from feedback.exceptions import FeedbackError


class Command(BaseCommand):
    help = "Compare every routing strategy in simulated worlds and by replay of recorded sets."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--data", type=Path, nargs="*", default=[], help="folders of sets, or one folder of folders"
        )
        parser.add_argument("--worlds", type=int, default=8)
        parser.add_argument("--draws", type=int, default=3, help="which person can be bought, drawn this often")
        parser.add_argument("--seeds", type=int, default=3)
        parser.add_argument("--quick", action="store_true", help="two small worlds, one draw and seed, two budgets")

    def handle(self, *args: Any, **options: Any) -> None:
        started, quick = time.monotonic(), options["quick"]
        if min(options["worlds"], options["draws"], options["seeds"]) < 1:
            raise CommandError("Worlds, draws and seeds are one or more.")
        chosen = cases([inner for folder in options["data"] for inner in sets_of(folder)])
        if options["data"] and not chosen:
            raise CommandError(f"None of these folders holds a set that is replayed here: {', '.join(JUDGES)}.")
        draws, seeds = (1, 1) if quick else (options["draws"], options["seeds"])
        count, size = (2, 600) if quick else (options["worlds"], 6000)
        shares = (0.25, 0.5) if quick else SHARES
        worlds = simulated_lines(count, size, shares if quick else BUDGETS, self._tell)
        replays: list[ReplayLine] = []
        try:
            for folder, judge, panel in chosen:
                replays += replay_lines(folder, judge, panel, draws, seeds, shares, self._tell)
        except FeedbackError as error:
            raise CommandError(error.message) from error
        facts = {
            "worlds": f"{count} of {size:,} instances, seeds 0 to {count - 1}",
            "replay": f"{draws} draws of the person, {seeds} seeds each" if replays else "no recorded set was given",
            "time": str(timedelta(seconds=round(time.monotonic() - started))),
        }
        self.stdout.write(f"\nSimulated worlds\n{text_table(WORLD_HEADINGS, map(world_cells, worlds))}")
        for heading, lines in by_case(replays).items():
            table = text_table(REPLAY_HEADINGS, map(replay_cells, lines))
            self.stdout.write(f"\n{heading}\n{facts_of(lines[0])}\n{table}")
        page, data = write(Path(settings.VAR_DIR) / "reports", worlds, replays, facts)
        self.stdout.write(self.style.SUCCESS(f"\nReport: {page}, {data} ({facts['time']})"))

    def _tell(self, sentence: str) -> None:
        self.stdout.write(sentence)
        self.stdout.flush()


def sets_of(folder: Path) -> list[Path]:
    """The folder itself, or the folders in it where several of them are sets. Raises CommandError for no folder."""
    if not folder.is_dir():
        raise CommandError(f"{folder} is no folder.")
    inner = [path for path in sorted(folder.iterdir()) if path.is_dir() and cases([path])]
    return inner if len(inner) > 1 or not cases([folder]) else [folder]
