"""Runs and models through the API: scopes, roles, idempotency, paging, and bad requests."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from feedback.models import Job
from tests.annotate.trained import (
    WEIGHTS,
    another_version,
    checked_run,
    finished_run,
    foreign_version,
    queued_run,
    version_of,
)
from training.models import Metric, Run


@pytest.fixture(autouse=True)
def places(settings: Any, tmp_path: Path) -> None:
    settings.FILES_DIR, settings.MODELS_DIR = tmp_path / "files", tmp_path / "models"


def path(cast: Any, rest: str) -> str:
    return f"projects/{cast.project.public_id}/{rest}"


def wish(cast: Any, **more: Any) -> dict[str, Any]:
    return {"version": str(version_of(cast).public_id), "objective": "bt", "base_model": "small"} | more


def test_a_run_is_started_watched_cancelled_and_resumed(cast: Any, api: Any) -> None:
    client = api(cast.manager)
    made = client.send("post", path(cast, "runs/"), wish(cast, config={"epochs": 3}))
    assert made.status_code == 201, made.content
    run = made.json()
    assert (run["state"], run["number"], run["config"], run["model"]) == ("queued", 1, {"epochs": 3}, None)
    one = path(cast, f"runs/{run['id']}/")
    assert client.send("get", one).json()["evaluation"] == {}
    cancelled = client.send("post", f"{one}cancel/")
    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "cancelled")
    again = client.send("post", f"{one}cancel/")
    assert (again.status_code, again.json()["code"]) == (409, "wrong-state")
    assert client.send("post", f"{one}resume/").json()["state"] == "queued"
    assert client.send("post", f"{one}resume/").status_code == 409


def test_a_run_is_checked_before_it_is_started(cast: Any, api: Any) -> None:
    client = api(cast.manager)
    made = client.send("post", path(cast, "runs/"), wish(cast, check_first=True)).json()
    one = path(cast, f"runs/{made['id']}/")
    assert client.send("post", f"{one}start/").json()["code"] == "wrong-state"
    checked_run(cast, Run.objects.get())
    told = client.send("get", one).json()
    assert (told["state"], told["check_first"], told["preflight"]["steps"]) == ("checked", True, 12)
    started = client.send("post", f"{one}start/")
    assert (started.status_code, started.json()["state"]) == (202, "queued")


def test_one_idempotency_key_starts_one_run(cast: Any, api: Any) -> None:
    client = api(cast.manager)
    answers = [client.send("post", path(cast, "runs/"), wish(cast), **{"Idempotency-Key": "k"}) for _ in range(2)]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert Run.objects.count() == Job.objects.count() == 1


def test_keys_that_differ_at_their_end_only_are_two(cast: Any, api: Any) -> None:
    client, keys = api(cast.manager), ("k" * 199 + end for end in "ab")
    answers = [client.send("post", path(cast, "runs/"), wish(cast), **{"Idempotency-Key": key}) for key in keys]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["id"] != answers[1].json()["id"]


def test_starting_needs_the_scope_train_and_the_role_manager(cast: Any, api: Any) -> None:
    body = wish(cast)
    run = queued_run(cast)
    for client, status in [
        (api(cast.manager, "read", "write"), 403),
        (api(cast.reviewer), 403),
        (api(cast.outsider), 404),
        (api(), 401),
    ]:
        assert client.send("post", path(cast, "runs/"), body).status_code == status
        assert client.send("post", path(cast, f"runs/{run.public_id}/cancel/")).status_code == status
        assert client.send("post", path(cast, f"runs/{run.public_id}/resume/")).status_code == status
        assert client.send("post", path(cast, f"runs/{run.public_id}/start/")).status_code == status
    run.refresh_from_db()
    assert (run.state, Run.objects.count()) == ("queued", 1)


@pytest.mark.parametrize(
    "body, field",
    [
        ({"version": str(uuid4())}, "version"),
        ({"objective": "ppo"}, "objective"),
        ({"base_model": "../x"}, "base_model"),
        ({"config": {"learning_rate": "fast"}}, "config.learning_rate"),
        ({"config": {"nonsense": 1}}, "config.nonsense"),
        ({"config": {"data": {"train": ["/etc/passwd"]}}}, "config.data"),
        ({"config": [1]}, "config"),
    ],
)
def test_what_is_not_right_is_named_and_stores_nothing(cast: Any, api: Any, body: Any, field: str) -> None:
    answer = api(cast.manager).send("post", path(cast, "runs/"), wish(cast, **body))
    assert answer.status_code == 422, answer.content
    assert any(name.startswith(field) for name in answer.json()["errors"])
    assert not Run.objects.exists()
    assert not Job.objects.exists()


def test_a_version_of_another_project_cannot_be_trained_on(cast: Any, api: Any) -> None:
    from feedback.services.people import create_project

    other = create_project("Elsewhere", owner=cast.outsider)
    answer = api(cast.outsider).send("post", f"projects/{other.public_id}/runs/", wish(cast))
    assert answer.status_code == 422
    assert not Run.objects.exists()


def test_a_run_is_evaluated_on_another_version_of_the_project(cast: Any, api: Any) -> None:
    client, other = api(cast.manager), another_version(cast)
    made = client.send("post", path(cast, "runs/"), wish(cast, held_out=str(other.public_id)))
    assert (made.status_code, made.json()["held_out"]) == (201, str(other.public_id))
    assert client.send("post", path(cast, "runs/"), wish(cast)).json()["held_out"] is None
    swept = client.send("post", path(cast, "sweeps/"), wish(cast, held_out=str(other.public_id), grid={"seed": [1, 2]}))
    assert swept.status_code == 201, swept.content
    assert set(Run.objects.filter(sweep__isnull=False).values_list("held_out", flat=True)) == {other.pk}
    foreign = str(foreign_version(cast).public_id)
    for place, body in (("runs/", {}), ("sweeps/", {"grid": {"seed": [1, 2]}})):
        refused = client.send("post", path(cast, place), wish(cast, held_out=foreign, **body))
        assert refused.status_code == 422, refused.content
        assert list(refused.json()["errors"]) == ["held_out"]


def test_runs_are_filtered_and_foreign_ones_are_not_there(cast: Any, api: Any) -> None:
    finished, waiting = finished_run(cast), queued_run(cast)
    client = api(cast.viewer)
    listed = client.send("get", path(cast, "runs/?state=queued")).json()["results"]
    assert [run["id"] for run in listed] == [str(waiting.public_id)]
    assert len(client.send("get", path(cast, f"runs/?version={finished.version.public_id}")).json()["results"]) == 2
    assert client.send("get", path(cast, "runs/?state=odd")).status_code == 400
    assert client.send("get", path(cast, f"runs/{uuid4()}/")).status_code == 404


def test_metrics_come_in_pages_and_curves_thinned(cast: Any, api: Any) -> None:
    run = finished_run(cast)
    Metric.objects.bulk_create(Metric(run=run, step=n, name="accuracy", value=0.5) for n in range(1, 301))
    client = api(cast.viewer)
    one = path(cast, f"runs/{run.public_id}/")
    page = client.send("get", f"{one}metrics/?name=accuracy&limit=200").json()
    assert (len(page["results"]), page["results"][0]) == (200, {"step": 300, "name": "accuracy", "value": 0.5})
    assert page["next"]
    curves = client.send("get", f"{one}curves/?points=10").json()
    assert {series["metric"]: len(series["points"]) for series in curves["series"]} == {"accuracy": 10, "loss": 1}
    assert curves["done"] is True
    assert client.send("get", f"{one}curves/?points=0").status_code == 400


def test_a_model_is_listed_and_its_files_fetched(cast: Any, api: Any) -> None:
    model = finished_run(cast).model
    client = api(cast.viewer, "read")
    (listed,) = client.send("get", path(cast, "models/?kind=reward-model")).json()["results"]
    assert listed["id"] == str(model.public_id)
    detail = client.send("get", path(cast, f"models/{model.public_id}/")).json()
    file = next(file for file in detail["files"] if file["path"] == "model.safetensors")
    answer = client.send("get", file["url"].removeprefix("/api/v1/"), Range="bytes=0-3")
    assert (answer.status_code, answer.getvalue()) == (206, WEIGHTS[:4])
    assert hashlib.sha256(WEIGHTS).hexdigest() == file["sha256"]
    assert api(cast.outsider).send("get", path(cast, "models/")).status_code == 404


def test_objectives_can_be_asked_for_with_their_options(cast: Any, api: Any) -> None:
    assert api(cast.outsider).send("get", path(cast, "objectives/")).status_code == 404
    answer = api(cast.viewer, "read").send("get", path(cast, "objectives/"))
    found = {one["id"]: one for one in answer.json()}
    assert found["simpo"]["options"]["beta"] | {"description": ""} == {
        "default": 2.0,
        "description": "",
        "exclusiveMinimum": 0,
        "maximum": 100,
        "title": "Beta",
        "type": "number",
    }
    assert found["ensemble"]["options"]["combine"]["enum"] == ["mean", "worst", "uncertainty"]
    assert (found["bt"]["makes"], found["plackett_luce"]["consumes"]) == ("reward-model", ["ranked", "ratings"])


def test_base_models_can_be_asked_for(cast: Any, api: Any) -> None:
    model = finished_run(cast).model
    answer = api(cast.manager).send("get", path(cast, "base-models/")).json()
    assert [base["id"] for base in answer] == ["small", f"model:{model.public_id}"]


def test_lists_need_few_queries(cast: Any, api: Any, django_assert_max_num_queries: Any) -> None:
    for _ in range(5):
        finished_run(cast)
    client = api(cast.viewer)
    with django_assert_max_num_queries(7):
        client.send("get", path(cast, "runs/"))
    with django_assert_max_num_queries(6):
        client.send("get", path(cast, "models/"))
