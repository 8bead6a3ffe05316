"""The instances of a task, and all that was said of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from feedback.models import Annotation, Instance, Project, Task
from feedback.models.tasks import text_of
from feedback.questions import Question
from feedback.services import finding
from feedback.text import fault_of

from ..access import in_project, task_from
from ..markdown import render as render_markdown

PAGE = 50
LETTERS = "ABCDEFGHIJKL"


@require_GET
@in_project("view")
def instances(request: HttpRequest, project: Project) -> HttpResponse:
    task = task_from(request, project)
    context: dict[str, Any] = {
        "project": project,
        "active": "instances",
        "task": task,
        "tasks": project.tasks.order_by("name"),
        "states": finding.STATES,
        "annotated_by": finding.ANNOTATED_BY,
        "wanted": {name: request.GET.get(name, "") for name in ("q", "state", "by")},
    }
    if task:
        context |= _page(request, task)
    return render(request, "instances/instances.html", context)


def _page(request: HttpRequest, task: Task) -> dict[str, Any]:
    """One page of the instances that the filters find, by key, and the addresses of its neighbours."""
    text = request.GET.get("q", "")
    found = task.instances.none() if fault_of(text) else _found(request, task, text[:200])
    before, after = _anchor(request, task, "before"), _anchor(request, task, "after")
    if before:
        rows = list(found.filter(pk__lt=before).order_by("-pk")[: PAGE + 1])[::-1]
        more_before, more_after = len(rows) > PAGE, True
        rows = rows[-PAGE:]
    else:
        rows = list(found.filter(pk__gt=after or 0).order_by("pk")[: PAGE + 1])
        more_before, more_after = bool(after), len(rows) > PAGE
        rows = rows[:PAGE]
    return {
        "rows": [_row(instance) for instance in rows],
        "total": found.count(),
        "previous_url": _address(request, task, before=rows[0].public_id) if rows and more_before else "",
        "next_url": _address(request, task, after=rows[-1].public_id) if rows and more_after else "",
    }


def _found(request: HttpRequest, task: Task, text: str) -> QuerySet[Instance]:
    state, by = request.GET.get("state", ""), request.GET.get("by", "")
    return finding.with_counts(finding.find(task.instances.all(), text=text, state=state, by=by))


def _anchor(request: HttpRequest, task: Task, name: str) -> int | None:
    """The key of the instance that the page continues from; an unknown one means the first page."""
    try:
        wanted = UUID(request.GET.get(name, ""))
    except ValueError:
        return None
    return task.instances.filter(public_id=wanted).values_list("pk", flat=True).first()


def _address(request: HttpRequest, task: Task, **anchor: UUID) -> str:
    kept = {name: request.GET[name] for name in ("q", "state", "by") if request.GET.get(name)}
    return "?" + urlencode({"task": task.public_id, **kept, **anchor})


def _row(instance: Any) -> dict[str, Any]:
    asked = next((m for m in reversed(instance.prompt) if m.get("role") == "user"), instance.prompt[-1])
    return {
        "instance": instance,
        "prompt": text_of(asked["content"])[:240],
        "models": ", ".join(str(one["model"]) for one in instance.completions if one.get("model")),
    }


@require_GET
@in_project("view")
def instance(request: HttpRequest, project: Project, instance: UUID) -> HttpResponse:
    rows = Instance.objects.filter(task__project=project).select_related("task", "batch")
    row = get_object_or_404(rows, public_id=instance)
    names = "review" in getattr(request, "permissions", ())
    said = row.annotations.live().select_related("annotator", "guideline").order_by("source", "pk")  # type: ignore[attr-defined]
    neighbours = row.task.instances.order_by("pk")
    context = {
        "project": project,
        "active": "instances",
        "instance": row,
        "task": row.task,
        "prompt": [{"role": m["role"], "html": render_markdown(text_of(m["content"]))} for m in row.prompt],
        "completions": [
            {
                "letter": LETTERS[n],
                "model": one.get("model"),
                "words": len(text_of(one["content"]).split()),
                "html": render_markdown(text_of(one["content"])),
            }
            for n, one in enumerate(row.completions)
        ],
        "annotations": [_said(one, row.task.parsed_questions, names=names) for one in said[:200]],
        "previous": neighbours.filter(pk__lt=row.pk).order_by("-pk").first(),
        "next": neighbours.filter(pk__gt=row.pk).first(),
        "requests": row.requests.filter(Q(state="open")).order_by("pk"),
        "meta": [(key, str(value)[:300]) for key, value in row.meta.items()],
    }
    return render(request, "instances/instance.html", context)


def _said(one: Annotation, questions: Sequence[Question], *, names: bool) -> dict[str, Any]:
    return {
        "row": one,
        "who": one.annotator.name if names else one.annotator.pseudonym,
        "answers": [(question.title, line) for question in questions for line in answer_lines(question, one.answers)],
        "order": " then ".join(LETTERS[index] for index in one.order),
        "seconds": round(one.active_ms / 1000) if one.active_ms else None,
        "judge": _judged(one.details) if one.source == "judge" else None,
        "rationale": one.details.get("rationale", ""),
    }


def _judged(details: dict[str, Any]) -> dict[str, Any]:
    p_a = details.get("p_a")
    orders = details.get("orders") or {}
    shown = {"ab": "A first", "ba": "B first"}
    return {
        "p_a": f"{p_a:.2f}" if isinstance(p_a, (int, float)) else "",
        "orders": [(shown.get(order, order), words_of(str(value))) for order, value in sorted(orders.items())],
        "consistent": details.get("order_consistent"),
    }


def words_of(value: str) -> str:
    """A preference value in words: ``a-is-clearly-better`` → ``A is clearly better``."""
    text = value.replace("-", " ")
    return text[:1].upper() + text[1:]


def answer_lines(question: Question, answers: dict[str, Any]) -> list[str]:
    """One annotation's answer to ``question`` as short lines; none when it has none."""
    answer = answers.get(question.name)
    if not isinstance(answer, dict):
        return []
    match question.kind:
        case "preference":
            return _preference_lines(answer)
        case "ranking":
            groups = " > ".join(" = ".join(LETTERS[i] for i in group) for group in answer.get("groups", []))
            bad = ", ".join(LETTERS[i] for i in answer.get("unacceptable", []))
            return [groups or "Nothing ranked", *([f"Unacceptable: {bad}"] if bad else [])]
        case "rating":
            return [f"{scale}: {_numbers(values)}" for scale, values in answer.get("ratings", {}).items()]
        case "span":
            marks = [_span_line(span) for span in answer.get("spans", [])]
            lacking = [f"Missing in {LETTERS[item['target']]}: {item['text']}" for item in answer.get("missing", [])]
            return marks + lacking
        case "critique":
            written = zip(LETTERS, answer.get("critiques", []), strict=False)
            rewritten = zip(LETTERS, answer.get("refinements", []), strict=False)
            lines = [f"{letter}: {text}" for letter, text in written if text]
            return lines + [f"{letter} rewritten: {text}" for letter, text in rewritten if text]
        case "choice":
            return [", ".join(answer.get("values", []))]


def _preference_lines(answer: dict[str, Any]) -> list[str]:
    lines = [words_of(answer["value"])]
    lines += [f"{aspect}: {words_of(value)}" for aspect, value in answer.get("aspects", {}).items()]
    if answer.get("confidence"):
        lines.append(f"Confidence {answer['confidence']} of 5")
    reasons = [*answer.get("reasons", []), *([answer["other_reason"]] if answer.get("other_reason") else [])]
    return lines + ([f"Because: {', '.join(reasons)}"] if reasons else [])


def _numbers(values: list[int | None]) -> str:
    return ", ".join("–" if value is None else str(value) for value in values)


def _span_line(span: dict[str, Any]) -> str:
    place = LETTERS[span["target"]] if span["target"] >= 0 else "prompt"
    kind = " · ".join(part for part in (span["type"], span.get("subtype"), span.get("severity")) if part)
    comment = f": {span['comment']}" if span.get("comment") else ""
    return f"{kind} in {place}, characters {span['start']} to {span['end']}{comment}"
