"""Runs beside each other: what they were asked, and how they did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from feedback.exceptions import InvalidInput
from feedback.models import Project

from .evaluation.accuracy import paired_difference
from .ingest import Score, scores_of
from .models import Run
from .objectives.catalogue import OBJECTIVES

MOST = 8
MOST_PAIRS = 20_000


@dataclass(frozen=True)
class Setting:
    """A setting with its value in each run, ``None`` where the run does not say or read it."""

    name: str
    values: list[Any]

    @property
    def differs(self) -> bool:
        return any(value != self.values[0] for value in self.values)


def runs_named(project: Project, names: Sequence[str]) -> list[Run]:
    """The runs of these public ids, in their order, each once. Raises InvalidInput for fewer than two, more than
    eight, or one that is not there."""
    try:
        wanted = list(dict.fromkeys(UUID(name) for name in names[: MOST + 1]))
    except ValueError as error:
        raise InvalidInput(errors={"run": "A run is named by its id."}) from error
    if not 2 <= len(wanted) <= MOST or len(names) > MOST:
        raise InvalidInput(errors={"run": f"Choose two to {MOST} runs to compare."})
    rows = Run.objects.filter(project=project, public_id__in=wanted)
    found = {run.public_id: run for run in rows.select_related("version__task", "held_out__task", "base_run", "job")}
    if len(found) < len(wanted):
        raise InvalidInput(errors={"run": "There is no such run."})
    return [found[name] for name in wanted]


def settings_beside(runs: Sequence[Run]) -> list[Setting]:
    """Every setting of the runs, those that differ first."""
    told = [_told(run) for run in runs]
    names = dict.fromkeys(name for one in told for name in one)
    rows = [Setting(name, [one.get(name) for one in told]) for name in names]
    return sorted(rows, key=lambda row: not row.differs)


def _told(run: Run) -> dict[str, Any]:
    options = {**OBJECTIVES[run.objective].defaults, **(run.config.get("objective_options") or {})}
    held_out = {"held out": str(run.held_out)} if run.held_out else {}
    return {
        "objective": run.objective_title,
        "dataset version": str(run.version),
        **held_out,
        "base model": run.base_name,
        **{name: value for name, value in run.config.items() if name != "objective_options"},
        **options,
    }


def differences(runs: Sequence[Run]) -> list[dict[str, Any] | None]:
    """How much more often each run is right than the first on the held-out pairs of both; None for the first and where
    there are none, or more than 20,000."""
    first, *others = [_scores(run) for run in runs]
    prompts = {one.id: one.prompt_id for one in first}
    points = {one.id: one.correct for one in first}
    found: list[dict[str, Any] | None] = [None]
    for scores in others:
        one = paired_difference({score.id: score.correct for score in scores}, points, prompts)
        found.append(one if one["pairs"] else None)
    return found


def _scores(run: Run) -> list[Score]:
    figures = run.evaluation.get("test") or {}
    return scores_of(run) if figures.get("pairs", 0) <= MOST_PAIRS else []
