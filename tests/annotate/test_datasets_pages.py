"""Freezing by hand and by REST, and files that are fetched whole and in parts."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

import feedback.tasks  # noqa: F401 - registers the jobs
from annotate.downloads import Unsatisfiable, wanted_range
from annotate.forms.datasets import FreezeForm
from feedback.models import Annotation, Annotator, DatasetVersion
from feedback.services import datasets, jobs, people
from tests.conftest import Cast, make_cast

pytestmark = pytest.mark.django_db(transaction=True)
FORM = {
    "shapes": ["preference", "raw"],
    "formats": ["jsonl", "parquet"],
    "sources": "any",
    "aggregation": "majority",
    "min_annotations": "1",
    "ties": "drop",
    "train": "1",
    "validation": "0",
    "seed": "0",
}


@pytest.fixture(autouse=True)
def _files(settings: Any, tmp_path: Path) -> None:
    settings.FILES_DIR = tmp_path / "files"


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    cast = make_cast(instances=3)
    annotator = Annotator.objects.create(project=cast.project, kind="human", name="ann")
    for instance in cast.task.instances.all():
        Annotation.objects.create(
            task=cast.task,
            instance=instance,
            annotator=annotator,
            source="human",
            answers={"overall": {"value": "a-is-clearly-better"}},
        )
    return cast


def logged_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def frozen(cast: Cast) -> DatasetVersion:
    spec = {"shapes": ["preference"], "formats": ["jsonl"], "splits": [1, 0, 0]}
    version = datasets.create_version(cast.task, spec, actor=cast.manager)
    run(version)
    return version


def run(version: DatasetVersion) -> None:
    job = datasets.job_of(version)
    assert job is not None
    jobs.run(job.pk)
    version.refresh_from_db()


def body(answer: Any) -> bytes:
    return b"".join(answer.streaming_content) if answer.streaming else answer.content


def test_a_version_is_frozen_from_the_page(cast: Cast) -> None:
    client = logged_in(cast.manager)
    answer = client.post(reverse("dataset-create", args=[cast.project.public_id]), FORM)
    version = DatasetVersion.objects.get()
    assert answer.headers["Location"] == reverse("dataset", args=[cast.project.public_id, version.public_id])
    assert "Waiting for a worker" in client.get(answer.headers["Location"]).content.decode()
    run(version)
    page = client.get(answer.headers["Location"]).content.decode()
    assert version.sha256 in page
    assert "load_dataset" in page
    for file in datasets.files_of(version):
        assert file.sha256 in page
    assert version.task.name in client.get(reverse("datasets", args=[cast.project.public_id])).content.decode()


def test_a_double_click_freezes_one_version(cast: Cast) -> None:
    client, url = logged_in(cast.manager), reverse("dataset-create", args=[cast.project.public_id])
    page = client.get(f"{url}?task={cast.task.public_id}").content.decode()
    found = re.search(r'name="token" value="([0-9a-f-]{36})"', page)
    assert found is not None
    form = FORM | {"task": str(cast.task.public_id), "token": found[1]}
    places = {client.post(url, form).headers["Location"] for _ in range(2)}
    assert (len(places), DatasetVersion.objects.count()) == (1, 1)
    client.post(url, form | {"seed": "1"})  # back, and another choice
    assert DatasetVersion.objects.count() == 2


@pytest.mark.parametrize(
    "change",
    [{"shapes": []}, {"train": "0.9", "validation": "0.5"}, {"ties": "coin"}, {"seed": "-1"}, {"train": "nan"}],
)
def test_a_wrong_form_is_shown_again(cast: Cast, change: dict[str, Any]) -> None:
    answer = logged_in(cast.manager).post(reverse("dataset-create", args=[cast.project.public_id]), FORM | change)
    assert answer.status_code == 422
    assert not DatasetVersion.objects.exists()


@pytest.mark.parametrize(("train", "validation"), [("0.9", "0.05"), ("0.7", "0.1"), ("1", "0"), ("0.8", "0.2")])
def test_shares_are_stored_as_they_were_written(cast: Cast, train: str, validation: str) -> None:
    form = FreezeForm(cast.task, FORM | {"train": train, "validation": validation})
    assert form.is_valid()
    assert form.spec()["splits"][:2] == (float(train), float(validation))


def test_a_failed_version_says_why(cast: Cast) -> None:
    Annotation.objects.all().delete()
    version = frozen(cast)
    address = reverse("dataset", args=[cast.project.public_id, version.public_id])
    assert "no annotations yet" in logged_in(cast.viewer).get(address).content.decode()


def test_a_file_is_fetched_whole_and_in_parts(cast: Cast) -> None:
    version = frozen(cast)
    [data] = [file for file in datasets.files_of(version) if file.split]
    address = reverse("dataset-file", args=[cast.project.public_id, version.public_id, data.path])
    client = logged_in(cast.viewer)
    whole = client.get(address)
    content = body(whole)
    assert hashlib.sha256(content).hexdigest() == data.sha256
    assert whole.headers["ETag"] == f'"{data.sha256}"'
    assert int(whole.headers["Content-Length"]) == len(content) == data.bytes

    def part(**headers: str) -> Any:
        return client.get(address, headers=headers)

    middle = part(Range="bytes=10-19")
    assert (middle.status_code, body(middle)) == (206, content[10:20])
    assert middle.headers["Content-Range"] == f"bytes 10-19/{len(content)}"
    assert body(part(Range="bytes=-5")) == content[-5:]
    assert body(part(Range="bytes=5-")) == content[5:]
    beyond = part(Range=f"bytes={len(content)}-")
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, f"bytes */{len(content)}")
    assert part(**{"If-None-Match": f'"{data.sha256}"'}).status_code == 304
    changed = part(Range="bytes=0-3", **{"If-Range": '"another"'})
    assert (changed.status_code, body(changed)) == (200, content)
    head = client.head(address)
    assert (head.content, head.headers["Content-Length"]) == (b"", str(len(content)))


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("bytes=0-0", (0, 0)),
        ("bytes=0-999", (0, 9)),
        ("bytes=3-", (3, 9)),
        ("bytes=-3", (7, 9)),
        ("bytes=-99", (0, 9)),
        ("", None),
        ("bytes=5-2", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("lines=0-1", None),
        ("bytes=x-y", None),
    ],
)
def test_ranges_of_ten_bytes(header: str, found: tuple[int, int] | None) -> None:
    assert wanted_range(header, 10) == found


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-1", 0)])
def test_ranges_outside_a_file_cannot_be_met(header: str, size: int) -> None:
    with pytest.raises(Unsatisfiable):
        wanted_range(header, size)


def test_only_files_of_the_manifest_are_served(cast: Cast) -> None:
    version = frozen(cast)
    (datasets.folder_of(version) / "secret").write_text("x")
    client = logged_in(cast.owner)
    base = reverse("dataset", args=[cast.project.public_id, version.public_id]) + "files/"
    for path in ("secret", "../../secret", "preference/jsonl/manifest.json/..", "%2e%2e/%2e%2e/x", "preference"):
        assert client.get(base + path).status_code == 404


@pytest.mark.parametrize(("who", "status"), [("outsider", 404), ("annotator", 403)])
def test_others_do_not_get_in(cast: Cast, who: str, status: int) -> None:
    version = frozen(cast)
    client = logged_in(getattr(cast, who))
    ids = [cast.project.public_id, version.public_id]
    [data] = [file for file in datasets.files_of(version) if file.split]
    assert client.get(reverse("datasets", args=ids[:1])).status_code == status
    assert client.get(reverse("dataset", args=ids)).status_code == status
    assert client.get(reverse("dataset-file", args=[*ids, data.path])).status_code == status
    assert client.post(reverse("dataset-create", args=ids[:1]), FORM).status_code == status
    other = people.create_project("Other", owner=cast.outsider)
    foreign = reverse("dataset", args=[other.public_id, version.public_id])
    assert logged_in(cast.outsider).get(foreign).status_code == 404


def test_viewers_read_but_do_not_freeze(cast: Cast) -> None:
    client = logged_in(cast.viewer)
    assert client.get(reverse("datasets", args=[cast.project.public_id])).status_code == 200
    assert client.post(reverse("dataset-create", args=[cast.project.public_id]), FORM).status_code == 403


def test_freeze_fetch_and_verify_by_rest(cast: Cast) -> None:
    root = f"/api/v1/projects/{cast.project.public_id}/datasets/"
    headers = {"Authorization": f"Bearer {people.make_token(cast.manager, 't', ['read', 'write'])[1]}"}
    client = Client()
    wanted = {"task": str(cast.task.public_id), "spec": {"formats": ["jsonl"], "splits": [1, 0, 0]}}

    def post(path: str, sent: Any, **more: str) -> Any:
        return client.post(root + path, json.dumps(sent), "application/json", headers={**headers, **more})

    made = post("", wanted, **{"Idempotency-Key": "one"})
    assert made.status_code == 202, made.content
    assert post("", wanted, **{"Idempotency-Key": "one"}).json()["id"] == made.json()["id"]
    assert made.json()["job"]["state"] == "queued"
    version = DatasetVersion.objects.get()
    run(version)
    shown = client.get(f"{root}{version.public_id}/", headers=headers).json()
    assert (shown["state"], shown["rows"], shown["sha256"]) == ("ready", 3, version.sha256)
    [data] = [file for file in shown["files"] if file["split"]]
    fetched = client.get(f"{root}{version.public_id}/files/{data['path']}", headers={**headers, "Range": "bytes=0-9"})
    assert (fetched.status_code, len(body(fetched))) == (206, 10)
    assert post(f"{version.public_id}/verify/", {}).json() == {"problems": []}
    refused = post("", {**wanted, "spec": {"ties": "coin"}})
    assert (refused.status_code, list(refused.json()["errors"])) == (422, ["ties"])
    assert [one["number"] for one in client.get(root, headers=headers).json()["results"]] == [1]
    foreign = Client().get(
        root, headers={"Authorization": f"Bearer {people.make_token(cast.outsider, 't', ['read'])[1]}"}
    )
    assert foreign.status_code == 404


def test_the_command_freezes(cast: Cast, capsys: Any) -> None:
    from django.core.management import call_command

    call_command("freeze", str(cast.task.public_id), "--format", "jsonl", "--splits", "1", "0", "0")
    version = DatasetVersion.objects.get()
    assert version.sha256 in capsys.readouterr().out


def test_the_list_asks_the_database_a_few_times(cast: Cast, django_assert_max_num_queries: Any) -> None:
    for _ in range(3):
        frozen(cast)
    client = logged_in(cast.viewer)
    address = reverse("datasets", args=[cast.project.public_id])
    client.get(address)
    with django_assert_max_num_queries(8):
        client.get(address)
