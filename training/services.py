"""Writes of training: start, resume and cancel runs, and what their end brings."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Max
from django.db.models.functions import Coalesce, Now
from pydantic import ValidationError

from feedback.exceptions import Conflict, InvalidInput, WrongState
from feedback.models import (
    AuditEvent,
    DatasetState,
    DatasetVersion,
    Fidelity,
    JobKind,
    MixScore,
    Project,
    User,
)
from feedback.services import jobs
from feedback.services.jobs import JobContext

from . import card
from .base_models import BaseModel, find_base_model
from .data import data_files
from .engine.config import RunConfig
from .engine.score_heads import heads_fault
from .ingest import read_json
from .models import ACTIVE, Run, RunState, TrainedModel
from .objectives.catalogue import OBJECTIVES

# what the owner of a run may set; where things lie and how to write them down is ours
SETTINGS = (
    *("objective_options", "max_length", "max_prompt_length", "long_rows", "tokens_per_batch"),
    *("gradient_accumulation", "epochs", "max_steps", "learning_rate", "warmup_steps", "weight_decay"),
    *("max_grad_norm", "schedule", "seed", "checkpoint_every", "evaluate_every", "precision", "device"),
    *("tuning", "lora_rank", "lora_alpha", "order"),
)
Z95 = 1.959964


def start_run(
    version: DatasetVersion,
    objective: str,
    base_model: str,
    config: Mapping[str, Any],
    actor: User | None,
    idempotency_key: str = "",
    held_out: DatasetVersion | None = None,
    *,
    check_first: bool = False,
) -> Run:
    """Write a run and its job. With ``check_first`` it learns nothing yet: it is checked, and waits for
    ``start_checked``. The same key with the same wishes returns the run it made before.

    ``held_out`` is a version of the same project whose test split is evaluated on instead of ``version``'s own, so that
    runs on different data can be compared.

    Raises InvalidInput with a sentence per field, WrongState for a version that cannot be trained on, Conflict.
    """
    project = version.task.project
    if objective not in OBJECTIVES:
        raise InvalidInput(errors={"objective": f"Choose one of: {', '.join(OBJECTIVES)}."})
    base = find_base_model(project, base_model, OBJECTIVES[objective])
    if held_out is not None and held_out.task.project_id != project.pk:
        raise InvalidInput(errors={"held_out": "Choose a version of this project."})
    check_config(version, objective, base, config, held_out)
    wishes: dict[str, Any] = {
        "version": str(version.public_id),
        "objective": objective,
        "base_model": base.key,
        "config": dict(config),
    }
    if held_out is not None:
        wishes["held_out"] = str(held_out.public_id)
    if check_first:
        wishes["check_first"] = True
    with transaction.atomic():
        name = uuid.uuid4()
        params = {"run": str(name), "wishes": wishes}
        job = jobs.enqueue(JobKind.TRAIN, project, params, actor=actor, idempotency_key=idempotency_key)
        if job.params["run"] != str(name):
            return _made_before(job.params, wishes)
        Project.objects.select_for_update(no_key=True).get(pk=project.pk)  # numbers are given out one at a time
        last = Run.objects.filter(project=project).aggregate(last=Coalesce(Max("number"), 0))["last"]
        run = Run.objects.create(
            public_id=name,
            project=project,
            number=last + 1,
            version=version,
            held_out=held_out,
            objective=objective,
            base_model=base.key,
            base_run=base.run,
            config=dict(config),
            check_first=check_first,
            job=job,
            created_by=actor,
        )
        AuditEvent.write("run.start", actor=actor, project=project, subject=str(run), run=str(run.public_id))
    return run


def _made_before(params: Mapping[str, Any], wishes: Mapping[str, Any]) -> Run:
    if params.get("wishes") != wishes:
        raise Conflict("This idempotency key was already used for another run.")
    return Run.objects.select_related("job").get(public_id=params["run"])


def check_config(
    version: DatasetVersion,
    objective: str,
    base: BaseModel,
    config: Mapping[str, Any],
    held_out: DatasetVersion | None = None,
) -> None:
    """Hold a run's settings against the engine's own rules. Raises InvalidInput or WrongState."""
    if any(one.state != DatasetState.READY for one in (version, held_out) if one is not None):
        raise WrongState("This dataset version is not ready; wait until it is frozen.")
    unknown = sorted(set(config) - set(SETTINGS))
    if unknown:
        raise InvalidInput(errors={f"config.{name}": "There is no such setting." for name in unknown})
    try:
        asked = RunConfig.model_validate(_run_file(version, held_out, objective, base, config))
    except ValidationError as error:
        raise InvalidInput("The settings of this run are not right.", errors=_sentences(error)) from error
    if fault := heads_fault(base.heads(), asked.heads):
        raise InvalidInput(errors={"base_model": fault})


def _sentences(error: ValidationError) -> dict[str, str]:
    sentences = {}
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        text = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
        field = ".".join(["config", *(str(part) for part in detail["loc"])])
        sentences[field] = f"{text[:1].upper()}{text[1:]}."
    return sentences


def _run_file(
    version: DatasetVersion,
    held_out: DatasetVersion | None,
    objective: str,
    base: BaseModel,
    config: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of ``run.json``: the owner's settings with the places of things on this machine."""
    return {
        **config,
        "schema": 1,
        "objective": objective,
        "base_model": str(base.folder),
        "data": data_files(version, OBJECTIVES[objective], held_out),
        "threads": settings.TRAIN_THREADS or None,
        "reference_cache": str(Path(settings.FILES_DIR) / "reference"),
        "token_cache": str(Path(settings.FILES_DIR) / "tokens"),
    }


def write_run_file(run: Run) -> BaseModel:
    """Put ``run.json`` into the run's folder; returns the base model that it names."""
    base = find_base_model(run.project, run.base_model, OBJECTIVES[run.objective])
    run.folder.mkdir(parents=True, exist_ok=True)
    temporary = run.folder / ".run.json.tmp"
    temporary.write_text(
        json.dumps(_run_file(run.version, run.held_out, run.objective, base, run.config)), encoding="utf-8"
    )
    temporary.replace(run.folder / "run.json")
    (run.folder / "cancel").unlink(missing_ok=True)
    return base


@transaction.atomic
def resume_run(run: Run, actor: User | None) -> Run:
    """Start a run that was cancelled or failed again, from its last checkpoint; one that was being checked is checked
    again. Raises WrongState."""
    again = _queued_again(run, actor, [RunState.CANCELLED, RunState.FAILED])
    if again is None:
        raise WrongState("Only a run that was cancelled or failed can be resumed.")
    AuditEvent.write("run.resume", actor=actor, project=run.project, subject=str(run), run=str(run.public_id))
    return again


@transaction.atomic
def start_checked(run: Run, actor: User | None) -> Run:
    """Let a run that was checked learn. Raises WrongState."""
    again = _queued_again(run, actor, [RunState.CHECKED], check_first=False)
    if again is None:
        raise WrongState("Only a run that was checked and waits can be started.")
    AuditEvent.write("run.go", actor=actor, project=run.project, subject=str(run), run=str(run.public_id))
    return again


def _queued_again(run: Run, actor: User | None, states: list[RunState], **fields: Any) -> Run | None:
    """The run with a new job; None where it is in none of these states, and its caller's transaction undoes the job."""
    job = jobs.enqueue(JobKind.TRAIN, run.project, {"run": str(run.public_id)}, actor=actor)
    waiting = Run.objects.filter(pk=run.pk, state__in=states, job=run.job_id)
    fields |= {"state": RunState.QUEUED, "ended_at": None, "error": "", "message": "", "eta_seconds": None}
    if not waiting.update(job=job, **fields):
        return None
    return Run.objects.select_related("job").get(pk=run.pk)


def cancel_run(run: Run, actor: User | None) -> None:
    """Ask a run to stop; it saves a checkpoint first and can be resumed. One that waits for its start ends at once.
    Raises WrongState when it has ended."""
    if run.is_checked:
        if _end(run, RunState.CANCELLED, actor=actor, states=[RunState.CHECKED]):
            return
        run = Run.objects.select_related("job", "project").get(pk=run.pk)  # somebody started it meanwhile
    if not run.is_active:
        raise WrongState("This run has already ended.")
    jobs.cancel(run.job, actor=actor)
    settle(run.project)


def settle(project: Project) -> None:
    """End the runs whose job ended without them: cancelled while it waited, or set aside after crashes."""
    for run in Run.objects.adrift().filter(project=project).select_related("job", "project"):
        _end(run, run.state_of_job(), error=run.job.error, only=Run.objects.filter(job=run.job_id))


def begin(run: Run, context: JobContext) -> None:
    """Note that a worker has taken the run up."""
    with transaction.atomic():
        Run.objects.filter(pk=run.pk).update(state=RunState.RUNNING, started_at=Coalesce("started_at", Now()))
        context.hold()


def end(run: Run, state: RunState, context: JobContext, *, error: str = "") -> None:
    """End a run that was cancelled or failed. Raises FenceLost, and then nothing is written."""
    with transaction.atomic():
        _end(run, state, error=error, preflight=read_json(run.folder / "preflight.json"))
        context.hold()


def _end(
    run: Run,
    state: RunState,
    *,
    error: str = "",
    only: Any = None,
    actor: User | None = None,
    states: list[RunState] = ACTIVE,
    **fields: Any,
) -> int:
    active = (Run.objects.all() if only is None else only).filter(pk=run.pk, state__in=states)
    ended: int = active.update(state=state, ended_at=Now(), eta_seconds=None, error=error[:4000], **fields)
    if ended:
        AuditEvent.write(f"run.{state}", actor=actor, project=run.project, subject=str(run), run=str(run.public_id))
    return ended


def checked(run: Run, context: JobContext) -> None:
    """Take in the report of a run that was only to be checked. Raises FenceLost, and then nothing is written."""
    told = {"preflight": read_json(run.folder / "preflight.json"), "phase": "", "message": "", "started_at": None}
    with transaction.atomic():
        if Run.objects.active().filter(pk=run.pk).update(state=RunState.CHECKED, **told):
            about = {"subject": str(run), "run": str(run.public_id)}
            AuditEvent.write("run.checked", actor=None, project=run.project, **about)
        context.hold()


def finish(run: Run, context: JobContext) -> TrainedModel:
    """Take in the result of a run that came to its end: evaluation, model with card, score of the mix.

    Raises FenceLost, and then nothing is written.
    """
    result = read_json(run.folder / "result.json")
    run.evaluation, run.preflight = result["evaluation"], read_json(run.folder / "preflight.json")
    run.step, run.tokens, run.seconds = result["steps"], result["tokens"], result["seconds"]
    run.votes = result.get("votes", {})
    text = card.render(run)
    files = [*_files(result["files"]), card.write(run.folder / "model", text)]
    with transaction.atomic():
        fields = ("evaluation", "votes", "preflight", "step", "tokens", "seconds")
        _end(run, RunState.FINISHED, **{name: getattr(run, name) for name in fields})
        model = TrainedModel.objects.create(
            run=run,
            name=f"{run.objective_title} · run {run.number}",
            kind=run.kind,
            sha256=card.manifest_sha256(files),
            files=files,
            bytes=sum(file["bytes"] for file in files),
            card=text,
        )
        _score_mix(run)
        context.hold()
    return model


def _files(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The model's files with paths relative to the model's folder; the card is written by us."""
    files = [{**file, "path": file["path"].removeprefix("model/")} for file in listed]
    return [file for file in files if file["path"] != card.NAME]


def _score_mix(run: Run) -> None:
    """A reward model's held-out accuracy is what routing learns the worth of a preference mix from."""
    found = run.evaluation.get("test") or {}
    if run.objective != "bt" or run.version.mix is None or found.get("accuracy") is None:
        return
    MixScore.objects.update_or_create(
        mix=run.version.mix,
        metric="test_accuracy",
        fidelity=Fidelity.SMALL,
        seed=run.config.get("seed", 0),
        origin=f"run:{run.public_id}",
        defaults={"value": found["accuracy"], "stderr": (found["high"] - found["low"]) / (2 * Z95)},
    )
