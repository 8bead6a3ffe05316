"""Judges: how each compares with people, its settings, and putting it to work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from feedback.exceptions import FeedbackError
from feedback.models import Annotator, AnnotatorKind, Job, JobKind, Project, Task
from feedback.services import budget
from routing.judge.bias import Calibrated
from routing.models import Judge, JudgeCall
from routing.services import calibration, judge_page, judges, judging
from routing.services.calibration import JudgeReport
from routing.services.judge_page import JudgePage

from ..access import in_project, task_from, user_of
from ..forms.judge import JudgeForm, RunForm
from ..money import money
from .jobs import job_context

RECENT = 30


def amount_words(micros: int | None, currency: str) -> str:
    """Money as people read it, a dash where none is known."""
    return "–" if micros is None else money(micros, currency)


@require_GET
@in_project("view")
def judge(request: HttpRequest, project: Project) -> HttpResponse:
    """All judges of the project, beside people."""
    reports = calibration.judge_reports(project)
    task = task_from(request, project)
    calls = JudgeCall.objects.filter(judge__project=project).select_related("judge", "instance")
    context: dict[str, Any] = {
        "project": project,
        "active": "judge",
        "rows": [
            {"report": report, "cost": amount_words(report.cost_per_thousand, project.currency), **_figures(report)}
            for report in reports
        ],
        "task": task,
        "tasks": project.tasks.order_by("name"),
        "form": RunForm(),
        "calls": calls.order_by("-pk")[:RECENT],
        **(_run_context(project, task) if task else {}),
        **_job(request, project),
    }
    return render(request, "judge/judge.html", context)


@require_GET
@in_project("view")
def judge_figures(request: HttpRequest, project: Project, annotator: UUID) -> HttpResponse:
    """How far one judge can be trusted, how it leans, and how it compares with other judges and versions."""
    judges_only = Annotator.objects.filter(project=project).exclude(kind=AnnotatorKind.HUMAN)
    page = judge_page.judge_page(get_object_or_404(judges_only, public_id=annotator))
    cost = amount_words(page.report.cost_per_thousand, project.currency)
    context = {
        "project": project,
        "active": "judge",
        "page": page,
        "figures": _figures(page.report) | {"cost": cost},
        "reliability": _reliability(page.calibration),
        "leans": _leans(page),
    }
    return render(request, "judge/figures.html", context)


def _reliability(found: Calibrated | None) -> dict[str, Any] | None:
    if found is None:
        return None
    points = [[one.predicted, one.observed] for one in found.bins]
    return {
        "series": [
            {"name": "People", "points": points},
            {"name": "As stated", "points": [[0, 0], [1, 1]], "tone": "muted", "dash": True},
        ],
        "done": True,
    }


def _leans(page: JudgePage) -> list[dict[str, Any]]:
    """The pulls as bars: shares that would be one half, or people's, without them."""
    mine, people = page.longer
    rows = [
        ("Prefers what is shown first", page.first_place, "judge"),
        ("Prefers the longer one", mine, "judge"),
        ("People prefer the longer one", people, "human"),
    ]
    return [
        {
            "label": label,
            "value": share.value,
            "low": share.low,
            "high": share.high,
            "tone": tone,
            "words": f"{share.value:.0%}",
            "note": f"of {share.count:,}",
        }
        for label, share, tone in rows
        if share.value is not None
    ]


def _figures(report: JudgeReport) -> dict[str, str]:
    """A report's shares in words."""

    def percent(value: float | None, signed: bool = False) -> str:
        return "–" if value is None else f"{100 * value:+.0f} points" if signed else f"{value:.0%}"

    interval = f"{percent(report.agreement_low)} to {percent(report.agreement_high)}"
    return {
        "agreement": percent(report.agreement),
        "interval": interval if report.agreement is not None else "",
        "kappa": "–" if report.kappa is None else f"{report.kappa:.2f}",
        "consistency": percent(report.order_consistency),
        "position": percent(report.position_bias, signed=True),
        "length": percent(report.length_bias, signed=True),
        "abstained": percent(report.abstained),
    }


def _job(request: HttpRequest, project: Project) -> dict[str, Any]:
    job = Job.objects.filter(project=project, kind=JobKind.JUDGE).order_by("-pk").first()
    if job is None:
        return {}
    context = job_context(request, project, job)
    job.result_url = ""  # type: ignore[attr-defined]  # this is the page it would lead to
    return context


def _run_context(project: Project, task: Task) -> dict[str, Any]:
    """Per judge: what is left to judge, and what a hundred more can cost at worst."""
    rows = [
        {
            "judge": row,
            "left": judging.unjudged(task, row).count(),
            **_worst(task, row, project.currency),
        }
        for row in Judge.objects.current().filter(project=project).order_by("name")[:20]
    ]
    return {"estimates": rows, "left": amount_words(budget.budget_of(task).left_micros, project.currency)}


def _worst(task: Task, row: Judge, currency: str) -> dict[str, str]:
    """What a hundred more can cost, or why this judge cannot be put to this task."""
    try:
        return {"worst": amount_words(judging.estimate_micros(task, row, 100, sample=20), currency)}
    except FeedbackError as error:
        return {"unfit": error.message}


@require_http_methods(["GET", "POST"])
@in_project("manage")
def judge_create(request: HttpRequest, project: Project) -> HttpResponse:
    form = JudgeForm(request.POST or None, **_offered(project))
    if form.is_valid():
        data = form.cleaned_data
        key = data.get("api_key_env", "")
        try:
            made = judges.create_judge(project, data["name"], form.config(), actor=user_of(request), api_key_env=key)
        except FeedbackError as error:
            add_errors(form, error)
        else:
            messages.success(request, f"{made} is ready.")
            return redirect("judge", project.public_id)
    return _form_page(request, project, form, None)


@require_http_methods(["GET", "POST"])
@in_project("manage")
def judge_edit(request: HttpRequest, project: Project, judge: UUID) -> HttpResponse:
    row = get_object_or_404(Judge, project=project, public_id=judge, retired_at=None)
    initial = {**row.config, "name": row.name, "api_key_env": row.api_key_env}
    form = JudgeForm(request.POST or None, initial=initial, **_offered(project, but=row))
    del form.fields["name"]
    if form.is_valid():
        key = form.cleaned_data.get("api_key_env", "")
        try:
            current = judges.edit_judge(row, form.config(row.config), actor=user_of(request), api_key_env=key)
        except FeedbackError as error:
            add_errors(form, error)
        else:
            renewed = " Its answers may change, so it is a new version with its own verdicts."
            messages.success(request, f"{current} is saved.{renewed if current.pk != row.pk else ''}")
            return redirect("judge", project.public_id)
    return _form_page(request, project, form, row)


def _offered(project: Project, but: Judge | None = None) -> dict[str, Any]:
    """What the form offers beside itself: judges that can be members of a panel, and local models."""
    others = Judge.objects.current().filter(project=project)
    others = others.exclude(pk=but.pk) if but else others
    return {"judges": others.order_by("name")[:50], "models": list(judges.local_models())}


def _form_page(request: HttpRequest, project: Project, form: JudgeForm, row: Judge | None) -> HttpResponse:
    context = {"project": project, "active": "judge", "form": form, "judge": row}
    return render(request, "judge/form.html", context, status=422 if form.is_bound else 200)


def add_errors(form: Any, error: FeedbackError) -> None:
    """A service's refusal as errors of the form's fields, or of the form where it has no such field."""
    told: Mapping[str, str] = error.errors or {"": error.message}
    for path, sentence in told.items():
        name = path.split(".")[0]
        form.add_error(name if name in form.fields else None, sentence)


@require_POST
@in_project("manage")
def judge_run(request: HttpRequest, project: Project, judge: UUID) -> HttpResponse:
    """Put a judge to work on a task."""
    row = get_object_or_404(Judge, project=project, public_id=judge)
    task = task_from(request, project)
    if task is None:
        raise Http404
    form = RunForm(request.POST)
    if form.is_valid():
        try:
            judging.start_judging(task, row, form.wish(), actor=user_of(request))
        except FeedbackError as error:
            add_errors(form, error)
        else:
            return redirect("judge", project.public_id)
    context = {"project": project, "active": "judge", "form": form, "judge": row, "task": task}
    return render(request, "judge/run.html", context, status=422)


@require_POST
@in_project("manage")
def judge_retire(request: HttpRequest, project: Project, judge: UUID) -> HttpResponse:
    row = get_object_or_404(Judge, project=project, public_id=judge)
    judges.retire_judge(row, actor=user_of(request))
    messages.success(request, f"{row} is out of use. Its verdicts stay.")
    return redirect("judge", project.public_id)
