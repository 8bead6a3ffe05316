"""What a person's own annotations said, in a line each, in the letters that the person saw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext, ngettext

from feedback.models import Annotation
from feedback.questions import Question

from .reading import LETTERS
from .spans import severity_scores

MOST = 3
"""Answers of one annotation that are told."""


def history_rows(annotations: Iterable[Annotation], editable: set[int]) -> list[dict[str, Any]]:
    return [
        {
            "public_id": row.public_id,
            "task_name": row.task.name,
            "submitted_at": row.submitted_at,
            "summary": summary(row),
            "edit_url": reverse("annotation-edit", args=[row.public_id]) if row.pk in editable else None,
            "comments_url": reverse("thread", args=[row.task.project.public_id, row.about]),  # type: ignore[attr-defined]
            "before": [
                {"summary": summary(row, revision.answers), "at": revision.created_at}
                for revision in sorted(row.revisions.all(), key=lambda one: one.pk, reverse=True)
            ],
        }
        for row in annotations
    ]


def summary(annotation: Annotation, before: dict[str, Any] | None = None) -> str:
    """What an annotation says, or said ``before``: ``A is clearly better; 3 spans · severity 7``.

    Scales and severities are those that the task has now under the question's name, as far as it still has them.
    """
    asked = {question.name: question for question in annotation.task.parsed_questions}
    answers = annotation.answers if before is None else before
    told = [_in_short(answer, asked.get(name), annotation.order) for name, answer in answers.items()]
    words = [one for one in told if one]
    return "; ".join(words[:MOST]) + (" …" if len(words) > MOST else "")


def _in_short(answer: Mapping[str, Any], question: Question | None, order: Sequence[int]) -> str:
    """One answer in a few words."""
    letters = {index: LETTERS[position] for position, index in enumerate(order)}
    match answer:
        case {"value": value}:
            return words_of(str(value), swapped=list(order[:1]) == [1])
        case {"groups": groups}:
            tiers = (sorted(letters.get(index, LETTERS[index]) for index in group) for group in groups)
            return " > ".join(" = ".join(tier) for tier in tiers)
        case {"ratings": ratings}:
            return ", ".join(_rated(name, values, question, order) for name, values in ratings.items())
        case {"spans": spans}:
            return _marked(answer, [*spans, *answer.get("times", [])], question)
        case {"critiques": critiques}:
            return _written(critiques, answer.get("refinements", []))
    return ", ".join(answer.get("values", []))


def _rated(name: str, values: Sequence[int | None], question: Question | None, order: Sequence[int]) -> str:
    """``helpful 4/5`` of the instance, ``helpful A 4/5 B 2/5`` of completions, in the order of the screen."""
    scales = question.scales if question and question.kind == "rating" else []
    high = next((f"/{scale.high}" for scale in scales if scale.name == name), "")
    shown = ["–" if value is None else f"{value}{high}" for value in values]
    if len(values) == len(order) and (question is None or getattr(question, "per", "") == "completion"):
        shown = [f"{LETTERS[position]} {shown[index]}" for position, index in enumerate(order)]
    return " ".join([name, *shown])


def _marked(answer: Mapping[str, Any], spans: Sequence[Any], question: Question | None) -> str:
    n, lacking = len(spans), len(answer.get("missing", []))
    parts = [ngettext("%(n)s span", "%(n)s spans", n) % {"n": n}] if n or not lacking else []
    scores = severity_scores(question, answer) if question and question.kind == "span" else {}
    if scores:
        parts.append(gettext("severity %(score)s") % {"score": f"{sum(scores.values()):g}"})
    if lacking:
        parts.append(ngettext("%(n)s missing piece", "%(n)s missing pieces", lacking) % {"n": lacking})
    return " · ".join(parts)


def _written(critiques: Sequence[str], refinements: Sequence[str | None]) -> str:
    n, refined = sum(len(text.split()) for text in critiques), sum(text is not None for text in refinements)
    parts = [ngettext("critique of %(n)s word", "critique of %(n)s words", n) % {"n": n}] if n else []
    if refined:
        parts.append(ngettext("%(n)s refinement", "%(n)s refinements", refined) % {"n": refined})
    return " · ".join(parts)


def words_of(value: str, *, swapped: bool = False) -> str:
    """A preference value in words; ``swapped`` exchanges the sides, for whoever saw the second completion left."""
    if swapped and value[:5] in ("a-is-", "b-is-"):
        value = ("b" if value[0] == "a" else "a") + value[1:]
    return gettext(value[:1].upper() + value[1:].replace("-", " "))
