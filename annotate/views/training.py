"""Runs: start one, watch it, stop it, take it up again."""

from __future__ import annotations

import secrets
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from feedback.exceptions import FeedbackError, InvalidInput
from feedback.models import DatasetState, DatasetVersion, Project
from training import comparing, services, sweeps
from training.base_models import base_models
from training.curves import COMPARED, GROUPS, curves, overlaid
from training.engine.config import RunConfig
from training.ingest import log_page, words
from training.models import Run
from training.objectives.catalogue import OBJECTIVES

from ..access import in_project, user_of
from ..forms.training import RunForm
from .figures import accuracy_words, reliability_chart, slice_rows

PAGE = 50
TONES = {"running": "accent", "checked": "warning", "finished": "success", "failed": "danger"}
CHARTS = (
    ("loss", "Loss", ""),
    ("accuracy", "Accuracy", ""),
    ("margin", "Reward margin", "chosen minus rejected"),
    ("speed", "Speed", "tokens per second"),
)


@require_GET
@in_project("view")
def training(request: HttpRequest, project: Project) -> HttpResponse:
    services.settle(project)
    runs = _runs(project).order_by("-number")
    before = request.GET.get("before", "")
    if before.isdecimal() and len(before) < 10:
        runs = runs.filter(number__lt=int(before))
    rows = list(runs[: PAGE + 1])
    context = {
        "project": project,
        "active": "training",
        "rows": [
            {"run": run, "tone": TONES.get(run.state), "accuracy": accuracy_words(run.test_accuracy)}
            for run in rows[:PAGE]
        ],
        "next_url": f"?before={rows[PAGE - 1].number}" if len(rows) > PAGE else "",
        "has_versions": bool(rows) or _ready_versions(project).exists(),
    }
    return render(request, "training/training.html", context)


def _runs(project: Project) -> QuerySet[Run]:
    return Run.objects.filter(project=project).select_related(
        "version__task", "held_out__task", "job", "base_run", "created_by", "model", "sweep"
    )


def _ready_versions(project: Project) -> QuerySet[DatasetVersion]:
    return DatasetVersion.objects.filter(task__project=project, state=DatasetState.READY)


@require_http_methods(["GET", "HEAD", "POST"])
@in_project("manage")
def run_create(request: HttpRequest, project: Project) -> HttpResponse:
    form = RunForm(project, request.POST or None, initial=_wishes(request, project))
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        key = request.POST.get("key", "")[:64]
        wishes = (data["version"], data["objective"], data["base_model"], form.config())
        once = f"form:{key}" if key else ""
        try:
            if grid := form.grid():
                sweep = sweeps.start_sweep(*wishes, grid, user_of(request), once, data["held_out"])
                return redirect("sweep", project.public_id, sweep.public_id)
            run = services.start_run(*wishes, user_of(request), once, data["held_out"], check_first=form.check_first)
            return redirect("run", project.public_id, run.public_id)
        except FeedbackError as error:
            form.refuse(error)
    context = {
        "project": project,
        "active": "training",
        "form": form,
        "has_versions": _ready_versions(project).exists(),
    }
    context["key"] = request.POST.get("key") or secrets.token_urlsafe(16)  # a form sent twice starts one run
    return render(request, "training/create.html", context, status=422 if form.is_bound else 200)


def _wishes(request: HttpRequest, project: Project) -> dict[str, Any]:
    """What a link asks to have chosen already: a dataset version, a base model. Small models learn at a larger rate."""
    wishes = {name: request.GET[name] for name in ("version", "base_model", "objective") if name in request.GET}
    if asked := _settings_of(request, project):
        return asked | wishes
    first = next((base.key for base in base_models(project)), "")
    small = wishes.get("base_model", first) == "small"
    return ({"learning_rate": 1e-3, "epochs": 3, "evaluate_every": 10} if small else {}) | wishes


def _settings_of(request: HttpRequest, project: Project) -> dict[str, Any]:
    """What another run was asked for, where a link names one."""
    try:
        row = Run.objects.filter(project=project, public_id=UUID(request.GET.get("like", ""))).first()
    except ValueError:
        row = None
    if row is None:
        return {}
    chosen = {"version": row.version.public_id, "objective": row.objective, "base_model": row.base_model}
    chosen["held_out"] = row.held_out.public_id if row.held_out else None
    return {**row.config, **(row.config.get("objective_options") or {}), **chosen}


@require_GET
@in_project("view")
def run(request: HttpRequest, project: Project, run: UUID) -> HttpResponse:
    services.settle(project)
    row = get_object_or_404(_runs(project), public_id=run)
    live = request.headers.get("HX-Target") == "live"
    response = render(request, "training/_live.html" if live else "training/run.html", _context(project, row))
    if live and not row.is_active:
        response["HX-Refresh"] = "true"  # it has ended: the rest of the page has something to show now
    return response


def _context(project: Project, run: Run) -> dict[str, Any]:
    return {
        "project": project,
        "active": "training",
        "run": run,
        "tone": TONES.get(run.state),
        "state_words": state_words(run),
        "eta": eta_words(run.eta_seconds) if run.is_active else "",
        "charts": [{"group": group, "title": title, "unit": unit} for group, title, unit in CHARTS],
        "step_words": "Step",
        "took": eta_words(run.seconds),
        "estimated": eta_words(run.preflight.get("estimate", {}).get("seconds")),
        "accuracy": accuracy_words(run.test_accuracy),
        "model": getattr(run, "model", None),
        "evaluation": [(name.capitalize(), figures) for name, figures in run.evaluation.items()],
        "slices": slice_rows(run.test_accuracy or {}),
        "reliability": reliability_chart(run.test_accuracy or {}),
        "ensemble": _held_out(run).get("ensemble"),
        "segments": list((_held_out(run).get("segments") or {}).items()),
        "splits": list(run.preflight.get("splits", {}).items()),
        "rendered": run.preflight.get("splits", {}).get("train", {}).get("rendered", []),
        "left_out": left_out(run),
        "settings": sorted((name.replace("_", " "), value) for name, value in _flat(run).items()),
    }


def _held_out(run: Run) -> dict[str, Any]:
    """The evaluation of the test split, or else of the validation split."""
    found: dict[str, Any] = run.evaluation.get("test") or run.evaluation.get("validation") or {}
    return found


def left_out(run: Run) -> str:
    """A sentence when a split lost a third of its rows or more to the length limit, else empty."""
    lost = [
        f"{report['rows'] - report['kept']:,} of {report['rows']:,} {split} rows"
        for split, report in run.preflight.get("splits", {}).items()
        if 3 * (report["rows"] - report["kept"]) >= report["rows"] > 0
    ]
    limit = run.config.get("max_length", RunConfig.model_fields["max_length"].default)
    return f"Left out: {' and '.join(lost)}, most above {limit} tokens. A larger limit keeps them." if lost else ""


def _flat(run: Run) -> dict[str, Any]:
    """The settings that this objective reads."""
    options = {**OBJECTIVES[run.objective].defaults, **(run.config.get("objective_options") or {})}
    return {name: value for name, value in run.config.items() if name != "objective_options"} | options


def state_words(run: Run) -> str:
    """What a run is doing, in words."""
    if run.is_stopping:
        return "Stopping: it saves its state first"
    if run.is_active and run.job.state == "queued":
        return "Waiting for a worker" if run.job.attempt == 0 else "Its worker died; waiting for another"
    if run.is_active:
        return run.job.message or words({"phase": run.phase})
    if run.is_checked:
        return "Nothing is learned yet: read what it would do, then start it"
    return run.get_state_display()


def eta_words(seconds: float | None) -> str:
    if not seconds:
        return ""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@require_GET
@in_project("view")
def run_metrics(request: HttpRequest, project: Project, run: UUID) -> HttpResponse:
    row = get_object_or_404(Run, project=project, public_id=run)
    group = request.GET.get("group", "")
    if group and group not in GROUPS:
        raise Http404
    return JsonResponse({"series": curves(row, group), "done": not row.is_active})


@require_GET
@in_project("view")
def run_log(request: HttpRequest, project: Project, run: UUID) -> HttpResponse:
    """The end of the log, or the part that ends at the byte ``before``."""
    row = get_object_or_404(Run, project=project, public_id=run)
    before = request.GET.get("before", "")
    earlier = before.isdecimal() and len(before) < 16
    page = log_page(row.folder, int(before) if earlier else None)
    return render(request, "training/_log.html", {"project": project, "run": row, "log": page, "earlier": earlier})


@require_POST
@in_project("manage")
def run_cancel(request: HttpRequest, project: Project, run: UUID) -> HttpResponse:
    row = get_object_or_404(Run.objects.select_related("job", "project"), project=project, public_id=run)
    services.cancel_run(row, user_of(request))
    return redirect("run", project.public_id, row.public_id)


@require_POST
@in_project("manage")
def run_go(request: HttpRequest, project: Project, run: UUID) -> HttpResponse:
    row = get_object_or_404(Run.objects.select_related("job", "project"), project=project, public_id=run)
    services.start_checked(row, user_of(request))
    return redirect("run", project.public_id, row.public_id)


@require_POST
@in_project("manage")
def run_resume(request: HttpRequest, project: Project, run: UUID) -> HttpResponse:
    row = get_object_or_404(Run.objects.select_related("job", "project"), project=project, public_id=run)
    services.resume_run(row, user_of(request))
    return redirect("run", project.public_id, row.public_id)


@require_GET
@in_project("view")
def runs_compare(request: HttpRequest, project: Project) -> HttpResponse:
    """Two to eight runs beside each other, named by ``run``."""
    services.settle(project)
    names = request.GET.getlist("run")
    context: dict[str, Any] = {"project": project, "active": "training"}
    try:
        runs = comparing.runs_named(project, names)
    except InvalidInput as error:
        context["refused"] = " ".join(error.errors.values())
        return render(request, "training/compare.html", context, status=422 if names else 200)
    query = urlencode([("run", run.public_id) for run in runs])
    rows = [
        {"run": run, "tone": TONES.get(run.state), "accuracy": accuracy_words(run.test_accuracy), "difference": one}
        for run, one in zip(runs, comparing.differences(runs), strict=True)
    ]
    context |= {
        "rows": rows,
        "settings": comparing.settings_beside(runs),
        "charts": [{"id": f"chart-{name}", "title": title, "name": name} for name, title in COMPARED.items()],
        "query": query,
        "step_words": "Step",
        "active_runs": any(run.is_active for run in runs),
    }
    return render(request, "training/compare.html", context)


@require_GET
@in_project("view")
def runs_compare_metrics(request: HttpRequest, project: Project) -> HttpResponse:
    metric, names = request.GET.get("metric", ""), request.GET.getlist("run")
    if not names:
        return JsonResponse({"series": [], "done": True})
    runs = comparing.runs_named(project, names)
    if metric not in COMPARED:
        raise Http404
    return JsonResponse({"series": overlaid(runs, metric), "done": not any(run.is_active for run in runs)})
