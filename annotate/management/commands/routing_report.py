"""Measure the router: ``routing_report [--data FOLDER …] [--quick]`` writes routing.html and routing.json."""

from __future__ import annotations

import time
from argparse import ArgumentParser
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from annotate.routing_report.claims import claim_lines
from annotate.routing_report.gaining import gain_lines
from annotate.routing_report.page import Results, sections_of, write
from annotate.routing_report.predicting import prediction_lines
from annotate.routing_report.replaying import BUDGETS as SHARES
from annotate.routing_report.replaying import JUDGES, case_of, cases, replay_lines
from annotate.routing_report.replicating import replication_line
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
        worlds, _ = simulated_lines(count, size, shares if quick else BUDGETS, seeds, self._tell)
        predictions = prediction_lines(count, size, self._tell)
        claims = claim_lines(count, size, worlds, predictions, self._tell)
        results = Results(worlds, predictions, claims, [], [], [])
        try:
            self._replay(results, chosen, draws, seeds, shares)
        except FeedbackError as error:
            raise CommandError(error.message) from error
        facts = {
            "worlds": f"{count} of {size:,} instances, seeds 0 to {count - 1}; {seeds} draws of people in each",
            "replay": f"{draws} draws of the person, {seeds} seeds each" if results.replays else "no set was given",
            "time": str(timedelta(seconds=round(time.monotonic() - started))),
        }
        for section in sections_of(results):
            self.stdout.write(section.text())
        page, data = write(Path(settings.VAR_DIR) / "reports", results, facts)
        self.stdout.write(self.style.SUCCESS(f"\nReport: {page}, {data} ({facts['time']})"))

    def _replay(
        self, results: Results, chosen: list[tuple[Path, str, bool]], draws: int, seeds: int, shares: Sequence[float]
    ) -> None:
        """Every set's tables are added to the results. Raises FeedbackError for a set that cannot be read."""
        for folder, judge, panel in chosen:
            case = case_of(folder, judge, panel)
            if case is None:
                continue
            results.replays.extend(replay_lines(case, draws, seeds, shares, self._tell))
            if not panel:
                results.replications.append(replication_line(case.known, case.pool, judge))
                results.gains.extend(gain_lines(case.known, case.pool, judge, draws))

    def _tell(self, sentence: str) -> None:
        self.stdout.write(sentence)
        self.stdout.flush()


def sets_of(folder: Path) -> list[Path]:
    """The folder itself, or the folders in it where several of them are sets. Raises CommandError for no folder."""
    if not folder.is_dir():
        raise CommandError(f"{folder} is no folder.")
    inner = [path for path in sorted(folder.iterdir()) if path.is_dir() and cases([path])]
    return inner if len(inner) > 1 or not cases([folder]) else [folder]
