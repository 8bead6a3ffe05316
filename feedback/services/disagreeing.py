"""Where annotators disagree, as a condition on instances.

It is about one question of the task: its leading preference (three ways: A, neither, B), else its leading ranking, else
its leading choice (the same answer or not). *Cannot judge* is no vote.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Case, Count, Exists, F, OuterRef, Q, QuerySet, TextField, Value, When
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Cast, Greatest

from ..exceptions import InvalidInput
from ..models import Annotation, AnnotationState, Instance, Source, Task
from ..questions import CANNOT_JUDGE, Question, leading_question

KINDS = {
    "people": "People disagree",
    "low-agreement": "Fewer than two in three people agree",
    "judge": "A judge says what no person says",
}
_COMPARED = {"preference": "value", "ranking": "groups", "choice": "values"}


def question_of(task: Task) -> Question | None:
    """What annotators of this task can be compared on."""
    leading = (leading_question(task.parsed_questions, kind) for kind in _COMPARED)
    return next((question for question in leading if question), None)


def among(rows: QuerySet[Instance], kind: str, task: Task | None) -> QuerySet[Instance]:
    """The instances of ``task`` in ``rows`` with this kind of disagreement. Raises InvalidInput."""
    if task is None:
        raise InvalidInput(errors={"disagreement": "Name a task: its questions say what people can disagree on."})
    question = question_of(task)
    if question is None:
        raise InvalidInput(errors={"disagreement": "This task asks no preference, ranking or choice to disagree on."})
    votes = _votes(question)
    people = votes.exclude(source=Source.JUDGE)
    if kind == "people":
        return rows.filter(Exists(_ways(people).filter(ways__gt=1)))
    if kind == "low-agreement":
        if question.kind != "preference":
            raise InvalidInput(errors={"disagreement": "Low agreement is counted on a preference question only."})
        return rows.filter(Exists(_scattered(people)))
    same = people.filter(Q(way=OuterRef("way")), instance=OuterRef("instance"))
    judged = votes.filter(~Exists(same), instance=OuterRef("pk"), source=Source.JUDGE)
    return rows.filter(Exists(judged), Exists(people.filter(instance=OuterRef("pk"))))


def _votes(question: Question) -> QuerySet[Annotation]:
    """Live annotations with ``way``: what each says, so that equal ways agree."""
    told = KeyTextTransform(_COMPARED[question.kind], KeyTransform(question.name, "answers"))
    rows = Annotation.objects.filter(state=AnnotationState.SUBMITTED).alias(told=Cast(told, TextField()))
    rows = rows.filter(told__isnull=False)
    if question.kind != "preference":
        return rows.alias(way=F("told"))
    sides = (When(told__startswith=f"{side}-is-", then=Value(side)) for side in "ab")
    return rows.exclude(told=CANNOT_JUDGE).alias(way=Case(*sides, default=Value("t"), output_field=TextField()))


def _ways(votes: QuerySet[Any]) -> QuerySet[Any]:
    of_instance = votes.filter(instance=OuterRef("pk")).order_by().values("instance")
    counted: QuerySet[Any] = of_instance.annotate(ways=Count("way", distinct=True))
    return counted


def _scattered(votes: QuerySet[Any]) -> QuerySet[Any]:
    counts = {f"n_{way}": Count("pk", filter=Q(way=way)) for way in "atb"}
    of_instance = votes.filter(instance=OuterRef("pk")).order_by().values("instance").annotate(**counts)
    of_instance = of_instance.annotate(most=Greatest("n_a", "n_t", "n_b"), all=F("n_a") + F("n_t") + F("n_b"))
    found: QuerySet[Any] = of_instance.filter(all__gte=2, most__lt=F("all") * 2 / 3.0)
    return found
