"""The training job. The work stands in the job table; the process that trains is watched by the supervisor."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from feedback.exceptions import FeedbackError
from feedback.models import JobKind
from feedback.services import jobs
from feedback.services.jobs import FenceLost, JobCancelled, JobContext

from . import evaluations, generations, scorings, services
from .base_models import SMALL
from .models import Evaluation, Generation, Run, RunState, Scoring
from .supervisor import Supervisor, check, ensure_small_base_model
from .watch import TrainingFailed


@jobs.handles(JobKind.TRAIN)
def train(context: JobContext) -> dict[str, Any]:
    """Train one run to its end; safe to begin again at any point of it."""
    run = Run.objects.select_related("project", "version__task", "version__mix", "base_run").get(
        public_id=context.params["run"]
    )
    if run.job_id == context.job.pk and run.is_active:  # a worker may have died between the run's end and the job's
        _train(run, context)
    return {"run": str(run.public_id)}


def _train(run: Run, context: JobContext) -> None:
    try:
        services.begin(run, context)
        need_torch()
        if run.base_model == SMALL:
            ensure_small_base_model(context)
        services.write_run_file(run)
        if run.check_first:
            check(run, context)
        else:
            Supervisor(run, context).work()
    except FenceLost:
        raise
    except JobCancelled:
        services.end(run, RunState.CANCELLED, context)
        raise
    except FeedbackError as error:
        services.end(run, RunState.FAILED, context, error=error.in_full)
        raise


def need_torch() -> None:
    """Raises TrainingFailed on a worker that cannot run models."""
    if find_spec("torch") is None:
        raise TrainingFailed("This worker has no torch; install the extra train to train on it.")


@jobs.handles(JobKind.EVALUATE)
def evaluate(context: JobContext) -> dict[str, Any]:
    """Evaluate one trained model; done anew however often it begins."""
    rows = Evaluation.objects.select_related("model__run__project", "model__run__version", "version__task")
    evaluation = rows.get(job=context.job)
    if not evaluation.report:  # a worker may have died between the report and the job's end
        need_torch()
        evaluations.work(evaluation, context)
    return {"evaluation": str(evaluation.public_id)}


@jobs.handles(JobKind.GENERATE)
def generate(context: JobContext) -> dict[str, Any]:
    """Write a policy's completions; goes on where it stopped."""
    rows = Generation.objects.select_related("model__run__project", "reward_model__run", "task__project", "prompts")
    generation = rows.get(job=context.job)
    if not generation.report:
        need_torch()
        generations.work(generation, context)
    return {"generation": str(generation.public_id)}


@jobs.handles(JobKind.SCORE)
def score(context: JobContext) -> dict[str, Any]:
    """Score a task's completions with a reward model; done anew however often it begins."""
    rows = Scoring.objects.select_related("model__run__project", "task__project", "annotator")
    scoring = rows.get(job=context.job)
    if not scoring.report:
        need_torch()
        scorings.work(scoring, context)
    return {"scoring": str(scoring.public_id), "model": str(scoring.model.public_id)}
