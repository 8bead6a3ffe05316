"""Refinements become pairs by a rule that is chosen at freeze."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import feedback.tasks  # noqa: F401 - registers the jobs
from feedback.exceptions import InvalidInput
from feedback.models import Annotation, Annotator, DatasetVersion
from feedback.questions import parse_questions
from feedback.refinements import Critic, Refinement, refinements
from feedback.services import datasets, jobs, tasks
from tests.conftest import Cast, make_cast, make_instances

CRITIQUE = {"kind": "critique", "name": "critique", "title": "What is wrong?", "ask_refinement": True}
QUESTIONS = parse_questions([CRITIQUE])
COMPLETIONS = ["First 0", "Second 0"]


def critic(annotator: int, *texts: str | None, source: str = "human") -> Critic:
    return Critic(annotator, source, {"critique": {"critiques": ["", ""], "refinements": list(texts)}})


def test_equal_refinements_are_one_with_both_annotators() -> None:
    said = [critic(1, None, "Better"), critic(2, "Best", "Better"), critic(3, None, None)]
    assert refinements(QUESTIONS, said, COMPLETIONS, "any") == [
        Refinement(0, "Best", "human", (2,)),
        Refinement(1, "Better", "human", (1, 2)),
    ]


def test_an_unchanged_or_blank_refinement_is_none() -> None:
    assert refinements(QUESTIONS, [critic(1, "First 0", " \n"), critic(2)], COMPLETIONS, "any") == []


def test_people_come_before_judges_and_a_source_can_be_chosen() -> None:
    said = [critic(1, "By a judge", None, source="judge"), critic(2, None, "By a person")]

    def texts(wanted: str) -> list[tuple[str, str]]:
        return [(one.text, one.source) for one in refinements(QUESTIONS, said, COMPLETIONS, wanted)]

    assert texts("any") == texts("human") == [("By a person", "human")]
    assert texts("judge") == [("By a judge", "judge")]
    assert [one.text for one in refinements(QUESTIONS, said[:1], COMPLETIONS, "any")] == ["By a judge"]


@pytest.fixture
def critics(transactional_db: None, settings: Any, tmp_path: Path) -> Cast:
    """A task that asks only critiques, with one refinement by each of two people."""
    settings.FILES_DIR = tmp_path / "files"
    cast = make_cast(instances=0)
    cast.task = tasks.create_task(cast.project, "Critiques", [CRITIQUE], actor=cast.owner)
    [instance] = make_instances(cast.task, 1)
    for name, texts in (("x", [None, "Second, refined"]), ("y", ["First, refined", "Second, refined"])):
        Annotation.objects.create(
            task=cast.task,
            instance=instance,
            annotator=Annotator.objects.create(project=cast.project, kind="human", name=name),
            source="human",
            answers={"critique": {"critiques": ["Vague", ""], "refinements": texts}},
        )
    return cast


SPEC = {"shapes": ["preference"], "formats": ["jsonl"], "splits": [1.0, 0.0, 0.0]}


@pytest.mark.django_db(transaction=True)
def test_a_version_holds_each_refinement_as_chosen(critics: Cast) -> None:
    version = datasets.create_version(critics.task, SPEC | {"refinements": "chosen"}, actor=critics.manager)
    job = datasets.job_of(version)
    assert job is not None
    jobs.run(job.pk)
    version.refresh_from_db()
    [file] = [file for file in datasets.files_of(version) if file.split]
    rows = [json.loads(line) for line in (datasets.folder_of(version) / file.path).read_text().splitlines()]
    assert [(row["chosen"], row["rejected"], row["annotator_count"], row["strength"]) for row in rows] == [
        ("First, refined", "First 0", 1, 1),
        ("Second, refined", "Second 0", 2, 1),
    ]
    assert len({row["id"] for row in rows}) == 2
    assert {row["agreement"] for row in rows} == {None}
    assert version.card["counts"]["refinements"] == 2
    assert version.card["human_share"] == 1.0
    assert "2 of the pairs are refinements" in " ".join(version.card["notes"])


@pytest.mark.django_db(transaction=True)
def test_refinements_need_a_question_that_asks_them(critics: Cast) -> None:
    with pytest.raises(InvalidInput):
        datasets.create_version(critics.task, SPEC, actor=critics.manager)
    plain = tasks.create_task(critics.project, "Plain", [CRITIQUE | {"ask_refinement": False}], actor=critics.owner)
    with pytest.raises(InvalidInput) as refused:
        datasets.create_version(plain, SPEC | {"refinements": "chosen"}, actor=critics.manager)
    assert "refinements" in refused.value.errors
    assert not DatasetVersion.objects.exists()
