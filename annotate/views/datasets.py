"""Dataset versions: freeze one, read its card, fetch its files."""

from __future__ import annotations

from itertools import groupby
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_safe

from feedback.exceptions import InvalidInput
from feedback.formats.shape_table import SHAPES
from feedback.models import DatasetState, DatasetVersion, Project
from feedback.services import datasets
from feedback.services.datasets import VersionFile
from training.objectives.catalogue import READ_SHAPES

from ..access import in_project, no_task_yet, task_from, user_of
from ..downloads import send_file
from ..forms.datasets import FreezeForm
from ..forms.refusing import refuse
from .jobs import job_context

# which of TRL's trainers takes a shape unchanged, and what to say of it
TRAINERS = {
    "preference-conversational": ("DPO", "  # RewardTrainer takes the same rows"),
    "preference": ("DPO", "  # RewardTrainer takes the same rows"),
    "preference-implicit": ("Reward", ""),
    "unpaired": ("KTO", ""),
    "prompt-completion": ("SFT", ""),
    "language-modelling": ("SFT", ""),
}


@require_GET
@in_project("view")
def dataset_list(request: HttpRequest, project: Project) -> HttpResponse:
    versions = DatasetVersion.objects.filter(task__project=project).select_related("task", "created_by")
    context = {
        "project": project,
        "active": "datasets",
        "versions": versions.defer("manifest").order_by("-pk")[:200],
        "tasks": project.tasks.order_by("-created_at"),
    }
    return render(request, "datasets/datasets.html", context)


@require_http_methods(["GET", "POST"])
@in_project("manage")
def dataset_create(request: HttpRequest, project: Project) -> HttpResponse:
    task = task_from(request, project)
    if task is None:
        return no_task_yet(request, project)
    form = FreezeForm(task, request.POST or None)
    if form.is_valid():
        try:
            actor, key = user_of(request), form.idempotency_key()
            version = datasets.create_version(task, form.spec(), actor=actor, idempotency_key=key)
            return redirect("dataset", project.public_id, version.public_id)
        except InvalidInput as error:
            refuse(form, error)
    tasks = project.tasks.order_by("name")
    context = {"project": project, "active": "datasets", "task": task, "tasks": tasks, "form": form}
    return render(request, "datasets/create.html", context, status=422 if form.is_bound else 200)


def _version(project: Project, public_id: UUID) -> DatasetVersion:
    rows = DatasetVersion.objects.filter(task__project=project).select_related("task__project", "created_by", "mix")
    return get_object_or_404(rows, public_id=public_id)


@require_GET
@in_project("view")
def dataset(request: HttpRequest, project: Project, version: UUID) -> HttpResponse:
    row = _version(project, version)
    job = datasets.job_of(row) if row.state != DatasetState.READY else None
    card = row.card
    context: dict[str, Any] = {
        "active": "datasets",
        "version": row,
        "card": card,
        "agreement": card.get("agreement", []),
        "trainable": any(file.shape in READ_SHAPES for file in datasets.files_of(row)),
        "annotators": card.get("annotators", {}),
        "folders": _folders(row),
        "media": [file for file in datasets.files_of(row) if file.shape == "media"],
        "shares": _shares(card),
        "share_total": sum(card.get("counts", {}).get("rows_by_source", {}).values()),
        "snippet": snippet(row, request.build_absolute_uri("/")[:-1]),
        **(job_context(request, project, job) if job else {"project": project}),
    }
    return render(request, "datasets/dataset.html", context)


def _folders(row: DatasetVersion) -> list[dict[str, Any]]:
    """The files by shape and format, with the sum of their rows."""
    data = (file for file in datasets.files_of(row) if file.shape != "media")
    files = sorted(data, key=lambda file: (file.shape, file.format, file.path))
    folders = []
    for (shape, file_format), group in groupby(files, key=lambda file: (file.shape, file.format)):
        inside = list(group)
        rows = sum(file.rows or 0 for file in inside)
        folders.append({"shape": shape, "format": file_format, "rows": rows, "files": inside})
    return folders


def _shares(card: dict[str, Any]) -> list[dict[str, Any]]:
    """Bars of whose labels the rows hold."""
    by_source = card.get("counts", {}).get("rows_by_source", {})
    total = sum(by_source.values())
    counted = [("People", "human", by_source.get("human", 0)), ("Judge", "judge", by_source.get("judge", 0))]
    return [
        {"label": label, "value": count, "words": f"{count / total:.0%}", "tone": tone, "note": f"{count:,}"}
        for label, tone, count in counted
        if total
    ]


def snippet(row: DatasetVersion, origin: str) -> str:
    """Python that loads this version's training files, with their checksums beside."""
    files = [file for file in datasets.files_of(row) if file.split]
    present = {file.shape for file in files}
    shape = next((name for name in (*TRAINERS, *SHAPES) if name in present), "raw")
    of_shape = [file for file in files if file.shape == shape]
    file_format = "parquet" if any(file.format == "parquet" for file in of_shape) else "jsonl"
    folder = f"{shape}/{file_format}"
    loader = "parquet" if file_format == "parquet" else "json"
    lines = [
        f"# with the files of {folder}/ above, downloaded from {origin}",
        "from datasets import load_dataset",
        "",
        f'data = load_dataset("{loader}", data_files={{',
        *(f'    "{split}": "{folder}/data/{split}-*.{file_format}",' for split in _splits(of_shape, file_format)),
        "})",
    ]
    if shape in TRAINERS:
        name, also = TRAINERS[shape]
        lines += [
            "",
            f"from trl import {name}Config, {name}Trainer{also}",
            "",
            f'trainer = {name}Trainer("your-model", args={name}Config(output_dir="out"), train_dataset=data["train"])',
        ]
    return "\n".join(lines)


def _splits(files: list[VersionFile], file_format: str) -> list[str]:
    found = {file.split for file in files if file.format == file_format}
    return [split for split in ("train", "validation", "test") if split in found]


@require_safe
@in_project("view")  # type: ignore[arg-type]
def dataset_file(request: HttpRequest, project: Project, version: UUID, path: str) -> HttpResponseBase:
    return sent(request, _version(project, version), path)


def sent(request: HttpRequest, row: DatasetVersion, path: str) -> HttpResponseBase:
    """A file that the version's manifest lists, or a part of it. Http404 for any other path, and once it is gone."""
    found = datasets.file_of(row, path) if row.state == DatasetState.READY else None
    if found is None or not found[1].is_file():
        raise Http404
    file, place = found
    return send_file(request, place, sha256=file.sha256, name=place.name)
