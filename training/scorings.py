"""A reward model as a judge: its scores of a task's completions become annotations, which routing can weigh."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from django.conf import settings
from django.db import transaction

from feedback.content import media_of, text_of
from feedback.exceptions import Conflict, InvalidInput
from feedback.models import Annotation, Annotator, AnnotatorKind, AuditEvent, Instance, JobKind, Source, Task, User
from feedback.questions import PreferenceQuestion, Question, RankingQuestion, leading_question, value_of_strength
from feedback.services import jobs, queue
from feedback.services.jobs import JobContext

from .models import ModelKind, Scoring, TrainedModel
from .watch import prepare, watch

SCORE = [sys.executable, "-m", "training.score"]
CHUNK = 500


def start_scoring(model: TrainedModel, task: Task, actor: User | None, *, idempotency_key: str = "") -> Scoring:
    """Write a scoring of a task's instances by a reward model, and its job. What is scored already is left alone.

    A scoring of the same model and task that is under way is returned instead. Raises InvalidInput, and Conflict for
    a key of another scoring.
    """
    if model.kind != ModelKind.REWARD_MODEL:
        raise InvalidInput(errors={"model": "A policy writes texts and gives no scores; choose a reward model."})
    if model.run.objective == "pair_pm":
        raise InvalidInput(errors={"model": "This model compares two completions at once; it cannot score one."})
    if model.run.project_id != task.project_id:
        raise InvalidInput(errors={"task": "Choose a task of this project."})
    asked = asked_of(task)
    if asked is None:
        raise InvalidInput(errors={"task": "This task asks for no preference and no ranking, which scores answer."})
    if asked.when is not None:
        words = "This task asks for a preference or ranking only after other answers, which scores do not give."
        raise InvalidInput(errors={"task": words})
    params = {"model": str(model.public_id), "task": str(task.public_id)}
    with transaction.atomic():
        Task.objects.select_for_update(no_key=True, of=("self",)).get(pk=task.pk)
        under_way = Scoring.objects.filter(model=model, task=task, job__state__in=["queued", "running"]).first()
        if under_way:
            return under_way
        job = jobs.enqueue(JobKind.SCORE, task.project, params, actor=actor, idempotency_key=idempotency_key)
        before = Scoring.objects.filter(job=job).first()
        if before:
            if job.params != params:
                raise Conflict("This idempotency key was already used for another scoring.")
            return before
        made = Scoring.objects.create(model=model, task=task, annotator=annotator_of(model), job=job, created_by=actor)
        AuditEvent.write("scoring.start", actor=actor, project=task.project, subject=str(made.public_id))
    return made


def asked_of(task: Task) -> Question | None:
    """The question that compares completions: the leading preference, else ranking; first those asked of everything."""
    questions = task.parsed_questions
    always = [question for question in questions if question.when is None]
    for several in (always, questions):
        for kind in ("preference", "ranking"):
            if found := leading_question(several, kind):
                return found
    return None


def annotator_of(model: TrainedModel) -> Annotator:
    """The judge that a reward model is."""
    name = f"Reward model of run {model.run.number}"
    row, _ = Annotator.objects.get_or_create(project=model.run.project, kind=AnnotatorKind.JUDGE, name=name, user=None)
    return row


def work(scoring: Scoring, context: JobContext) -> None:
    """Score, and store what was found. Raises TrainingFailed, JobCancelled, FenceLost."""
    scoring.folder.mkdir(parents=True, exist_ok=True)
    items = scoring.folder / "items.jsonl"
    left_out = Counter[str]()
    with items.open("w", encoding="utf-8") as file:
        total = sum(file.write(json.dumps(item) + "\n") > 0 for item in _items(scoring, left_out))
    config = scoring.model.run.config
    wishes = {
        "schema": 1,
        "model": str(scoring.model.folder),
        "items": str(items),
        "max_length": config.get("max_length", 512),
        "tokens_per_batch": config.get("tokens_per_batch", 4096),
        "threads": settings.TRAIN_THREADS or None,
    }
    prepare(scoring.folder, "scoring.json", wishes)
    result = watch(scoring.folder, SCORE, context) if total else {}
    left_out.update(result.get("left_out", {}))
    with transaction.atomic():
        stored = _store(scoring) if total else 0
        report = {"annotations": stored, "left_out": dict(left_out)}
        Scoring.objects.filter(pk=scoring.pk).update(report=report)
        context.hold()


def _items(scoring: Scoring, left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    """The instances that have no annotation by this model, as the process reads them; those that cannot be scored are
    counted by reason."""
    asked = asked_of(scoring.task)
    said = Annotation.objects.live().filter(task=scoring.task, annotator=scoring.annotator).values("instance")
    rows = Instance.objects.filter(task=scoring.task, removed_at=None).exclude(pk__in=said).order_by("pk")
    for instance in rows.iterator(chunk_size=1000):
        if reason := _unscorable(instance, asked):
            left_out[reason] += 1
            continue
        yield {
            "id": str(instance.pk),
            "prompt": [{"role": one["role"], "content": text_of(one["content"])} for one in instance.prompt],
            "completions": instance.completion_texts(),
        }


def _unscorable(instance: Instance, asked: Question | None) -> str:
    """Why scores of an instance would answer nothing; empty where they do. The model would not see what media show."""
    if any(media_of(one["content"]) for one in (*instance.prompt, *instance.completions)):
        return "it shows a picture, a sound or a video"
    if len(instance.completions) < 2:
        return "it has fewer than two completions"
    if isinstance(asked, PreferenceQuestion) and len(instance.completions) != 2:
        return "it has more than two completions, and the task asks for a preference between two"
    return ""


def _store(scoring: Scoring) -> int:
    """The scores as annotations; returns how many."""
    asked = asked_of(scoring.task)
    assert asked is not None
    stored = 0
    with (scoring.folder / "scores.jsonl").open(encoding="utf-8") as file:
        lines = (row for row in map(json.loads, file) if "scores" in row)
        while chunk := {int(row["id"]): row["scores"] for row in islice(lines, CHUNK)}:
            instances = Instance.objects.in_bulk(list(chunk))
            rows = [
                annotation
                for pk, scores in chunk.items()
                if pk in instances and (annotation := _annotation(scoring, instances[pk], asked, scores))
            ]
            stored += len(Annotation.objects.bulk_create(rows))
    return stored


def _annotation(scoring: Scoring, instance: Instance, asked: Question, scores: Sequence[float]) -> Annotation | None:
    answer, details = answer_of(asked, scores)
    if answer is None:
        return None
    task = scoring.task
    return Annotation(
        task=task,
        instance=instance,
        annotator_id=scoring.annotator_id,
        source=Source.JUDGE,
        answers=queue.checked(task.parsed_questions, instance, {asked.name: answer}, partial=True),
        details={**details, "model": str(scoring.model.public_id), "scores": list(scores)},
        questions_version=task.questions_version,
    )


def answer_of(asked: Question, scores: Sequence[float]) -> tuple[dict[str, Any] | None, Mapping[str, Any]]:
    """Scores as an answer, and what goes beside it: P(a) = sigma(r_a − r_b) of a pair.

    The preference's strength grows with |2 P(a) − 1|, in equal parts over the question's steps; equal scores are a tie.
    A ranking puts equal scores into one group, in their order where ties are not allowed. None for a preference over
    other than two completions.
    """
    if isinstance(asked, PreferenceQuestion):
        if len(scores) != 2:
            return None, {}
        p_a = 1 / (1 + math.exp(min(700.0, max(-700.0, scores[1] - scores[0]))))
        half = asked.steps // 2
        level = min(half, 1 + math.floor(abs(2 * p_a - 1) * half)) if scores[0] != scores[1] else 0
        return {"value": value_of_strength(-level if scores[0] > scores[1] else level, asked.steps)}, {"p_a": p_a}
    assert isinstance(asked, RankingQuestion)
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    groups: list[list[int]] = []
    for place in order:
        if groups and asked.allow_ties and scores[groups[-1][0]] == scores[place]:
            groups[-1].append(place)
        else:
            groups.append([place])
    return {"groups": groups}, {}
