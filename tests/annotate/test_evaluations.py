"""Evaluations on pages and over REST: who may start one, on what, and what is shown of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from feedback.models import Instance, Job
from feedback.services import people
from tests.annotate.trained import finished_evaluation, finished_run, version_of
from training import evaluations
from training.models import Evaluation

Browser = Callable[..., Client]
FORM = {"max_length": "256", "long_rows": "drop"}
ROWS = b'{"prompt": "Q?", "chosen": "yes", "rejected": "no", "subset": "hep-go"}\n'


@pytest.fixture(autouse=True)
def places(settings: Any, tmp_path: Path) -> None:
    settings.FILES_DIR, settings.MODELS_DIR = tmp_path / "files", tmp_path / "models"


def page(cast: Any, rest: str) -> str:
    return f"/p/{cast.project.public_id}/{rest}"


def api_path(cast: Any, rest: str = "") -> str:
    return f"projects/{cast.project.public_id}/evaluations/{rest}"


def upload(name: str = "rewardbench.jsonl", content: bytes = ROWS) -> SimpleUploadedFile:
    return SimpleUploadedFile(name, content)


def test_a_form_sent_twice_starts_one_evaluation_on_the_chosen_split(cast: Any, browser: Browser) -> None:
    model = finished_run(cast).model
    client = browser(cast.manager)
    body = FORM | {"rows_of": f"{version_of(cast).public_id}:test", "key": "k"}
    answers = [client.post(page(cast, f"models/{model.public_id}/evaluate/"), body) for _ in range(2)]
    made = Evaluation.objects.get()
    assert {answer["Location"] for answer in answers} == {page(cast, f"evaluations/{made.public_id}/")}
    assert (made.version, made.split, made.wishes) == (
        version_of(cast),
        "test",
        {"max_length": 256, "long_rows": "drop"},
    )
    assert "Waiting for a worker" in client.get(answers[0]["Location"]).content.decode()


@pytest.mark.parametrize("name", ["ROWS.JSONL", "Rows.Parquet"])
def test_the_ending_of_a_file_may_be_in_capitals(cast: Any, browser: Browser, name: str) -> None:
    model = finished_run(cast).model
    url = page(cast, f"models/{model.public_id}/evaluate/")
    assert browser(cast.manager).post(url, FORM | {"file": upload(name)}).status_code == 302
    assert Evaluation.objects.get().filename == name


def test_a_file_is_kept_once_however_often_it_is_sent(cast: Any, browser: Browser, settings: Any) -> None:
    model = finished_run(cast).model
    url = page(cast, f"models/{model.public_id}/evaluate/")
    for _ in range(2):
        assert browser(cast.manager).post(url, FORM | {"file": upload(), "key": "k"}).status_code == 302
    made = Evaluation.objects.get()
    assert made.filename == "rewardbench.jsonl"
    assert [path.name for path in (settings.FILES_DIR / "uploads").rglob("*.jsonl")] == ["rewardbench.jsonl"]


@pytest.mark.parametrize(
    "body",
    [
        {"rows_of": ""},
        {"rows_of": f"{uuid4()}:test"},
        {"rows_of": "x:test"},
        {"file": upload("pairs.csv", b"a,b\n")},
        {"file": upload("pairs.pkl", b"x")},
        {"max_length": "0"},
    ],
)
def test_a_wrong_form_comes_back_and_keeps_nothing(cast: Any, browser: Browser, settings: Any, body: Any) -> None:
    model = finished_run(cast).model
    answer = browser(cast.manager).post(page(cast, f"models/{model.public_id}/evaluate/"), FORM | body)
    assert answer.status_code == 422
    assert b"errorlist" in answer.content
    assert not Evaluation.objects.exists()
    assert not [path for path in (settings.FILES_DIR / "uploads").rglob("*") if path.is_file()]


def test_the_page_shows_figures_slices_sections_and_what_was_left_out(cast: Any, browser: Browser) -> None:
    made = finished_evaluation(cast, finished_run(cast).model)
    text = browser(cast.viewer).get(page(cast, f"evaluations/{made.public_id}/")).content.decode()
    for words in ("0.750", "0.55–0.90", "Language:", "&lt;b&gt;code&lt;/b&gt;", "Chat", "2 prompts of these rows"):
        assert words in text
    for words in ("3 reward models on one base model", "longer than 512 tokens", "reliability-data", "20 of 22 rows"):
        assert words in text
    assert "Chat hard" not in text
    scores = browser(cast.viewer).get(page(cast, f"evaluations/{made.public_id}/scores/"))
    assert b"".join(scores.streaming_content) == b'{"id": "p"}\n'  # type: ignore[arg-type]
    listed = browser(cast.viewer).get(page(cast, f"models/{made.model.public_id}/")).content.decode()
    assert str(made.public_id) in listed


@pytest.mark.parametrize("who, status", [("viewer", 403), ("reviewer", 403), ("annotator", 403), ("outsider", 404)])
def test_only_managers_evaluate(cast: Any, browser: Browser, api: Any, who: str, status: int) -> None:
    model = finished_run(cast).model
    user = getattr(cast, who)
    body = {"model": str(model.public_id), "version": str(version_of(cast).public_id)}
    assert browser(user).post(page(cast, f"models/{model.public_id}/evaluate/"), FORM).status_code == status
    assert api(user).send("post", api_path(cast), body).status_code == status
    assert not Evaluation.objects.exists()


def test_what_belongs_to_another_project_is_not_found(cast: Any, browser: Browser, api: Any) -> None:
    made = finished_evaluation(cast, finished_run(cast).model)
    other = people.create_project("Elsewhere", owner=cast.outsider)
    client, program = browser(cast.outsider), api(cast.outsider)
    for rest in (f"evaluations/{made.public_id}/", f"evaluations/{made.public_id}/scores/"):
        assert client.get(f"/p/{other.public_id}/{rest}").status_code == 404
        assert program.send("get", f"projects/{other.public_id}/{rest}").status_code == 404
    body = {"model": str(made.model.public_id), "version": str(version_of(cast).public_id)}
    assert program.send("post", f"projects/{other.public_id}/evaluations/", body).status_code == 404
    own = api(cast.manager).send("post", api_path(cast), body | {"version": str(uuid4())})
    assert own.status_code == 422
    assert Evaluation.objects.count() == 1


def test_an_evaluation_over_rest_is_started_once_and_read(cast: Any, api: Any) -> None:
    model = finished_run(cast).model
    client = api(cast.manager)
    body = {"model": str(model.public_id), "version": str(version_of(cast).public_id), "max_length": 128}
    made = [client.send("post", api_path(cast), body, **{"Idempotency-Key": "k"}) for _ in range(2)]
    assert [answer.status_code for answer in made] == [202, 202], made[0].content
    assert made[0].json()["id"] == made[1].json()["id"]
    assert Job.objects.filter(kind="evaluate").count() == 1
    other = client.send("post", api_path(cast), body | {"max_length": 64}, **{"Idempotency-Key": "k"})
    assert other.status_code == 409
    one = client.send("get", api_path(cast, f"{made[0].json()['id']}/")).json()
    assert (one["state"], one["report"], one["split"]) == ("queued", {}, "test")
    assert [row["id"] for row in client.send("get", api_path(cast)).json()["results"]] == [one["id"]]
    for wrong in ({"split": "none"}, {"max_length": 1}, {"nonsense": 1}, {"version": None}):
        assert client.send("post", api_path(cast), body | wrong).status_code == 422


def test_a_file_over_rest(cast: Any, api: Any) -> None:
    model = finished_run(cast).model
    client = api(cast.manager)
    made = client.post(f"/api/v1/{api_path(cast)}", {"model": str(model.public_id), "file": upload()})
    assert made.status_code == 202, made.content
    assert made.json()["filename"] == "rewardbench.jsonl"
    both = {"model": str(model.public_id), "file": upload(), "version": str(version_of(cast).public_id)}
    assert client.post(f"/api/v1/{api_path(cast)}", both).status_code == 422


def test_a_version_without_such_rows_is_refused(cast: Any, api: Any) -> None:
    model = finished_run(cast).model
    body = {"model": str(model.public_id), "version": str(version_of(cast).public_id), "split": "validation"}
    refused = api(cast.manager).send("post", api_path(cast), body)
    assert refused.status_code == 409
    assert "no preferences, rankings or ratings in its validation split" in refused.json()["detail"]


def test_a_model_page_needs_as_many_queries_for_many_evaluations(
    cast: Any, browser: Browser, django_assert_max_num_queries: Any
) -> None:
    model = finished_run(cast).model
    for _ in range(10):
        finished_evaluation(cast, model)
    client = browser(cast.viewer)
    with django_assert_max_num_queries(8):
        assert client.get(page(cast, f"models/{model.public_id}/")).status_code == 200


def test_what_is_known_of_instances_is_written_line_by_line_and_nothing_else(cast: Any, tmp_path: Path) -> None:
    first, second = Instance.objects.filter(task=cast.task).order_by("pk")[:2]
    Instance.objects.filter(pk=first.pk).update(lang="de", meta={"tags": ["code"], "passages": [{"text": "long"}]})
    Instance.objects.filter(task=cast.task).exclude(pk=first.pk).update(lang="", meta={})
    path = Path(evaluations._write_marks(tmp_path / "marks.jsonl", version_of(cast)))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [{"id": str(first.public_id), "language": "de", "tags": ["code"]}]
    assert str(second.public_id) not in path.read_text()
