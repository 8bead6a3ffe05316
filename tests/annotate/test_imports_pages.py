"""Import by hand and by REST: from a file to instances, and what is refused on the way."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

import feedback.tasks  # noqa: F401 - registers the jobs
from feedback.models import ImportBatch, Instance, Job, Task
from feedback.services import jobs, people
from tests.conftest import Cast, make_cast

pytestmark = pytest.mark.django_db
ROWS = [
    {"id": f"r{n}", "prompt": f"Question {n}?", "response_a": f"one {n}", "response_b": f"two {n}"} for n in range(3)
]


@pytest.fixture(autouse=True)
def _files(settings: Any, tmp_path: Path) -> None:
    settings.FILES_DIR = tmp_path / "files"


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast(instances=0)


def file(rows: list[Any] | None = None, name: str = "rows.jsonl") -> SimpleUploadedFile:
    text = "".join(json.dumps(row) + "\n" for row in (ROWS if rows is None else rows))
    return SimpleUploadedFile(name, text.encode())


def logged_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def begin(cast: Cast, client: Client, upload: Any, **fields: Any) -> Any:
    data = {"file": upload, "task": str(cast.task.public_id), **fields}
    return client.post(reverse("import-new", args=[cast.project.public_id]), data)


def page_of(cast: Cast, batch: ImportBatch, name: str = "import") -> str:
    return reverse(name, args=[cast.project.public_id, batch.public_id])


def run_last_job() -> Job:
    job = Job.objects.order_by("-pk")[0]
    jobs.run(job.pk)
    job.refresh_from_db()
    return job


def test_a_file_is_looked_through_mapped_and_imported(cast: Cast) -> None:
    client = logged_in(cast.manager)
    answer = begin(cast, client, file())
    batch = ImportBatch.objects.get()
    assert answer.headers["Location"] == page_of(cast, batch)
    page = client.get(answer.headers["Location"]).content.decode()
    assert "3 instances go to the task" in page
    assert "Question 0?" in page
    mapping = {"prompt": "prompt", "completions": ["response_b", "response_a"], "external_id": "id"}
    assert client.post(page_of(cast, batch), mapping).status_code == 302
    assert client.post(page_of(cast, batch, "import-run")).status_code == 302
    assert run_last_job().state == "succeeded"
    assert [one["content"] for one in cast.task.instances.order_by("pk")[0].completions] == ["two 0", "one 0"]
    done = client.get(page_of(cast, batch)).content.decode()
    assert "Open the instances" in done
    assert "Which column is what" not in done


def test_a_new_task_is_made_for_a_file(cast: Cast) -> None:
    begin(cast, logged_in(cast.manager), file(), task="", task_name="From a file")
    task = Task.objects.get(name="From a file")
    assert task.preference_question is not None
    assert ImportBatch.objects.get().task == task


MQM = (
    "system\tdoc\tdoc_id\tseg_id\trater\tsource\ttarget\tcategory\tseverity\tcomment\n"
    "s\td\t1\t1\tr\tGood day\tGuten <v>Abend</v>\tAccuracy/Mistranslation\tMajor\t\n"
    "s\td\t1\t2\tr\tBye\tTschüss <v>dann\tAccuracy/Addition\tMinor\t\n"
)


def marked(task: Task) -> str:
    """What the one imported span marks."""
    instance = task.instances.get()
    (span,) = instance.annotations.get().answers["errors"]["spans"]
    return str(instance.completions[0]["content"][span["start"] : span["end"]])


def test_a_public_set_brings_its_task_and_its_annotations_by_page(cast: Cast) -> None:
    client = logged_in(cast.manager)
    assert "New task from a set" in client.get(reverse("tasks", args=[cast.project.public_id])).content.decode()
    upload = SimpleUploadedFile("mqm_ende.tsv.gz", gzip.compress(MQM.encode()))
    page = client.get(begin(cast, client, upload, task="").headers["Location"]).content.decode()
    assert "must mark one part" in page
    batch = ImportBatch.objects.get()
    assert batch.task.name == "MQM error spans of translations (WMT)"
    assert client.post(page_of(cast, batch, "import-run"), {"skip_bad_rows": "on"}).status_code == 302
    assert run_last_job().state == "succeeded"
    assert marked(batch.task) == "Abend"


def test_a_public_set_comes_in_as_its_folder_by_rest_and_by_command(
    cast: Cast, settings: Any, tmp_path: Path, capsys: Any
) -> None:
    from django.core.management import call_command

    folder = tmp_path / "sets" / "mqm"
    folder.mkdir(parents=True)
    (folder / "mqm_ende.tsv").write_text(MQM)
    settings.IMPORT_ROOTS = [tmp_path / "sets"]
    api = Api(cast.manager, cast.project, ["read", "write"])
    made = api.post("imports/", {"server_path": "mqm", "task_name": "By REST"}).json()
    assert (made["format"], made["report"]["errors"], made["report"]["annotations"]["human"]) == ("wmt_mqm", 1, 1)
    assert api.post(f"imports/{made['id']}/run/", {"skip_bad_rows": True}).status_code == 202
    run_last_job()
    call_command(
        "import_instances", str(cast.project.public_id), str(folder), "--skip-bad-rows", "--name", "By command"
    )
    assert "line 3, target: must mark one part" in capsys.readouterr().out
    assert [marked(Task.objects.get(name=name)) for name in ("By REST", "By command")] == ["Abend", "Abend"]


def test_bad_rows_are_shown_and_refused_until_they_are_left_out(cast: Cast) -> None:
    client = logged_in(cast.manager)
    begin(cast, client, file([*ROWS, {**ROWS[0], "id": "bad", "response_b": "<b>\u0000"}]))
    batch = ImportBatch.objects.get()
    page = client.get(page_of(cast, batch)).content.decode()
    assert "control character U+0000" in page
    refused = client.post(page_of(cast, batch, "import-run"))
    assert refused.status_code == 422
    assert "Rows that cannot be imported: 1." in refused.content.decode()
    client.post(page_of(cast, batch, "import-run"), {"skip_bad_rows": "on"})
    assert run_last_job().result["instances"] == 3


@pytest.mark.parametrize(
    ("upload", "words"),
    [
        (lambda: SimpleUploadedFile("a.exe", b"x"), "Choose a .jsonl"),
        (lambda: SimpleUploadedFile("a.jsonl", b""), "empty"),
        (lambda: "", "Choose a file"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_on_the_form(cast: Cast, upload: Any, words: str) -> None:
    answer = begin(cast, logged_in(cast.manager), upload())
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not ImportBatch.objects.exists()


def test_a_damaged_parquet_file_is_a_row_error(cast: Cast) -> None:
    client = logged_in(cast.manager)
    begin(cast, client, SimpleUploadedFile("a.parquet", b"PAR1 not really PAR1"))
    page = client.get(page_of(cast, ImportBatch.objects.get()))
    assert page.status_code == 200


def test_an_incomplete_mapping_is_told_on_the_form(cast: Cast) -> None:
    client = logged_in(cast.manager)
    begin(cast, client, file())
    answer = client.post(page_of(cast, ImportBatch.objects.get()), {"prompt": "prompt"})
    assert answer.status_code == 422
    assert "map either completions or chosen and rejected" in answer.content.decode()


@pytest.mark.parametrize("who", ["outsider", "viewer", "annotator", "reviewer"])
def test_only_managers_import(cast: Cast, who: str) -> None:
    begin(cast, logged_in(cast.manager), file())
    batch = ImportBatch.objects.get()
    client = logged_in(getattr(cast, who))
    expected = 404 if who == "outsider" else 403
    assert begin(cast, client, file(name="other.jsonl")).status_code == expected
    for name in ("import", "import-run"):
        assert client.post(page_of(cast, batch, name)).status_code == expected
    assert not Job.objects.exists()


def test_an_import_of_another_project_is_not_found(cast: Cast) -> None:
    begin(cast, logged_in(cast.manager), file())
    batch = ImportBatch.objects.get()
    other = people.create_project("Other", owner=cast.outsider)
    client = logged_in(cast.outsider)
    for name in ("import", "import-run"):
        assert client.post(reverse(name, args=[other.public_id, batch.public_id])).status_code == 404
    data = {"file": file(), "task": str(cast.task.public_id)}
    assert client.post(reverse("import-new", args=[other.public_id]), data).status_code == 422


class Api:
    def __init__(self, user: Any, project: Any, scopes: list[str]) -> None:
        self.root = f"/api/v1/projects/{project.public_id}/"
        self.headers = {"Authorization": f"Bearer {people.make_token(user, 't', scopes)[1]}"}
        self.client = Client()

    def post(self, path: str, body: Any = None, *, files: bool = False, key: str = "") -> Any:
        headers = self.headers | ({"Idempotency-Key": key} if key else {})
        sent: dict[str, Any] = (
            {"data": body} if files else {"data": json.dumps(body or {}), "content_type": "application/json"}
        )
        return self.client.post(self.root + path, headers=headers, **sent)

    def patch(self, path: str, body: Any) -> Any:
        return self.client.patch(self.root + path, json.dumps(body), "application/json", headers=self.headers)

    def get(self, path: str) -> Any:
        return self.client.get(self.root + path, headers=self.headers)


def test_the_whole_way_by_rest(cast: Cast) -> None:
    api = Api(cast.manager, cast.project, ["read", "write"])
    made = api.post("imports/", {"file": file(), "task": str(cast.task.public_id)}, files=True)
    assert made.status_code == 201, made.content
    batch = made.json()
    assert (batch["format"], batch["report"]["instances"]) == ("completions", 3)
    columns = {"prompt": "prompt", "completions": ["response_a", "response_b"]}
    assert api.patch(f"imports/{batch['id']}/", {"columns": columns}).status_code == 200
    assert api.post(f"imports/{batch['id']}/check/").json()["report"]["complete"] is True
    started = api.post(f"imports/{batch['id']}/run/", key="k1")
    assert started.status_code == 202
    assert api.post(f"imports/{batch['id']}/run/", key="k1").json()["id"] == started.json()["id"]
    run_last_job()
    assert api.get(f"imports/{batch['id']}/").json()["state"] == "imported"
    found = api.get(f"instances/?task={cast.task.public_id}&q=Question+1").json()["results"]
    assert [one["completions"][0]["content"] for one in found] == ["one 1"]
    again = api.post("imports/", {"file": file(), "task": str(cast.task.public_id)}, files=True)
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


def test_what_a_mapping_does_not_say_stays(cast: Cast) -> None:
    api = Api(cast.manager, cast.project, ["read", "write"])
    batch = api.post("imports/", {"file": file(), "task": str(cast.task.public_id)}, files=True).json()
    said = {"columns": {"prompt": "prompt", "completions": ["response_a", "response_b"]}, "annotations": False}
    assert api.patch(f"imports/{batch['id']}/", said).json()["mapping"] == said
    assert api.patch(f"imports/{batch['id']}/", {}).json()["mapping"] == said
    assert api.patch(f"imports/{batch['id']}/", {"annotations": True}).json()["mapping"] == said | {"annotations": True}
    assert api.patch(f"imports/{batch['id']}/", {"columns": None}).json()["mapping"] == {"annotations": True}


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        (b'{"prompt": oops}', "line", "is not JSON"),
        (b'{"id": "2", "prompt": "Q", "a": "x"}', "b", "no such column"),
        (b'{"id": "1", "prompt": "P", "a": "x", "b": "y"}', "external_id", "was already on line 1"),
        (b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "line", "nests deeper"),
        (b'{"id": "2", "prompt": "Q", "a": "x\\u0000", "b": "y"}', "a", "control character U+0000"),
        (b'{"id": "2", "prompt": "Q", "a": "x\\ud800", "b": "y"}', "a", "lone surrogate U+D800"),
        (b'{"id": "2", "prompt": "Q", "a": "", "b": "y"}', "a", "is empty"),
        (b'{"id": "2", "prompt": [{"role": "wizard", "content": "Q"}], "a": "x", "b": "y"}', "prompt.0.role", "wizard"),
        (b'{"id": "2", "prompt": "Q", "a": NaN, "b": "y"}', "line", "which is not JSON"),
        (b'{"id": "2", "prompt": "\xff", "a": "x", "b": "y"}', "line", "is not UTF-8"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_stored(cast: Cast, row: bytes, field: str, reason: str) -> None:
    api = Api(cast.manager, cast.project, ["read", "write"])
    sent = SimpleUploadedFile("bad.jsonl", b'{"id": "1", "prompt": "Q", "a": "x", "b": "y"}\n' + row + b"\n")
    made = api.post("imports/", {"file": sent, "task": str(cast.task.public_id)}, files=True).json()
    columns = {"prompt": "prompt", "completions": ["a", "b"], "external_id": "id"}
    api.patch(f"imports/{made['id']}/", {"columns": columns})
    before = Instance.objects.count()
    report = api.post(f"imports/{made['id']}/check/").json()["report"]
    (error,) = report["first_errors"]
    assert (error["line"], error["field"]) == (2, field)
    assert reason in error["reason"]
    assert api.post(f"imports/{made['id']}/run/").status_code == 422
    assert Instance.objects.count() == before


@pytest.mark.parametrize(
    ("body", "files", "status"),
    [
        ({}, False, 422),
        ({"server_path": "../../etc/passwd", "task": "TASK"}, False, 422),
        ({"server_path": "x", "task": "not-a-uuid"}, False, 422),
        ({"server_path": "x", "task": str(uuid4())}, False, 404),
        ({"server_path": "x", "task": "TASK", "task_name": "y"}, False, 422),
        ({"file": "text", "task": "TASK"}, True, 422),
    ],
)
def test_a_bad_request_is_a_clear_4xx(cast: Cast, body: dict[str, str], files: bool, status: int) -> None:
    api = Api(cast.manager, cast.project, ["read", "write"])
    body = {key: str(cast.task.public_id) if value == "TASK" else value for key, value in body.items()}
    answer = api.post("imports/", body, files=files)
    assert answer.status_code == status, answer.content
    assert answer.json()["detail"]
    assert not ImportBatch.objects.exists()


def test_rest_needs_the_scope_and_the_role(cast: Cast) -> None:
    body = {"server_path": "x", "task": str(cast.task.public_id)}
    assert Api(cast.manager, cast.project, ["read"]).post("imports/", body).status_code == 403
    assert Api(cast.viewer, cast.project, ["read", "write"]).post("imports/", body).status_code == 403
    assert Api(cast.outsider, cast.project, ["read", "write"]).post("imports/", body).status_code == 404
    assert Api(cast.outsider, cast.project, ["read", "write"]).get("instances/").status_code == 404


def test_the_command_imports_and_lists_bad_rows(cast: Cast, tmp_path: Path, capsys: Any) -> None:
    from django.core.management import CommandError, call_command

    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_bytes(file().read())
    bad.write_bytes(file([{**ROWS[0], "id": "z", "response_a": ""}]).read())
    call_command("import_instances", str(cast.task.public_id), str(bad), "--dry-run")
    assert "line 1, response_a: is empty" in capsys.readouterr().out
    with pytest.raises(CommandError, match="cannot be imported"):
        call_command("import_instances", str(cast.task.public_id), str(bad))
    call_command("import_instances", str(cast.task.public_id), str(good))
    assert cast.task.instances.count() == 3
    with pytest.raises(CommandError, match="Already imported"):
        call_command("import_instances", str(cast.task.public_id), str(good))
    call_command("import_instances", str(cast.project.public_id), str(good), "--name", "New one")
    assert Task.objects.get(name="New one").instances.count() == 3
