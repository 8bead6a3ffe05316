"""Definitions of tasks: out and in again, over pages and REST; hostile files; the schema; the presets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from feedback import presets
from feedback.definitions import json_schema, parse_definition
from feedback.models import GuidelineVersion, Task
from feedback.services import definitions, tasks
from tests.conftest import QUESTIONS, REPOSITORY, Cast

HEAD: dict[str, Any] = {"format": "tiebreak-task", "schema_version": 1}
SMALL = HEAD | {"name": "Small", "questions": [{"kind": "critique", "name": "note", "title": "Why?"}]}


def send(cast: Cast, browser: Any, content: bytes, **more: str) -> Any:
    file = SimpleUploadedFile("task.json", content, "application/json")
    return browser(cast.manager).post(reverse("task-import", args=[cast.project.public_id]), {"file": file, **more})


@pytest.mark.parametrize("name", presets.NAMES)
def test_a_preset_made_a_task_exported_and_imported_is_the_same_task(cast: Cast, browser: Any, name: str) -> None:
    first = definitions.create_from(cast.project, presets.preset(name), actor=cast.owner)
    tasks.edit_task(first, actor=cast.owner, languages=["de"], skills=["law"])
    first.refresh_from_db()
    url = reverse("task-export", args=[cast.project.public_id, first.public_id])
    response = browser(cast.viewer).get(url)
    assert response.headers["Content-Disposition"].startswith("attachment; filename=")
    assert send(cast, browser, response.content, name="Again").status_code == 302
    again = Task.objects.get(name="Again")
    one, other = definitions.definition_of(first), definitions.definition_of(again)
    assert one | {"name": "Again"} == other
    assert isinstance(again.guideline, GuidelineVersion)
    assert again.guideline.text == presets.preset(name).guideline
    jsonschema.validate(one, json_schema())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\xff\xfe", "UTF-8"),
        (b"[]", "one JSON object"),
        (b"{}", "the format must be"),
        (json.dumps(HEAD | {"schema_version": 2}).encode(), "only version 1"),
        (json.dumps(HEAD | {"name": "x", "questions": []}).encode(), "questions: List should have at least 1"),
        (json.dumps(SMALL | {"overlap": 1000}).encode(), "overlap: Input should be less than or equal to 100"),
        (json.dumps(SMALL | {"languages": ["not a tag"]}).encode(), "not a tag"),
        (json.dumps(SMALL | {"skills": ["law, medicine"]}).encode(), "name one skill"),
        (json.dumps(SMALL | {"owner": "me"}).encode(), "owner: Extra inputs"),
        (json.dumps(SMALL | {"name": "\ud800"}).encode(), "surrogate"),
        (json.dumps(SMALL | {"name": "Which is better"}).encode(), "already has a task"),
        (json.dumps(SMALL | {"questions": SMALL["questions"] * 2}).encode(), "two questions have this name"),
        (b'{"format": "tiebreak-task", "format": "x"}', "twice"),
        (b"[" * 200_000, "nests deeper"),
        (b"9" * 9_000_000, "the limit is"),
        (b'{"format": NaN}', "not JSON"),
    ],
)
def test_a_hostile_file_is_a_422_in_words_and_makes_nothing(
    cast: Cast, browser: Any, content: bytes, words: str
) -> None:
    response = send(cast, browser, content)
    assert response.status_code == 422
    assert words in response.content.decode().replace("&#x27;", "'")
    assert Task.objects.count() == 1


def test_over_rest_a_definition_goes_out_and_in(cast: Cast, api: Any) -> None:
    client = api(cast.manager)
    project = cast.project.public_id
    out = client.get(reverse("api-task-definition", args=[project, cast.task.public_id])).json()
    assert out["questions"] == cast.task.questions
    made = client.post(
        reverse("api-task-import", args=[project]), out | {"name": "Copy"}, content_type="application/json"
    )
    assert made.status_code == 201
    assert made.json()["questions"] == cast.task.questions
    bad = client.post(reverse("api-task-import", args=[project]), out | {"overlap": 0}, content_type="application/json")
    assert bad.status_code == 422
    assert "overlap" in bad.json()["errors"]


def test_the_schema_is_public_and_accepts_what_is_exported(cast: Cast, client: Any) -> None:
    response = client.get(reverse("api-definition-schema"))
    assert response.status_code == 200
    schema = response.json()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(definitions.definition_of(cast.task), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(SMALL | {"overlap": 0}, schema)


def test_the_example_of_the_documentation_is_one() -> None:
    text = (REPOSITORY / "docs" / "task-definition.md").read_text(encoding="utf-8")
    example = json.loads(text.split("```json\n")[1].split("```")[0])
    jsonschema.validate(example, json_schema())
    assert parse_definition(example).name == "Answers about maths"


def test_every_file_of_the_presets_is_offered() -> None:
    folder = Path(presets.__file__).parent
    assert {file.stem for file in folder.glob("*.json")} == set(presets.NAMES)
    for definition in presets.presets().values():
        assert definition.source
        assert definition.description


def test_versions_of_questions_are_read_over_rest(cast: Cast, api: Any) -> None:
    client = api(cast.manager)
    task = reverse("api-task", args=[cast.project.public_id, cast.task.public_id])
    more = [*QUESTIONS, SMALL["questions"][0]]
    assert client.patch(task, {"questions": more}, content_type="application/json").json()["questions_version"] == 2
    versions = client.get(reverse("api-questions", args=[cast.project.public_id, cast.task.public_id])).json()
    assert sorted(row["number"] for row in versions["results"]) == [1, 2]


def test_what_a_change_means_is_asked_over_rest_and_a_breaking_one_says_so(cast: Cast, api: Any) -> None:
    from uuid import uuid4

    from feedback.services import queue, tasks

    topic = {"kind": "choice", "name": "topic", "title": "Topic?", "options": ["maths", "law"]}
    tasks.edit_task(cast.task, actor=cast.owner, questions=[*QUESTIONS, topic])
    cast.task.refresh_from_db()
    said = {"overall": {"value": "tie"}, "topic": {"values": ["law"]}}
    lent = queue.next_assignment(cast.task, cast.annotator)
    queue.submit(lent, submission_id=uuid4(), answers=said, active_ms=0)
    client = api(cast.manager)
    names = (cast.project.public_id, cast.task.public_id)
    narrower = {"questions": [*QUESTIONS, topic | {"options": ["maths", "art"]}]}
    check = client.post(reverse("api-check", args=names), narrower, content_type="application/json")
    assert [(one["name"], one["change"], one["misfits"]) for one in check.json()["questions"]] == [
        ("overall", "same", 0),
        ("topic", "changed", 1),
    ]
    refused = client.patch(reverse("api-task", args=names), narrower, content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (409, "answers-misfit")
    accepted = narrower | {"accept_misfits": True}
    changed = client.patch(reverse("api-task", args=names), accepted, content_type="application/json")
    assert (changed.status_code, changed.json()["questions_version"]) == (200, 3)
