"""Finding instances: by text, by what they are, by who annotated them, by where the annotators disagree.

One set of filters serves the pages and REST: :func:`parse` turns what an address says into :class:`Filters`, or says
which part of it is not known; :func:`find` narrows the rows down.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Count, Exists, FilteredRelation, IntegerField, OuterRef, Q, QuerySet, Subquery, TextField
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Cast, Coalesce

from ..exceptions import InvalidInput
from ..models import Annotation, AnnotationState, Assignment, AssignmentState, Comment, Instance, Source, Task
from ..text import fault_of
from . import disagreeing, searching

STATES = {
    "open": "Open to people",
    "in-progress": "In progress",
    "done": "Done by people",
    "annotated": "Annotated",
    "unannotated": "Not annotated",
    "flagged": "Flagged",
    "held": "Held as harmful",
    "decided": "Decided by a reviewer",
    "removed": "Removed",
}
ANNOTATED_BY = {
    "human": "People",
    "judge": "A judge",
    "both": "People and a judge",
    "simulated": "Simulated annotators",
    "none": "Nobody",
}
COMMENTED = {"open": "Open comments", "any": "Any comments"}
LONGEST = 200
META = "meta."
NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?")


@dataclass(frozen=True)
class Filters:
    """What is looked for; an empty part narrows nothing. ``meta`` maps keys of the imported metadata to values."""

    q: str = ""
    state: str = ""
    by: str = ""
    disagreement: str = ""
    external_id: str = ""
    source: str = ""
    model: str = ""
    language: str = ""
    annotator: UUID | None = None
    comments: str = ""
    meta: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self != Filters()


NAMES = tuple(one.name for one in fields(Filters) if one.name != "meta")
_CHOICES = {"state": STATES, "by": ANNOTATED_BY, "disagreement": disagreeing.KINDS, "comments": COMMENTED}


def parse(raw: Mapping[str, str], *, also: tuple[str, ...] = ()) -> Filters:
    """The filters that ``raw`` names; ``also`` are names that belong to the page and not to the filters.

    Raises InvalidInput with a sentence for each name or value that is not known.
    """
    errors: dict[str, str] = {}
    values: dict[str, Any] = {}
    meta: dict[str, str] = {}
    for name, value in raw.items():
        if name in also or not value:
            continue
        if fault := _fault(name, value):
            errors[name] = fault
        elif name.startswith(META):
            meta[name.removeprefix(META)] = value
        else:
            values[name] = UUID(value) if name == "annotator" else value
    if errors:
        raise InvalidInput("This address asks for what cannot be looked for.", errors=errors)
    return Filters(**values, meta=meta)


def _fault(name: str, value: str) -> str:
    if name not in NAMES and not (name.startswith(META) and name != META):
        return f"There is no filter of this name; there are {', '.join(NAMES)} and {META}KEY."
    if len(value) > LONGEST or len(name) > LONGEST:
        return f"At most {LONGEST} characters."
    if reason := fault_of(name) or fault_of(value):
        return f"The text holds a {reason}."
    if re.fullmatch(r"-?\d+", name.removeprefix(META)):  # the database would read it as a place in a list
        return "Metadata under a key that is a whole number cannot be looked for."
    if name in _CHOICES and value not in _CHOICES[name]:
        return f"Choose one of: {', '.join(_CHOICES[name])}."
    return "This is not the id of an annotator." if name == "annotator" and not is_id(value) else ""


def is_id(value: str) -> bool:
    """Whether ``value`` is written like a public id."""
    try:
        UUID(value)
    except ValueError:
        return False
    return True


def find(rows: QuerySet[Instance], wanted: Filters, task: Task | None = None) -> QuerySet[Instance]:
    """``rows`` narrowed down. ``task`` is whose instances they are: disagreement is about one of its questions.

    Raises InvalidInput for a disagreement without a task, or about a task nobody can disagree on in that way.
    """
    if wanted.q:
        rows = searching.matching(rows, wanted.q)
    if wanted.state:
        rows = _in_state(rows, wanted.state)
    if wanted.by:
        rows = _said_by(rows, wanted.by)
    if wanted.disagreement:
        rows = disagreeing.among(rows, wanted.disagreement, task)
    if wanted.annotator:
        rows = rows.filter(Exists(_live().filter(annotator__public_id=wanted.annotator)))
    if wanted.comments:
        thread = Comment.objects.standing().filter(instance=OuterRef("pk"))
        rows = rows.filter(Exists(thread if wanted.comments == "any" else thread.filter(resolved_at=None)))
    return _described(rows, wanted)


def _described(rows: QuerySet[Instance], wanted: Filters) -> QuerySet[Instance]:
    """By what came with the instance: its id, source, models and metadata."""
    if wanted.external_id:
        rows = rows.filter(external_id__startswith=wanted.external_id)
    if wanted.source:
        rows = rows.filter(source=wanted.source)
    if wanted.model:
        named = '"model": ' + json.dumps(wanted.model, ensure_ascii=connection.vendor == "sqlite")
        rows = rows.alias(completions_json=Cast("completions", TextField())).filter(completions_json__contains=named)
    if wanted.language:
        rows = rows.filter(Q(lang=wanted.language) | Q(lang__startswith=f"{wanted.language}-"))
    for key, value in wanted.meta.items():
        rows = _with_meta(rows, key, value)
    return rows


def _with_meta(rows: QuerySet[Instance], key: str, value: str) -> QuerySet[Instance]:
    """Rows whose metadata says ``value`` under ``key``: as text, as a number or truth value, or in a list of tags."""
    values: list[Any] = [value]
    if value in ("true", "false") or NUMBER.fullmatch(value):
        values.append(json.loads(value))
    told = KeyTransform(key, "meta")
    listed = json.dumps(value, ensure_ascii=connection.vendor == "sqlite")
    rows = rows.alias(told=told, told_text=Cast(told, TextField()))
    return rows.filter(Q(told__in=values) | Q(told_text__startswith="[", told_text__contains=listed))


def _in_state(rows: QuerySet[Instance], state: str) -> QuerySet[Instance]:
    if state == "removed":
        return rows.filter(removed_at__isnull=False)
    rows = rows.filter(removed_at=None)
    lent = Exists(Assignment.objects.filter(instance=OuterRef("pk"), state=AssignmentState.LENT))
    by_people = _said("human")
    match state:
        case "open":
            return rows.filter(open_slots__gt=0, held_at=None)
        case "held":
            return rows.filter(held_at__isnull=False)
        case "in-progress":
            return rows.filter(lent | Q(by_people, open_slots__gt=0))
        case "done":
            return rows.filter(by_people, ~lent, open_slots=0)
        case "annotated":
            return rows.filter(Exists(_live()))
        case "unannotated":
            return rows.filter(~Exists(_live()))
        case "flagged":
            return rows.filter(Exists(open_flags().filter(instance=OuterRef("pk"))))
        case "decided":
            decided = Annotation.objects.filter(instance=OuterRef("pk"), state=AnnotationState.DECIDED)
            return rows.filter(Exists(decided))
    raise AssertionError(state)


def open_flags() -> QuerySet[Assignment]:
    """Flags that no reviewer has decided on."""
    return Assignment.objects.filter(state=AssignmentState.FLAGGED, flag_decision=None)


def _live() -> QuerySet[Annotation]:
    return Annotation.objects.filter(instance=OuterRef("pk"), state=AnnotationState.SUBMITTED)


def _said_by(rows: QuerySet[Instance], by: str) -> QuerySet[Instance]:
    if by == "none":
        return rows.filter(~Exists(_live()))
    if by == "simulated":
        return rows.filter(Exists(_live().filter(source=Source.SIMULATED)))
    for source in {"human": ["human"], "judge": ["judge"], "both": ["human", "judge"]}[by]:
        rows = rows.filter(_said(source))
    return rows


def _said(source: str) -> Exists:
    """Whether people (simulated ones too), or a judge, annotated the instance."""
    return Exists(_live().exclude(source=Source.JUDGE) if source == "human" else _live().filter(source=Source.JUDGE))


_COUNTED: dict[str, tuple[str, dict[str, Any]]] = {
    "people": ("annotations", {"state": AnnotationState.SUBMITTED, "source__in": [Source.HUMAN, Source.SIMULATED]}),
    "judges": ("annotations", {"state": AnnotationState.SUBMITTED, "source": Source.JUDGE}),
    "talk": ("comments", {"deleted_at": None, "resolved_at": None}),
}


def with_counts(rows: QuerySet[Instance]) -> QuerySet[Instance]:
    """Each instance with ``people``, ``judges`` and ``talk``: its live annotations of each, and its open comments.

    They are counted for each instance by itself: for the few of a page, not to put many in order.
    """
    return rows.annotate(**{name: _count(*counted) for name, counted in _COUNTED.items()})


def _count(relation: str, live: dict[str, Any]) -> Any:
    model: Any = Instance._meta.get_field(relation).related_model
    of_instance = model.objects.filter(instance=OuterRef("pk"), **live)
    counted = of_instance.order_by().values("instance").annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


def with_one_count(rows: QuerySet[Instance], name: str) -> QuerySet[Instance]:
    """Each instance with one of the counts of :func:`with_counts`, all counted in one pass."""
    relation, live = _COUNTED[name]
    condition = Q(**{f"{relation}__{key}": value for key, value in live.items()})
    of_instance = FilteredRelation(relation, condition=condition)
    return rows.annotate(counted=of_instance, **{name: Count("counted")})
