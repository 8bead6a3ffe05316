"""Sweeps: one run for each combination of a few settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from django.db import transaction

from feedback.exceptions import Conflict, InvalidInput, WrongState
from feedback.models import AuditEvent, DatasetVersion, User

from . import services
from .models import Run, Sweep
from .objectives.catalogue import OBJECTIVES

MOST_RUNS = 24
SWEPT = (
    *("learning_rate", "epochs", "warmup_steps", "weight_decay", "max_grad_norm", "max_length", "tokens_per_batch"),
    *("gradient_accumulation", "schedule", "seed", "tuning", "order", "lora_rank", "lora_alpha"),
)


def start_sweep(
    version: DatasetVersion,
    objective: str,
    base_model: str,
    config: Mapping[str, Any],
    grid: Mapping[str, Sequence[Any]],
    actor: User | None,
    idempotency_key: str = "",
    held_out: DatasetVersion | None = None,
) -> Sweep:
    """Write a sweep, its runs and their jobs; all of them or none. The same key returns the sweep it made before.

    ``grid`` maps settings and options of the objective to the values that are tried; every combination is a run.
    Raises InvalidInput for a setting that cannot be varied, or for fewer than 2 or more than 24 runs, and what
    ``start_run`` raises.
    """
    configs = combinations(objective, config, grid)
    with transaction.atomic():
        sweep = Sweep.objects.create(project=version.task.project, grid=dict(grid), created_by=actor)
        for number, one in enumerate(configs):
            key = f"{idempotency_key}#{number}" if idempotency_key else ""
            run = services.start_run(version, objective, base_model, one, actor, key, held_out)
            if run.sweep_id is not None and number == 0:
                return _made_before(sweep, run, grid)
            Run.objects.filter(pk=run.pk).update(sweep=sweep)
        AuditEvent.write("sweep.start", actor=actor, project=sweep.project, subject=str(sweep.public_id))
    return sweep


def _made_before(sweep: Sweep, run: Run, grid: Mapping[str, Sequence[Any]]) -> Sweep:
    sweep.delete()
    before = Sweep.objects.get(runs=run)
    if before.grid != {name: list(values) for name, values in grid.items()}:
        raise Conflict("This idempotency key was already used for another sweep.")
    return before


def combinations(objective: str, config: Mapping[str, Any], grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """The settings of each run of a sweep. Raises InvalidInput."""
    options = OBJECTIVES[objective].defaults if objective in OBJECTIVES else {}
    unknown = [name for name in grid if name not in SWEPT and name not in options]
    if unknown:
        raise InvalidInput(errors={f"grid.{name}": "This cannot be varied." for name in unknown})
    empty = [name for name, values in grid.items() if not values or len(set(map(repr, values))) < len(values)]
    if empty:
        raise InvalidInput(errors={f"grid.{name}": "Give each value once, and at least one." for name in empty})
    chosen = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    if not 2 <= len(chosen) <= MOST_RUNS:
        raise InvalidInput(errors={"grid": f"This makes {len(chosen):,} runs; a sweep has 2 to {MOST_RUNS}."})
    return [_with(config, one, options) for one in chosen]


def _with(config: Mapping[str, Any], chosen: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    own = {name: value for name, value in chosen.items() if name in options}
    return {
        **config,
        **{name: value for name, value in chosen.items() if name not in options},
        "objective_options": {**(config.get("objective_options") or {}), **own},
    }


def cancel_sweep(sweep: Sweep, actor: User | None) -> int:
    """Ask all of its runs that have not ended to stop; returns how many. Raises WrongState when all have."""
    asked = 0
    for run in sweep.runs.active().select_related("job", "project"):
        try:
            services.cancel_run(run, actor)
        except WrongState:  # it ended a moment ago
            continue
        asked += 1
    if not asked:
        raise WrongState("Every run of this sweep has already ended.")
    return asked


def varied(run: Run, sweep: Sweep) -> list[Any]:
    """What this run has of the settings that the sweep varies."""
    told = {**run.config, **(run.config.get("objective_options") or {})}
    return [told.get(name) for name in sweep.grid]


def chosen_by(runs: Sequence[Run]) -> str:
    """The split on which the best run is chosen: validation where the runs have it, else test."""
    return "validation" if any((run.evaluation.get("validation") or {}).get("pairs") for run in runs) else "test"


def best_of(runs: Sequence[Run]) -> Run | None:
    """The run with the highest accuracy on that split, the lower log-loss first of equals; None before there is any."""
    split = chosen_by(runs)
    scored = [run for run in runs if (run.evaluation.get(split) or {}).get("accuracy") is not None]
    figures = {run.pk: run.evaluation[split] for run in scored}
    return max(
        scored, key=lambda run: (figures[run.pk]["accuracy"], -(figures[run.pk].get("log_loss") or 0)), default=None
    )
