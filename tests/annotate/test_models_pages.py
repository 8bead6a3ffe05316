"""Trained models: pages, files in parts, and paths that lead nowhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.annotate.trained import WEIGHTS, finished_run

Browser = Callable[..., Client]
TRAVERSALS = [
    "../run.json",
    "..%2frun.json",
    "%2e%2e/run.json",
    "/etc/passwd",
    "./model.safetensors",
    "x/../model.safetensors",
    "model.safetensors/",
    "model.safetensors%00",
    "MODEL.SAFETENSORS",
    "..\\run.json",
]


@pytest.fixture(autouse=True)
def places(settings: Any, tmp_path: Path) -> None:
    settings.FILES_DIR, settings.MODELS_DIR = tmp_path / "files", tmp_path / "models"


def url(cast: Any, rest: str = "") -> str:
    return f"/p/{cast.project.public_id}/models/{rest}"


@pytest.mark.parametrize("who, status", [("viewer", 200), ("annotator", 403), ("outsider", 404)])
def test_members_who_may_look_see_models_and_fetch_files(cast: Any, browser: Browser, who: str, status: int) -> None:
    model = finished_run(cast).model
    client = browser(getattr(cast, who))
    for path in ("", f"{model.public_id}/", f"{model.public_id}/files/model.safetensors"):
        assert client.get(url(cast, path)).status_code == status, path


def test_a_file_comes_with_the_bytes_of_its_hash_whole_or_in_part(cast: Any, browser: Browser) -> None:
    model = finished_run(cast).model
    client = browser(cast.viewer)
    path = url(cast, f"{model.public_id}/files/model.safetensors")
    whole = client.get(path)
    data = whole.getvalue()
    assert (data, hashlib.sha256(data).hexdigest()) == (WEIGHTS, model.files[0]["sha256"])
    part = client.get(path, headers={"Range": "bytes=8-"})
    assert (part.status_code, part.getvalue()) == (206, WEIGHTS[8:])


@pytest.mark.parametrize("path", TRAVERSALS)
def test_only_listed_paths_name_files(cast: Any, browser: Browser, api: Any, path: str) -> None:
    run = finished_run(cast)
    (run.folder / "run.json").write_text("{}")
    assert browser(cast.viewer).get(url(cast, f"{run.model.public_id}/files/{path}")).status_code in (404, 400)
    answer = api(cast.viewer).send(
        "get", f"projects/{cast.project.public_id}/models/{run.model.public_id}/files/{path}"
    )
    assert answer.status_code in (404, 400)


def test_a_model_of_another_project_is_not_there(cast: Any, browser: Browser) -> None:
    from feedback.services.people import create_project

    model = finished_run(cast).model
    other = create_project("Elsewhere", owner=cast.outsider)
    client = browser(cast.outsider)
    for path in ("", "files/model.safetensors"):
        assert client.get(f"/p/{other.public_id}/models/{model.public_id}/{path}").status_code == 404


def test_a_models_page_shows_its_card_lineage_and_hashes(cast: Any, browser: Browser) -> None:
    model = finished_run(cast).model
    page = browser(cast.viewer).get(url(cast, f"{model.public_id}/")).content.decode()
    for words in ("The card</h1>", model.files[0]["sha256"], "Version 1, 2 rows", "model.safetensors"):
        assert words in page
    assert "tags: []" not in page


def test_the_list_needs_as_many_queries_for_ten_models_as_for_one(
    cast: Any, browser: Browser, django_assert_max_num_queries: Any
) -> None:
    for _ in range(10):
        finished_run(cast)
    client = browser(cast.viewer)
    with django_assert_max_num_queries(8):
        assert client.get(url(cast)).content.count(b"Reward model \xc2\xb7 run") == 10


def test_without_models_the_page_leads_to_training(cast: Any, browser: Browser) -> None:
    assert url(cast).replace("models", "training").encode() in browser(cast.viewer).get(url(cast)).content
