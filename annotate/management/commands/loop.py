from __future__ import annotations

import os
import subprocess
import sys
import time
from argparse import ArgumentParser
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from annotate.loop.experiment import Design, Loop
from annotate.loop.outcomes import lines
from annotate.loop.replay import Row, read_demo, read_set, write_texts
from annotate.loop.report import table, write
from feedback.exceptions import FeedbackError
from feedback.models import User
from feedback.services import people
from training.base_models import SMALL
from training.models import Run

ADDRESS = "loop@localhost.localdomain"
TRAINING = {
    "max_length": 1024,
    "long_rows": "drop",
    "tokens_per_batch": 8192,
    "epochs": 1,
    "learning_rate": 1e-3,
    "checkpoint_every": 10_000,
}
DPO = TRAINING | {"learning_rate": 1e-4, "objective_options": {"beta": 0.1}}


class Command(BaseCommand):
    help = "Replay a recorded set through the whole loop and report which strategies beat random routing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--data", type=Path, help="folder or file of a supported set; default: the demo instances")
        parser.add_argument("--judge", help="which recorded judge; default: the one with most verdicts")
        parser.add_argument("--budgets", type=float, nargs="+", default=[0.10, 0.25, 0.50], metavar="SHARE")
        parser.add_argument("--seeds", type=int, default=3, help="how many draws")
        parser.add_argument("--labels-only", action="store_true", help="plan and compare labels, train nothing")
        parser.add_argument(
            "--base-model",
            help="a base model's key; default: one made from the set's texts, for the demo the small one",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        started = time.monotonic()
        if settings.EMBEDDED:  # `make loop` may be the first thing that anybody does here
            call_command("migrate", verbosity=0)
        try:
            name, rows = read_set(options["data"], options["judge"]) if options["data"] else read_demo()
            owner = User.objects.filter(email=ADDRESS).first() or User.objects.create_user(ADDRESS, name="Loop")
            source = options["data"].resolve().name if options["data"] else "the demo instances"
            project = people.create_project(f"Loop: {source}, {time.strftime('%Y-%m-%d %H:%M')}", owner=owner)
            train = not options["labels_only"]
            design = Design(
                shares=tuple(options["budgets"]),
                seeds=tuple(range(options["seeds"])),
                base_model=options["base_model"] or (own_base_model(rows) if options["data"] and train else SMALL),
                training=TRAINING,
                dpo=DPO,
                train=train,
            )
            # runs at the same time share the cores; two that each take all of them wait for each other
            settings.TRAIN_THREADS = settings.TRAIN_THREADS or max(1, (os.cpu_count() or 1) // design.workers)
            loop = Loop(project, owner, design, Progress(self.stdout))
            outcomes, policy = loop.run(rows)
        except FeedbackError as error:
            raise CommandError(error.message) from error
        facts = {
            "data": source,
            "judge": name,
            "instances": len(rows),
            "seeds": len(design.seeds),
            "held-out pairs": held_out_sentence([len(outcome.held_out) for outcome in outcomes]),
            "DPO": dpo_sentence(policy) if policy else "not run",
            **{f"not possible: {strategy}": reason for strategy, reason in loop.impossible.items()},
            "time": str(timedelta(seconds=round(time.monotonic() - started))),
        }
        report = lines(outcomes)
        path = write(Path(settings.VAR_DIR) / "reports", report, facts)
        for strategy, reason in loop.impossible.items():
            self.stdout.write(f"{strategy}: not possible here. {reason}")
        self.stdout.write(f"\n{table(report)}\n\nDPO: {facts['DPO']}\nTime: {facts['time']}\nReport: {path}")


def own_base_model(rows: list[Row]) -> str:
    """The key of a small language model made, once, from the texts of these instances; no preference goes into it."""
    texts = write_texts(rows, Path(settings.VAR_DIR) / "loop" / "texts.jsonl")
    name = f"loop-{sha256(texts.read_bytes()).hexdigest()[:12]}"
    folder = Path(settings.MODELS_DIR) / name
    if not (folder / "config.json").is_file():
        making = [sys.executable, "-m", "training.base_model", str(folder), "--texts", str(texts)]
        ended = subprocess.run(making, cwd=settings.BASE_DIR, stdout=subprocess.DEVNULL, check=False)
        if ended.returncode:
            raise FeedbackError("The base model could not be made from the set's texts; see the error above.")
    return f"folder:{name}"


def held_out_sentence(counts: list[int]) -> str:
    """How many pairs the reward models were evaluated on."""
    dropped = f"rows above {TRAINING['max_length']} tokens are left out of training and evaluation"
    return f"{min(counts)} to {max(counts)} a seed; {dropped}"


def dpo_sentence(run: Run) -> str:
    """What the DPO run did, in words."""
    found = run.evaluation.get("test") or {}
    accuracy = found.get("accuracy")
    if accuracy is None:
        return f"{run} finished after {run.step} steps; nothing was held out."
    return (
        f"{run} finished after {run.step} steps; its implicit reward ranks {accuracy:.3f} "
        f"[{found['low']:.3f}, {found['high']:.3f}] of {found['pairs']} held-out pairs as people do."
    )


class Progress:
    """Tells what is being done: one line that is rewritten on a terminal, else a line per finished step."""

    def __init__(self, out: Any) -> None:
        self.out, self.started = out, time.monotonic()
        self.live = sys.stdout.isatty()

    def __call__(self, step: str, done: int, total: int) -> None:
        clock = str(timedelta(seconds=round(time.monotonic() - self.started)))
        if self.live:
            self.out.write(f"\r\x1b[K{clock}  {step}  {done}/{total}", ending="\n" if done == total else "")
            self.out.flush()
        elif done == total:
            self.out.write(f"{clock}  {step}  {done}/{total}")
