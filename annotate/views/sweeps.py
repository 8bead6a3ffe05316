"""Sweeps: runs that differ in a few settings, and the best of them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_POST

from feedback.models import Project
from training import services, sweeps
from training.comparing import MOST
from training.models import Sweep

from ..access import in_project, user_of
from .figures import accuracy_words
from .training import TONES, state_words


@require_GET
@in_project("view")
def sweep(request: HttpRequest, project: Project, sweep: UUID) -> HttpResponse:
    services.settle(project)
    row = get_object_or_404(Sweep.objects.select_related("created_by"), project=project, public_id=sweep)
    live = request.headers.get("HX-Target") == "sweep"
    return render(request, "sweeps/_sweep.html" if live else "sweeps/sweep.html", _context(project, row))


def _context(project: Project, sweep: Sweep) -> dict[str, Any]:
    runs = list(sweep.runs.select_related("version__task", "job", "base_run").order_by("number"))
    best = sweeps.best_of(runs)
    split = sweeps.chosen_by(runs)
    rows = [
        {
            "run": run,
            "tone": TONES.get(run.state),
            "words": state_words(run),
            "varied": sweeps.varied(run, sweep),
            "chosen": accuracy_words(_figures(run.evaluation.get(split))),
            "is_best": run == best,
        }
        for run in runs
    ]
    ranked = sorted(runs, key=lambda run: -((run.evaluation.get(split) or {}).get("accuracy") or 0))[:MOST]
    return {
        "project": project,
        "active": "training",
        "sweep": sweep,
        "rows": rows,
        "names": [name.replace("_", " ") for name in sweep.grid],
        "best": best,
        "split": split,
        "is_active": any(run.is_active for run in runs),
        "ended": sum(not run.is_active for run in runs),
        "query": urlencode([("run", run.public_id) for run in ranked]),
    }


def _figures(found: dict[str, Any] | None) -> dict[str, Any] | None:
    return found if found and found.get("accuracy") is not None else None


@require_POST
@in_project("manage")
def sweep_cancel(request: HttpRequest, project: Project, sweep: UUID) -> HttpResponse:
    row = get_object_or_404(Sweep, project=project, public_id=sweep)
    sweeps.cancel_sweep(row, user_of(request))
    return redirect("sweep", project.public_id, row.public_id)
