"""Routing: the pilot, plans and what each decides."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from feedback.exceptions import FeedbackError, InvalidInput
from feedback.models import Project, Task
from feedback.services import budget
from routing.features.tagged import TAGGED
from routing.features.wording import words_of
from routing.models import Arm, PlanState, RoutingDecision, RoutingPlan
from routing.services import applying, pilots, planning

from ..access import in_project, no_task_yet, task_from, user_of
from ..forms.fields import plain_amount
from ..forms.routing import PilotForm, PlanForm, arm_forms, strategy_words
from .jobs import job_context
from .judge import add_errors, amount_words
from .rounds import progress_context

PAGE = 50
BASE_ARMS = ("judge", "people")
PLANS = 50
ARM_WORDS = {Arm.HUMAN: ("People", "human"), Arm.JUDGE: ("Judge", "judge"), Arm.NONE: ("Nobody", "muted")}
STRATEGY_WORDS = {strategy.name: strategy.summary for strategy in planning.offered()}


@require_GET
@in_project("view")
def routing(request: HttpRequest, project: Project) -> HttpResponse:
    task = task_from(request, project)
    return _routing_page(request, project, task)


def _routing_page(
    request: HttpRequest, project: Project, task: Task | None, *, pilot_form: PilotForm | None = None
) -> HttpResponse:
    context: dict[str, Any] = {
        "project": project,
        "active": "routing",
        "task": task,
        "tasks": project.tasks.order_by("name"),
    }
    if task:
        plans = applying.plans_of(task).select_related("judge", "created_by").defer("curve", "params")[:PLANS]
        state = pilots.pilot_state(task)
        context |= {
            "plans": [_plan_row(row, project) for row in plans],
            "pilot": state,
            "sizes": [
                {
                    "size": one,
                    "price": amount_words(one.price_micros, project.currency),
                    "precision": f"± {100 * one.precision:.1f}",
                }
                for one in state.sizes
            ],
            "pilot_form": pilot_form or PilotForm(project, initial={"count": max(state.advised, 1)}),
            "has_instances": task.instances.exists(),
            "money": _purse(task, project),
        }
    bound = pilot_form is not None
    return render(request, "routing/routing.html", context, status=422 if bound else 200)


def _purse(task: Task, project: Project) -> dict[str, str]:
    purse = budget.budget_of(task)
    amounts = {"spent": purse.spent_micros, "reserved": purse.reserved_micros, "left": purse.left_micros}
    return {name: amount_words(micros, project.currency) for name, micros in amounts.items()}


def _plan_row(row: RoutingPlan, project: Project) -> dict[str, Any]:
    return {
        "plan": row,
        "name": strategy_words(row.strategy),
        "budget": amount_words(row.budget_micros, project.currency),
        "human": f"{row.share('human'):.0%}" if row.summary else "–",
        "predicted": _predicted(row),
    }


def _predicted(row: RoutingPlan) -> str:
    if row.predicted_mean is None or row.predicted_sd is None:
        return "–"
    return f"{row.predicted_mean:.3f} ± {1.96 * row.predicted_sd:.3f}"


@require_http_methods(["GET", "POST"])
@in_project("manage")
def plan_create(request: HttpRequest, project: Project) -> HttpResponse:
    task = task_from(request, project)
    if task is None:
        return no_task_yet(request, project)
    left = budget.budget_of(task).left_micros
    initial = {"budget": left - left % 10_000}
    form, arms = PlanForm(project, _posted(request), initial=initial), arm_forms(project, _posted_arms(request))
    if form.is_valid() and not arms.wrong():
        wish = form.wish()
        if arms.is_bound and (more := arms.wish()):
            wish["params"]["arms"] = more
        try:
            made = planning.make_plan(
                task, wish.pop("strategy"), wish.pop("budget_micros"), actor=user_of(request), **wish
            )
        except FeedbackError as error:
            add_errors(form, error)
        else:
            return redirect("plan", project.public_id, made.public_id)
    context = {"project": project, "active": "routing", "task": task, "form": form, "arms": arms}
    return render(request, "routing/create.html", context, status=422 if form.is_bound else 200)


def _posted(request: HttpRequest) -> Any:
    return request.POST if request.method == "POST" else None


def _posted_arms(request: HttpRequest) -> Any:
    """What was posted of arms; a form that has none may leave them out."""
    return request.POST if request.method == "POST" and "arms-TOTAL_FORMS" in request.POST else None


@require_POST
@in_project("manage")
def pilot_start(request: HttpRequest, project: Project) -> HttpResponse:
    task = task_from(request, project)
    if task is None:
        return no_task_yet(request, project)
    form = PilotForm(project, request.POST)
    if form.is_valid():
        data = form.cleaned_data
        try:
            made, _ = pilots.start_pilot(
                task, data["count"], actor=user_of(request), judge=form.chosen_judge(), labels=data["labels"]
            )
        except FeedbackError as error:
            add_errors(form, error)
        else:
            drawn = made.summary["counts"]["human"]
            messages.success(request, f"{drawn:,} instances are drawn at random and open to people.")
            return redirect(f"{reverse('routing', args=[project.public_id])}?task={task.public_id}")
    return _routing_page(request, project, task, pilot_form=form)


def _plan(project: Project, public_id: UUID) -> RoutingPlan:
    rows = RoutingPlan.objects.filter(task__project=project)
    related = rows.select_related("task__project", "judge", "job", "round_job", "created_by", "mix")
    return get_object_or_404(related, public_id=public_id)


@require_GET
@in_project("view")
def plan(request: HttpRequest, project: Project, plan: UUID) -> HttpResponse:
    row = _plan(project, plan)
    job = row.job
    busy = row.state in (PlanState.DRAFT, PlanState.COMPUTING) and job is not None
    context: dict[str, Any] = {
        "active": "routing",
        "plan": row,
        "name": strategy_words(row.strategy),
        "strategy_sentence": STRATEGY_WORDS.get(row.strategy, "Drawn at random, to compare people and judge."),
        "predicted": _predicted(row),
        "state_tone": {"ready": "accent", "applied": "success", "failed": "danger"}.get(row.state, ""),
        **(job_context(request, project, job) if busy and job else {"project": project}),
    }
    if row.state in (PlanState.READY, PlanState.APPLIED):
        context |= _decided(request, project, row)
    return render(request, "routing/plan.html", context)


def _decided(request: HttpRequest, project: Project, row: RoutingPlan) -> dict[str, Any]:
    costs = row.summary.get("costs", {})
    before = applying.previous_plan(row)
    return {
        "shares": _shares(row),
        "arms_told": [_arm_row(one, project) for one in row.summary.get("arms", [])],
        "costs": {name: amount_words(value, project.currency) for name, value in costs.items()},
        "budget_words": amount_words(row.budget_micros, project.currency),
        "budget_number": plain_amount(min(row.budget_micros, row.summary.get("all_human_micros", row.budget_micros))),
        "curve": row.curve,
        "tags": _tag_bars(row),
        "own_columns": _own_columns(row),
        "before": before,
        "moves": _moves(row, before) if before else [],
        **progress_context(row, project),
        **_decisions(request, row, before),
    }


def _shares(row: RoutingPlan) -> list[dict[str, Any]]:
    counts = row.summary.get("counts", {})
    total = max(sum(counts.values()), 1)
    return [
        {
            "label": words,
            "value": counts.get(arm.value, 0),
            "words": f"{counts.get(arm.value, 0) / total:.0%}",
            "note": f"{counts.get(arm.value, 0):,}",
            "tone": tone,
            "max": total,
        }
        for arm, (words, tone) in ARM_WORDS.items()
        if counts.get(arm.value)
    ]


def _arm_row(told: dict[str, Any], project: Project) -> dict[str, Any]:
    share = told["accuracy"]
    return {
        **told,
        "name": told["name"].capitalize() if told["name"] in BASE_ARMS else told["name"],
        "price": amount_words(told["price_micros"] * told["labels"], project.currency),
        "right": "–" if share is None else f"{share:.0%}",
    }


def _tag_bars(row: RoutingPlan) -> list[dict[str, Any]]:
    return [
        {
            "tag": words_of(entry["tag"]),
            "count": entry["count"],
            "mean": f"{100 * entry['mean']:+.1f}",
            "interval": f"{100 * entry['low']:+.1f} to {100 * entry['high']:+.1f}",
            "helps": entry["low"] > 0,
        }
        for entry in row.summary.get("gain_by_tag", [])
    ]


def _own_columns(row: RoutingPlan) -> str:
    """Which columns counted beside those of the texts, and how those were embedded; empty for plans of before."""
    if "features" not in row.summary:
        return ""
    own, out = row.summary["features"]["own"], row.params.get("left_out", [])
    tagged = sum(name.startswith(TAGGED) for name in own)
    words = f"Beside the texts, {len(own) - tagged} columns of your own tags and metadata count"
    words += f", and {tagged} of a language model's tags" if tagged else ""
    words = f"{words}; left out: {', '.join(map(words_of, out))}." if out else f"{words}."
    return f"{words} {row.summary['features'].get('why', '')}"


def _moves(row: RoutingPlan, before: RoutingPlan) -> list[dict[str, Any]]:
    words = {arm.value: word for arm, (word, _) in ARM_WORDS.items()} | {"new": "Not in it"}
    moved = sorted(applying.plan_diff(row, before).items(), key=lambda item: -item[1])
    return [
        {"before": words[was], "now": words[now], "count": count, "same": was == now} for (was, now), count in moved
    ]


def _decisions(request: HttpRequest, row: RoutingPlan, before: RoutingPlan | None) -> dict[str, Any]:
    """One page of decisions by falling score; ``?arm=``, ``?moved`` (against the plan before) and ``?page=``."""
    arm = request.GET.get("arm", "")
    found = row.decisions.current().select_related("instance").order_by("-score", "pk")
    if arm in Arm.values:
        found = found.filter(arm=arm)
    moved = before is not None and "moved" in request.GET
    if before is not None and moved:
        found = applying.moved_of(found, before)
    number = request.GET.get("page", "1")
    page = min(max(int(number), 1), 100_000) if number.isascii() and number.isdigit() and len(number) < 7 else 1
    rows = list(found[(page - 1) * PAGE : page * PAGE + 1])
    kept = (f"&arm={arm}" if arm in Arm.values else "") + ("&moved=on" if moved else "")
    return {
        "decisions": [_decision_row(decision) for decision in rows[:PAGE]],
        "arm": arm,
        "moved": moved,
        "arms": [(value.value, words) for value, (words, _) in ARM_WORDS.items()],
        "previous_url": f"?page={page - 1}{kept}#decisions" if page > 1 else "",
        "next_url": f"?page={page + 1}{kept}#decisions" if len(rows) > PAGE else "",
    }


def _decision_row(decision: RoutingDecision) -> dict[str, Any]:
    words, tone = ARM_WORDS[Arm(decision.arm)]
    words = words if decision.arm_name in ("", *BASE_ARMS) else decision.arm_name
    bounds = [bound for bound in (decision.lower, decision.upper) if bound is not None]
    interval = " to ".join(f"{bound:+.3f}" for bound in bounds) if len(bounds) == 2 else ""
    only_lower = f"≥ {decision.lower:+.3f}" if len(bounds) == 1 and decision.lower != decision.score else ""
    return {
        "decision": decision,
        "was": ARM_WORDS[Arm(was)][0] if (was := getattr(decision, "before", None)) else "",  # only where moved
        "words": words,
        "tone": "" if tone == "muted" else tone,
        "score": f"{decision.score:+.4f}",
        "interval": interval or only_lower or "–",
    }


@require_POST
@in_project("manage")
def plan_apply(request: HttpRequest, project: Project, plan: UUID) -> HttpResponse:
    row = _plan(project, plan)
    done = applying.apply_plan(row, actor=user_of(request))
    words = f"The plan is in force: {amount_words(done.reserved, project.currency)} is reserved"
    if done.released:
        words += f", {amount_words(done.released, project.currency)} of earlier plans is released"
    messages.success(request, f"{words}; {amount_words(done.unspent, project.currency)} of its budget is not needed.")
    return redirect("plan", project.public_id, row.public_id)


@require_POST
@in_project("view")
def plan_preview(request: HttpRequest, project: Project, plan: UUID) -> HttpResponse:
    """What the budget control asks for when it is moved: the button that plans at that budget."""
    row = _plan(project, plan)
    return render(request, "routing/_at_budget.html", {"project": project, "plan": row, **_asked_budget(request, row)})


def _asked_budget(request: HttpRequest, row: RoutingPlan) -> dict[str, Any]:
    form = PlanForm(row.task.project, {"budget": request.POST.get("budget", "")})
    form.is_valid()
    if "budget" in form.errors:
        return {"budget_error": " ".join(map(str, form.errors["budget"]))}
    asked = form.cleaned_data["budget"]
    return {
        "asked_micros": asked,
        "asked": amount_words(asked, row.task.project.currency),
        "asked_number": plain_amount(asked),
        "same": asked == row.budget_micros,
    }


@require_POST
@in_project("manage")
def plan_again(request: HttpRequest, project: Project, plan: UUID) -> HttpResponse:
    """The same wish at another budget: what moving the budget control does."""
    row = _plan(project, plan)
    asked = _asked_budget(request, row)
    if "asked_micros" not in asked:
        raise InvalidInput(errors={"budget": asked["budget_error"]})
    made = planning.make_plan(
        row.task,
        row.strategy,
        asked["asked_micros"],
        judge=row.judge,
        actor=user_of(request),
        seed=row.seed,
        params=row.params,
    )
    return redirect("plan", project.public_id, made.public_id)
