"""Each preset from end to end: a task is made of it, labelled, frozen in every shape that fits, and exported equal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import feedback.tasks  # noqa: F401 - registers the jobs
from feedback import presets
from feedback.formats.shape_table import fitting_shapes
from feedback.models import Instance, Task
from feedback.questions import Question
from feedback.refinements import asks_refinement
from feedback.services import datasets, definitions, jobs, queue, tasks
from tests.conftest import Cast, make_cast
from tests.feedback.frozen import rows_of

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cast(transactional_db: None, settings: Any, tmp_path: Path) -> Cast:
    settings.FILES_DIR = tmp_path / "files"
    return make_cast(instances=0)


def answer_to(question: Question, n: int) -> dict[str, Any]:
    """A full answer about ``n`` completions."""
    match question.kind:
        case "preference":
            aspects = {aspect: question.values()[1] for aspect in question.aspects}
            confidence = 4 if question.ask_confidence else None
            value = question.values()[0]
            return {"value": value, "aspects": aspects, "confidence": confidence, "reasons": question.reasons[:2]}
        case "ranking":
            return {"groups": [[n - 1], [*range(n - 1)]], "unacceptable": [0] if question.allow_unacceptable else []}
        case "rating":
            length = n if question.per == "completion" else 1
            return {"ratings": {scale.name: [scale.high, *[scale.low] * (length - 1)] for scale in question.scales}}
        case "span":
            kind = question.types[0]
            more = {"subtype": kind.subtypes[0]} if kind.subtypes else {}
            more |= {"severity": list(question.severities)[-1]} if question.severities else {}
            return {"spans": [{"target": n - 1, "start": 0, "end": 5, "type": kind.name, **more}]}
        case "critique":
            refinements = {"refinements": ["Better.", *[None] * (n - 1)]} if question.ask_refinement else {}
            return {"critiques": ["Too short.", *[""] * (n - 1)], **refinements}
        case "choice":
            return {"values": question.options[:1]}


def labelled(cast: Cast, name: str) -> tuple[Task, dict[str, Any]]:
    """A task of the preset with one instance, answered in full; and the answers as they were stored."""
    task = definitions.create_from(cast.project, presets.preset(name), actor=cast.owner)
    n = 2 if task.preference_question else 4
    texts = [f"Completion {index}" for index in range(n)]
    Instance.objects.create(
        task=task,
        external_id="x",
        prompt=[{"role": "user", "content": "Why?"}],
        completions=[{"content": text, "model": "m"} for text in texts],
        prompt_hash="0" * 64,
        open_slots=1,
    )
    tasks.open_task(task, actor=cast.owner)
    task.refresh_from_db()
    lent = queue.next_assignment(task, cast.annotator)
    said = {question.name: answer_to(question, n) for question in task.parsed_questions}
    annotation, made = queue.submit(lent, submission_id=uuid4(), answers=said, active_ms=1000)
    assert made
    for question, answer in said.items():
        stored = annotation.answers[question]
        assert {key: stored[key] for key in answer if key != "spans"} == {
            k: v for k, v in answer.items() if k != "spans"
        }
    return task, annotation.answers


@pytest.mark.parametrize("name", presets.NAMES)
def test_a_preset_is_labelled_frozen_and_exported(cast: Cast, name: str) -> None:
    task, answers = labelled(cast, name)
    shapes = fitting_shapes(task.parsed_questions)
    refinements = "chosen" if asks_refinement(task.parsed_questions) else "leave-out"
    spec = {"shapes": shapes, "formats": ["jsonl"], "splits": [1.0, 0.0, 0.0], "refinements": refinements}
    version = datasets.create_version(task, spec, actor=cast.manager)
    job = datasets.job_of(version)
    assert job is not None
    jobs.run(job.pk)
    version.refresh_from_db()
    assert version.state == "ready", version.error
    for shape in shapes:
        assert rows_of(version, shape), shape
    (raw,) = rows_of(version, "raw")
    assert json.loads(raw["answers"]) == answers
    assert raw["questions_version"] == 1
