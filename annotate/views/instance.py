"""One instance, and all that was said of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from feedback.content import text_of
from feedback.models import Annotation, Instance, Project
from feedback.questions import Question

from ..access import in_project
from ..markdown import render as render_markdown

LETTERS = "ABCDEFGHIJKL"


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
