"""Evaluations of trained models: asked for, worked on by a process, and taken in."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction

from feedback.exceptions import Conflict, InvalidInput, WrongState
from feedback.models import AuditEvent, DatasetState, DatasetVersion, Instance, JobKind, User
from feedback.services import jobs, uploads
from feedback.services.jobs import JobContext
from feedback.services.uploads import Stored

from .base_models import find_folder
from .data import SPLITS, data_files, split_files
from .engine.marks import NAMES
from .models import Evaluation, ModelKind, Run, TrainedModel
from .objectives.catalogue import OBJECTIVES, Objective
from .watch import prepare, watch

EVALUATE = [sys.executable, "-m", "training.evaluate"]
SETTINGS = ("max_length", "long_rows", "tokens_per_batch")
FILE_KINDS = (".jsonl", ".parquet")
MARKED = [column for columns in NAMES.values() for column in columns]
PAIRED = ("pair", "ranking", "ratings", "ordered")


@dataclass(frozen=True)
class Reading:
    """The objective by which a model's reward is read, and the shape of the rows that it reads."""

    objective: Objective
    shape: str


def start_evaluation(
    model: TrainedModel,
    data: DatasetVersion | Stored,
    actor: User | None,
    *,
    split: str = "test",
    config: Mapping[str, Any] | None = None,
    idempotency_key: str = "",
) -> Evaluation:
    """Write an evaluation of ``model`` on a version's split or on a stored file, and its job.

    The same key returns the evaluation it made before. Raises InvalidInput, WrongState for a version without rows
    that the model can be held against, Conflict for a key of another evaluation.
    """
    wishes = _checked(config or {})
    if isinstance(data, DatasetVersion):
        reading_of(model, data, split)
        of: dict[str, Any] = {"version": data, "split": split}
        asked = {"version": str(data.public_id), "split": split}
    else:
        if not data.path.lower().endswith(FILE_KINDS):
            raise InvalidInput(errors={"file": "Choose a .jsonl or .parquet file."})
        of = {"filename": data.filename, "path": data.path, "sha256": data.sha256}
        asked = {"sha256": data.sha256}
    project = model.run.project
    params = {"model": str(model.public_id), **asked, "wishes": wishes}
    with transaction.atomic():
        job = jobs.enqueue(JobKind.EVALUATE, project, params, actor=actor, idempotency_key=idempotency_key)
        found = Evaluation.objects.filter(job=job).first()
        if found:
            if job.params != params:
                raise Conflict("This idempotency key was already used for another evaluation.")
            return found
        made = Evaluation.objects.create(model=model, wishes=wishes, job=job, created_by=actor, **of)
        AuditEvent.write("evaluation.start", actor=actor, project=project, subject=str(made.public_id))
    return made


def _checked(config: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(config) - set(SETTINGS))
    if unknown:
        raise InvalidInput(errors=dict.fromkeys(unknown, "There is no such setting."))
    for name in ("max_length", "tokens_per_batch"):
        value = config.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 8 <= value <= 10**7):
            raise InvalidInput(errors={name: "Must be a whole number from 8 to 10,000,000."})
    if config.get("long_rows", "drop") not in ("drop", "error", "truncate-prompt-left"):
        raise InvalidInput(errors={"long_rows": "Choose drop, error or truncate-prompt-left."})
    return {name: value for name, value in config.items() if value is not None}


def reading_of(model: TrainedModel, version: DatasetVersion | None, split: str = "test") -> Reading:
    """How the model is held against a version's split (or a file of pairs, ``None``).

    Its own objective where that compares completions and the rows fit; else a reward model by ``bt`` and a policy by
    ``dpo``, whose implicit reward every policy has. Raises WrongState when no shape of the version fits.
    """
    own = OBJECTIVES[model.run.objective]
    usual = OBJECTIVES["bt" if model.kind == ModelKind.REWARD_MODEL else "dpo"]
    if version is not None and version.state != DatasetState.READY:
        raise WrongState("This dataset version is not ready; wait until it is frozen.")
    for objective in (own, usual):
        compares = objective.needs <= {"scores"} or objective.needs <= {"logps", "ref_logps"}
        for shape, reader in objective.consumes.items() if compares else ():
            fits = shape == "preference" if version is None else bool(split_files(version, shape, split))
            if reader in PAIRED and fits:
                return Reading(objective, shape)
    raise WrongState(f"This dataset version has no preferences, rankings or ratings in its {split} split.")


def start_on_upload(
    model: TrainedModel,
    file: UploadedFile,
    actor: User | None,
    *,
    config: Mapping[str, Any] | None = None,
    idempotency_key: str = "",
) -> Evaluation:
    """Keep an uploaded file and evaluate on it; what is not evaluated on is not kept. Raises InvalidInput, Conflict."""
    stored = uploads.store_upload(file.chunks(), file.name or "")
    try:
        made = start_evaluation(model, stored, actor, config=config, idempotency_key=idempotency_key)
    except BaseException:
        uploads.discard(stored)
        raise
    if made.path != stored.path:  # the key was used before, for the same bytes
        uploads.discard(stored)
    return made


def work(evaluation: Evaluation, context: JobContext) -> None:
    """Evaluate, and keep what was found. Raises TrainingFailed, JobCancelled, FenceLost, WrongState."""
    prepare(evaluation.folder, "evaluation.json", _wishes(evaluation))
    result = watch(evaluation.folder, EVALUATE, context)
    with transaction.atomic():
        fields = {"report": result["report"], "read": result["read"], "seconds": result["seconds"]}
        Evaluation.objects.filter(pk=evaluation.pk).update(**fields)
        context.hold()


def _wishes(evaluation: Evaluation) -> dict[str, Any]:
    """The content of ``evaluation.json``."""
    model, run, version = evaluation.model, evaluation.model.run, evaluation.version
    reading = reading_of(model, version, evaluation.split)
    options = {**OBJECTIVES[run.objective].defaults, **(run.config.get("objective_options") or {})}
    files = split_files(version, reading.shape, evaluation.split) if version else [uploads.located(evaluation.path)]
    return {
        "schema": 1,
        "model": str(model.folder),
        "reference": str(_reference(run)) if model.kind == ModelKind.POLICY else None,
        "objective": reading.objective.name,
        "objective_options": {name: value for name, value in options.items() if name in reading.objective.defaults},
        "shape": reading.shape,
        "files": [str(path) for path in files],
        "marks": _write_marks(evaluation.folder / "marks.jsonl", version) if version else None,
        "trained_on": data_files(run.version, OBJECTIVES[run.objective], run.held_out)["train"],
        "max_length": run.config.get("max_length", 512),
        "tokens_per_batch": run.config.get("tokens_per_batch", 4096),
        "threads": settings.TRAIN_THREADS or None,
        **evaluation.wishes,
    }


def _reference(run: Run) -> Path:
    """The folder of the model that a run started from. Raises WrongState when it is not there any more."""
    base = find_folder(run.project, run.base_model)
    if base is None or not base.is_dir():
        raise WrongState("The model that this policy started from is not there any more, so nothing can be compared.")
    return base


def _write_marks(path: Path, version: DatasetVersion) -> str:
    """Language and tags of the task's instances, a line for each that has any."""
    path.parent.mkdir(parents=True, exist_ok=True)
    instances = Instance.objects.filter(task=version.task_id).values_list("public_id", "lang", "meta")
    with path.open("w", encoding="utf-8") as file:
        for public_id, lang, meta in instances.iterator(chunk_size=1000):
            values = {**(meta if isinstance(meta, dict) else {}), **({"language": lang} if lang else {})}
            if marks := {name: values[name] for name in MARKED if name in values}:
                file.write(json.dumps({"id": str(public_id), **marks}) + "\n")
    return str(path)


def splits_of(version: DatasetVersion) -> list[str]:
    """The splits of a version that have rows."""
    return [
        split
        for split in SPLITS
        if any(file.get("split") == split and file.get("rows") for file in version.manifest.get("files", []))
    ]
