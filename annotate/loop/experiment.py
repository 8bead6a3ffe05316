"""The loop without a browser: import → pilot → judge → plan → freeze → train → evaluate, for several seeds.

Plans are computed while only the pilot's people are known to the services; what people said of the rest is shown
after the last plan is fixed. Held-out prompts lie in a task of their own, which no plan sees.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connections

from feedback.exceptions import FeedbackError
from feedback.models import Annotator, DatasetVersion, Job, JobState, PreferenceMix, Project, Task, User
from feedback.services import budget, datasets, importing, jobs, tasks, uploads
from routing.models import RoutingPlan
from routing.ppm.pilot import advised_pilot_size
from routing.services import applying, pilots, planning
from routing.services.mixes import keep_mix
from training.ingest import scores_of
from training.models import Run
from training.services import start_run

from .outcomes import Outcome
from .replay import QUESTION, Crowd, Draw, Row, write_rows

Tell = Callable[[str, int, int], None]
PURE = ("all_judge", "all_human")
APPLIED = ("adv_topk", 0.25)


@dataclass(frozen=True)
class Design:
    """What to run. ``training`` are the settings of every reward model; ``workers`` runs train at once."""

    shares: Sequence[float] = (0.10, 0.25, 0.50)
    strategies: Sequence[str] = ("random", "disagreement", "adv_topk", "hyper_topk")
    seeds: Sequence[int] = (0, 1, 2)
    base_model: str = ""
    workers: int = 2
    training: dict[str, Any] = field(default_factory=dict)
    dpo: dict[str, Any] = field(default_factory=dict)
    train: bool = True


@dataclass
class Pool:
    """One seed's tasks: the pool that is routed, and the prompts that are held out."""

    draw: Draw
    task: Task
    crowd: Crowd
    held_out: DatasetVersion
    judge: Annotator
    pilot: int


@dataclass(frozen=True)
class Mixed:
    """One planned mix of one seed."""

    strategy: str
    share: float
    plan: RoutingPlan
    mix: PreferenceMix


class Loop:
    """One run of the loop in a project of its own. ``tell(step, done, total)`` is called as it goes."""

    def __init__(self, project: Project, owner: User, design: Design, tell: Tell) -> None:
        self.project, self.owner, self.design, self.tell = project, owner, design, tell
        self.impossible: dict[str, str] = {}

    def run(self, rows: Sequence[Row]) -> tuple[list[Outcome], Run | None]:
        """All outcomes, and the DPO run on the last seed's applied plan (``None`` without training).

        Raises FeedbackError when a step fails.
        """
        outcomes: list[Outcome] = []
        last: list[DatasetVersion] = []
        for seed in self.design.seeds:
            pool = self.prepare(Draw.of(rows, seed))
            mixes = self.plan(pool)
            if not self.design.train:
                outcomes += [self._outcome(pool, mixed, None) for mixed in mixes]
                continue
            versions = self.freeze(pool, mixes)
            outcomes += self.train(pool, mixes, versions)
            last = [version for mixed, version in zip(mixes, versions, strict=True) if _is_applied(mixed)] or versions
            held_out = pool.held_out
        if not self.design.train:
            return outcomes, None
        self.tell("DPO", 0, 1)
        policy = start_run(last[0], "dpo", self.design.base_model, self.design.dpo, self.owner, held_out=held_out)
        done(policy.job)
        policy.refresh_from_db()
        self.tell("DPO", 1, 1)
        return outcomes, policy

    def prepare(self, draw: Draw) -> Pool:
        """Import the pool without what was said of it, show the judge's verdicts, draw and label the pilot."""
        task = self._import("Pool", draw.seed, draw.pool.values())
        crowd = Crowd(task)
        verdicts = [(name, row.judge) for name, row in draw.pool.items() if row.judge]
        crowd.reveal(verdicts)
        judge = crowd.annotator(verdicts[0][1])
        size = advised_pilot_size(len(draw.pool))
        pilot, _ = pilots.start_pilot(task, size, actor=self.owner, seed=draw.seed)
        drawn = set(pilot.decisions.values_list("instance__external_id", flat=True))
        crowd.reveal((name, draw.pool[name].people[draw.person[name]]) for name in sorted(drawn))
        self.tell(f"Seed {draw.seed}: imported {len(draw.pool)}, judged, pilot of {len(drawn)}", 1, 1)
        return Pool(draw, task, crowd, self._hold_out(draw), judge, len(drawn))

    def _import(self, name: str, seed: int, rows: Any) -> Task:
        task = tasks.create_task(
            self.project, f"{name}, seed {seed}", [QUESTION], actor=self.owner, plan_only=True, budget_micros=0
        )
        folder = Path(settings.VAR_DIR) / "loop"
        folder.mkdir(parents=True, exist_ok=True)
        path = write_rows(rows, folder / f"{name.lower().replace(' ', '-')}-{seed}.jsonl")
        batch = importing.new_batch(task, uploads.on_disk(path), actor=self.owner)
        importing.dry_run(batch, limit=None)
        done(importing.start_import(batch, actor=self.owner))
        price = task.human_price_micros * task.instances.count() * 2
        budget.set_cap(task, price, actor=self.owner)
        tasks.open_task(task, actor=self.owner)
        return task

    def _hold_out(self, draw: Draw) -> DatasetVersion:
        """The held-out prompts with everything that people said of them, frozen as a version that is all test."""
        task = self._import("Held out", draw.seed, draw.held_out.values())
        crowd = Crowd(task)
        crowd.reveal((name, said) for name, row in draw.held_out.items() for said in row.people)
        return self._freeze(task, {"sources": "human", "splits": (0.0, 0.0, 1.0)})

    def _freeze(self, task: Task, spec: dict[str, Any]) -> DatasetVersion:
        spec = {"shapes": ["preference-conversational"], "formats": ["jsonl"], "ties": "drop"} | spec
        version = datasets.create_version(task, spec, actor=self.owner)
        done(datasets.job_of(version))
        version.refresh_from_db()
        return version

    def plan(self, pool: Pool) -> list[Mixed]:
        """A plan per strategy and budget, all before anything they buy is shown; then everything is shown."""
        full = pool.task.human_price_micros * len(pool.draw.pool)
        wanted = [(name, share) for name in self.design.strategies for share in self.design.shares]
        wanted += [(name, float(name == "all_human")) for name in PURE]
        mixes = []
        for number, (strategy, share) in enumerate(wanted, start=1):
            plan = planning.make_plan(
                pool.task, strategy, int(full * share), judge=pool.judge, actor=self.owner, seed=pool.draw.seed
            )
            try:
                done(plan.job)
                mixes.append((strategy, share, plan))
            except FeedbackError as error:  # a pool too small for this strategy; the others go on
                self.impossible[strategy] = error.message
            self.tell(f"Seed {pool.draw.seed}: planning", number, len(wanted))
        for strategy, share, plan in mixes:
            if (strategy, share) == APPLIED:
                applying.apply_plan(plan, actor=self.owner)
        said = set(pool.task.annotations.filter(source="human").values_list("instance__external_id", flat=True))
        pool.crowd.reveal(
            (name, row.people[pool.draw.person[name]]) for name, row in pool.draw.pool.items() if name not in said
        )
        return [Mixed(strategy, share, plan, keep_mix(plan)) for strategy, share, plan in self._fresh(mixes)]

    @staticmethod
    def _fresh(mixes: Sequence[tuple[str, float, RoutingPlan]]) -> list[tuple[str, float, RoutingPlan]]:
        found = RoutingPlan.objects.select_related("mix", "task").in_bulk([plan.pk for _, _, plan in mixes])
        return [(strategy, share, found[plan.pk]) for strategy, share, plan in mixes]

    def freeze(self, pool: Pool, mixes: Sequence[Mixed]) -> list[DatasetVersion]:
        """One version per mix, all of it for training."""
        versions = []
        for number, mixed in enumerate(mixes, start=1):
            spec = {"sources": "mix", "mix": str(mixed.mix.public_id), "splits": (1.0, 0.0, 0.0)}
            versions.append(self._freeze(pool.task, spec))
            self.tell(f"Seed {pool.draw.seed}: freezing", number, len(mixes))
        return versions

    def train(self, pool: Pool, mixes: Sequence[Mixed], versions: Sequence[DatasetVersion]) -> list[Outcome]:
        """A reward model per mix, evaluated on the held-out prompts; mixes that froze to the same bytes share one."""
        config = self.design.training | {"seed": pool.draw.seed}
        different = {version.sha256: version for version in versions}
        by_data = {
            sha256: start_run(version, "bt", self.design.base_model, config, self.owner, held_out=pool.held_out)
            for sha256, version in different.items()
        }
        runs = list(by_data.values())
        with ThreadPoolExecutor(self.design.workers) as workers:
            for number, _ in enumerate(workers.map(_done_in_thread, [run.job for run in runs]), start=1):
                self.tell(f"Seed {pool.draw.seed}: training reward models", number, len(runs))
        return [
            self._outcome(pool, mixed, by_data[version.sha256]) for mixed, version in zip(mixes, versions, strict=True)
        ]

    def _outcome(self, pool: Pool, mixed: Mixed, run: Run | None) -> Outcome:
        names = {str(one.public_id): one.external_id for one in pool.crowd.instances.values()}
        sources = {names[public_id]: source for public_id, source in mixed.mix.sources.items()}
        rows = {row.record.external_id: row for row in [*pool.draw.pool.values(), *pool.draw.held_out.values()]}
        held_out = scores_of(run) if run else []
        human = sum(source == "human" for source in sources.values())
        costs = mixed.plan.summary["costs"]
        pilot = pool.pilot * pool.task.human_price_micros
        prompts = {name: row.prompt_id for name, row in rows.items()}
        return Outcome(
            strategy=mixed.strategy,
            share=mixed.share,
            seed=pool.draw.seed,
            human_share=human / max(len(sources), 1),
            cost=(costs["human_micros"] + costs["judge_micros"] + pilot) / budget.MICROS,
            currency=self.project.currency,
            labels=pool.draw.correct(sources),
            held_out={score.id: score.correct for score in held_out},
            prompt_of=prompts | {score.id: score.prompt_id for score in held_out},
        )


def _is_applied(mixed: Mixed) -> bool:
    return (mixed.strategy, mixed.share) == APPLIED


def done(job: Job | None) -> None:
    """Do a job here and now. Raises FeedbackError with its error sentence when it does not succeed."""
    if job is None:
        raise FeedbackError("The step made no job.")
    jobs.run(job.pk)
    job.refresh_from_db()
    while job.is_active:  # a worker was faster
        time.sleep(0.5)
        job.refresh_from_db()
    if job.state != JobState.SUCCEEDED:
        raise FeedbackError(f"{job.get_kind_display()} {job.get_state_display().lower()}: {job.error}")


def _done_in_thread(job: Job) -> None:
    try:
        done(job)
    finally:
        connections.close_all()
