"""The training job. The work stands in the job table; the process that trains is watched by the supervisor."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from feedback.exceptions import FeedbackError
from feedback.models import JobKind
from feedback.services import jobs
from feedback.services.jobs import FenceLost, JobCancelled, JobContext

from . import services
from .base_models import SMALL
from .models import Run, RunState
from .supervisor import Supervisor, TrainingFailed, ensure_small_base_model


@jobs.handles(JobKind.TRAIN)
def train(context: JobContext) -> dict[str, Any]:
    """Train one run to its end; safe to begin again at any point of it."""
    run = Run.objects.select_related("project", "version__task", "version__mix", "base_run").get(
        public_id=context.params["run"]
    )
    if run.state != RunState.FINISHED:  # a worker may have died between the run's end and the job's
        _train(run, context)
    return {"run": str(run.public_id)}


def _train(run: Run, context: JobContext) -> None:
    try:
        services.begin(run, context)
        if find_spec("torch") is None:
            raise TrainingFailed("This worker has no torch; install the extra train to train on it.")
        if run.base_model == SMALL:
            ensure_small_base_model(context)
        services.write_run_file(run)
        Supervisor(run, context).work()
    except FenceLost:
        raise
    except JobCancelled:
        services.end(run, RunState.CANCELLED, context)
        raise
    except FeedbackError as error:
        services.end(run, RunState.FAILED, context, error=error.message)
        raise
