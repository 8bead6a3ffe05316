"""Finding instances: by text, by who annotated them, by what is still open."""

from __future__ import annotations

import json
from typing import Any

from django.db import connection
from django.db.models import Count, Exists, IntegerField, OuterRef, Q, QuerySet, Subquery, TextField
from django.db.models.functions import Cast, Coalesce

from ..models import Annotation, AnnotationState, Instance, Source

STATES = {
    "open": "Open to people",
    "annotated": "Annotated",
    "unannotated": "Not annotated",
    "removed": "Removed",
}
ANNOTATED_BY = {"human": "People", "judge": "A judge", "both": "People and a judge"}


def find(rows: QuerySet[Instance], *, text: str = "", state: str = "", by: str = "") -> QuerySet[Instance]:
    """``rows`` narrowed down; an unknown ``state`` or ``by`` finds nothing."""
    if text:
        rows = _with_text(rows, text)
    if state:
        rows = _in_state(rows, state)
    if by not in ("", *ANNOTATED_BY):
        return rows.none()
    for source in {"human": ["human"], "judge": ["judge"], "both": ["human", "judge"]}.get(by, []):
        rows = rows.filter(_said(source))
    return rows


def _with_text(rows: QuerySet[Instance], text: str) -> QuerySet[Instance]:
    """Prompts, completions and ids that hold ``text``. Texts are searched as the database stores JSON."""
    stored = json.dumps(text, ensure_ascii=connection.vendor == "sqlite")[1:-1]
    rows = rows.alias(prompt_json=Cast("prompt", TextField()), completions_json=Cast("completions", TextField()))
    inside = Q(prompt_json__icontains=stored) | Q(completions_json__icontains=stored)
    return rows.filter(inside | Q(external_id__icontains=text))


def _in_state(rows: QuerySet[Instance], state: str) -> QuerySet[Instance]:
    match state:
        case "open":
            return rows.open()  # type: ignore[attr-defined, no-any-return]
        case "annotated":
            return rows.filter(Exists(_live()))
        case "unannotated":
            return rows.filter(~Exists(_live()), removed_at=None)
        case "removed":
            return rows.filter(removed_at__isnull=False)
    return rows.none()


def _live() -> QuerySet[Annotation]:
    return Annotation.objects.filter(instance=OuterRef("pk"), state=AnnotationState.SUBMITTED)


def _said(source: str) -> Exists:
    return Exists(_live().exclude(source=Source.JUDGE) if source == "human" else _live().filter(source=Source.JUDGE))


def with_counts(rows: QuerySet[Instance]) -> QuerySet[Instance]:
    """Each instance with ``people`` and ``judges``: how many live annotations it has of each."""
    return rows.annotate(
        people=_count(_live().exclude(source=Source.JUDGE)), judges=_count(_live().filter(source=Source.JUDGE))
    )


def _count(annotations: QuerySet[Annotation]) -> Any:
    counted = annotations.order_by().values("instance").annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)
