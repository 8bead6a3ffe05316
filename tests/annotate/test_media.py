"""Media files: what comes in, what is refused, who may see it, and how it is served."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.test.utils import CaptureQueriesContext

import feedback.tasks  # noqa: F401 - registers the jobs
from annotate.forms.media import MAX_AT_ONCE
from feedback.exceptions import Conflict, InvalidInput
from feedback.media_types import media_type
from feedback.models import AuditEvent, Instance, MediaFile
from feedback.services import importing, media, queue, tasks, uploads
from tests.conftest import QUESTIONS, Cast, make_cast, make_instances


def png(size: int = 1) -> bytes:
    """A grey image of ``size`` × ``size``."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + chunk(b"IDAT", zlib.compress((b"\0" + b"\x80" * size) * size))
        + chunk(b"IEND", b"")
    )


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.fixture(autouse=True)
def _files(settings: Any, tmp_path: Path) -> None:
    settings.FILES_DIR = tmp_path / "files"


def store(cast: Cast, name: str = "cat.png", data: bytes | None = None) -> MediaFile:
    return media.store_media(cast.task, [png() if data is None else data], name, actor=cast.manager)


def address(cast: Cast, file: MediaFile | None = None, *, api: bool = False) -> str:
    page = f"p/{cast.project.public_id}/tasks/{cast.task.public_id}/media/"
    path = page.replace("p/", "api/v1/projects/", 1) if api else page
    return f"/{path}" + (f"{file.public_id}/" + ("file/" if api else "") if file else "")


@pytest.mark.parametrize(
    ("head", "kind", "content_type"),
    [
        (png(), "image", "image/png"),
        (b"\xff\xd8\xff\xe0\0\0JFIF", "image", "image/jpeg"),
        (b"GIF89a\x01\0", "image", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image", "image/webp"),
        (b"\0\0\0\x1cftypavif\0\0", "image", "image/avif"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio", "audio/wav"),
        (b"ID3\x04\0", "audio", "audio/mpeg"),
        (b"\xff\xfb\x90\x44", "audio", "audio/mpeg"),
        (b"fLaC\0", "audio", "audio/flac"),
        (b"OggS" + b"\0" * 24 + b"OpusHead", "audio", "audio/ogg"),
        (b"\0\0\0\x20ftypM4A \0\0", "audio", "audio/mp4"),
        (b"\0\0\0\x20ftypisom\0\0", "video", "video/mp4"),
        (b"\x1aE\xdf\xa3\x01\0\0\0\0\0\0\x1fB\x82\x84webm", "video", "video/webm"),
    ],
)
def test_a_type_is_told_by_the_first_bytes(head: bytes, kind: str, content_type: str) -> None:
    assert media_type(head) == (kind, content_type)


HOSTILE = {
    "picture.svg": SVG,
    "svg.png": SVG,
    "page.png": b"<!doctype html><script>alert(1)</script>",
    "document.png": b"%PDF-1.7",
    "archive.png": b"PK\x03\x04",
    "program.png": b"MZ\x90\0",
    "text.png": b"\xff\xfe<\0s\0",
    "theora.ogg": b"OggS" + b"\0" * 24 + b"\x80theora",
    "matroska.webm": b"\x1aE\xdf\xa3\x01\0\0\0\0\0\0\x1fB\x82\x88matroska",
    "quicktime.mp4": b"\0\0\0\x20ftypqt  \0\0",
    "short.png": b"\x89PN",
    "empty.png": b"",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_anything_else_is_refused_whatever_its_name(cast: Cast, name: str) -> None:
    with pytest.raises(InvalidInput):
        store(cast, name, HOSTILE[name])
    assert not MediaFile.objects.exists()
    assert not [path for path in media.folder().rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["", "a" * 201, "a\x00.png", "a\x1b.png", "\ud800.png", "../"])
def test_a_bad_name_is_refused(cast: Cast, name: str) -> None:
    with pytest.raises(InvalidInput):
        store(cast, name)


def test_a_file_that_is_too_large_leaves_nothing(cast: Cast, settings: Any) -> None:
    settings.MAX_MEDIA_MB = 1
    with pytest.raises(InvalidInput):
        media.store_media(cast.task, [png(), b"\0" * 2**20], "big.png", actor=cast.manager)
    assert not [path for path in media.folder().rglob("*") if path.is_file()]


def test_the_same_bytes_lie_once_and_a_name_never_changes_its_bytes(cast: Cast) -> None:
    first, other = store(cast), store(cast, "again.png")
    assert media.path_of(first) == media.path_of(other)
    assert media.path_of(first).read_bytes() == png()
    assert store(cast) == first
    with pytest.raises(Conflict):
        store(cast, data=png(2))
    assert MediaFile.objects.count() == 2
    assert AuditEvent.objects.filter(action="media.add").count() == 2


def test_a_path_in_a_name_is_cut_off(cast: Cast) -> None:
    assert store(cast, "../../etc/cat.png").name == "cat.png"
    assert store(cast, "C:\\pictures\\dog.png").name == "dog.png"


def test_files_are_added_from_the_page_all_that_fit(cast: Cast, browser: Any) -> None:
    files = [
        SimpleUploadedFile("cat.png", png()),
        SimpleUploadedFile("<b>.png", SVG),
        SimpleUploadedFile("d.png", png(2)),
    ]
    answer = browser(cast.manager).post(address(cast), {"sent": files})
    assert answer.status_code == 422
    assert "&lt;b&gt;.png: The file is none of PNG" in answer.content.decode()
    assert set(MediaFile.objects.values_list("name", flat=True)) == {"cat.png", "d.png"}
    assert browser(cast.manager).post(address(cast), {"sent": files[0]}).status_code == 422  # it was read to its end
    again = browser(cast.manager).post(address(cast), {"sent": SimpleUploadedFile("e.png", png(3))})
    assert again.status_code == 302
    assert "e.png" in browser(cast.manager).get(address(cast)).content.decode()


@pytest.mark.parametrize(("count", "status"), [(MAX_AT_ONCE, 302), (MAX_AT_ONCE + 1, 400)])
def test_as_many_files_at_once_as_the_page_says(cast: Cast, browser: Any, count: int, status: int) -> None:
    files = [SimpleUploadedFile(f"{n}.png", png(n % 9 + 1)) for n in range(count)]
    assert browser(cast.manager).post(address(cast), {"sent": files}).status_code == status
    assert MediaFile.objects.count() == (count if status == 302 else 0)


def test_a_file_is_served_to_members_as_what_it_is_and_can_do_nothing(cast: Cast, browser: Any) -> None:
    file = store(cast)
    for member in (cast.owner, cast.reviewer, cast.annotator, cast.viewer):
        response = browser(member).get(address(cast, file))
        assert (response.status_code, response.headers["Content-Type"]) == (200, "image/png")
        assert b"".join(response.streaming_content) == png()
    policy = response.headers["Content-Security-Policy"]
    assert "sandbox" in policy
    assert "script-src" not in policy
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert browser(cast.outsider).get(address(cast, file)).status_code == 404
    assert browser().get(address(cast, file)).status_code == 302


def test_only_managers_add_files(cast: Cast, browser: Any, api: Any) -> None:
    for member, status in ((cast.annotator, 403), (cast.reviewer, 403), (cast.outsider, 404)):
        sent = {"sent": SimpleUploadedFile("cat.png", png())}
        assert browser(member).post(address(cast), sent).status_code == status
        assert api(member).post(address(cast, api=True), {"file": io.BytesIO(png())}).status_code == status
    assert not MediaFile.objects.exists()


def test_a_part_of_a_file_is_served(cast: Cast, browser: Any) -> None:
    file = store(cast, data=b"ID3" + b"\0" * 100)
    client = browser(cast.annotator)
    response = client.get(address(cast, file), headers={"Range": "bytes=0-2"})
    assert (response.status_code, b"".join(response.streaming_content)) == (206, b"ID3")
    assert response.headers["Content-Range"] == "bytes 0-2/103"
    assert "sandbox" in response.headers["Content-Security-Policy"]
    etag = f'"{file.sha256}"'
    assert client.get(address(cast, file), headers={"If-None-Match": etag}).status_code == 304
    assert client.get(address(cast, file), headers={"Range": "bytes=200-"}).status_code == 416


def test_a_file_of_another_task_is_not_found_below_this_one(cast: Cast, browser: Any, api: Any) -> None:
    file = store(cast)
    cast.task = tasks.create_task(cast.project, "Other", QUESTIONS, actor=cast.owner)
    assert browser(cast.owner).get(address(cast, file)).status_code == 404
    assert api(cast.owner).get(address(cast, file, api=True)).status_code == 404


def test_the_api_takes_lists_and_gives_files(cast: Cast, api: Any) -> None:
    client = api(cast.manager)
    made = client.post(address(cast, api=True), {"file": SimpleUploadedFile("cat.png", png())})
    assert (made.status_code, made.json()["content_type"]) == (201, "image/png")
    refused = client.post(address(cast, api=True), {"file": SimpleUploadedFile("cat.svg", SVG)})
    assert (refused.status_code, list(refused.json()["errors"])) == (422, ["file"])
    other = client.post(address(cast, api=True), {"file": SimpleUploadedFile("cat.png", png(2))})
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    file = MediaFile.objects.get()
    [row] = api(cast.manager, "read").get(address(cast, api=True) + "?name=cat.png").json()["results"]
    assert (row["id"], row["sha256"], row["size"]) == (str(file.public_id), file.sha256, len(png()))
    given = api(cast.annotator, "read").get(address(cast, file, api=True))
    assert b"".join(given.streaming_content) == png()
    assert given.headers["Content-Type"] == "image/png"


def imported(cast: Cast, *rows: dict[str, Any]) -> Any:
    stored = uploads.store_upload([json.dumps(row).encode() + b"\n" for row in rows], "rows.jsonl")
    batch = importing.new_batch(cast.task, stored, actor=cast.manager)
    importing.set_mapping(batch, {"prompt": "prompt", "completions": ["a", "b"]})
    return importing.dry_run(batch)


def row(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"prompt": [{"role": "user", "content": list(parts)}], "a": "One", "b": {"content": "Two"}}


def test_an_import_names_files_that_are_here_and_a_missing_one_is_a_row_error(cast: Cast) -> None:
    store(cast)
    text = {"type": "text", "text": "What is this?"}
    good = row({"type": "image", "file": "cat.png", "alt": "A cat"}, text)
    report = imported(
        cast, good, row({"type": "image", "file": "dog.png"}), row(text, {"type": "audio", "file": "cat.png"})
    )
    assert (report.instances, report.errors) == (1, 2)
    [missing, wrong] = report.first_errors
    assert (missing["line"], missing["field"]) == (2, "prompt.0.content")
    assert missing["reason"] == "'dog.png' is not a media file of this task"
    assert (wrong["line"], wrong["reason"]) == (3, "'cat.png' is image, not audio")


def test_the_work_page_shows_media_with_words(browser: Any, db: None) -> None:
    cast = make_cast(instances=1)
    file = store(cast)
    parts = [{"type": "image", "file": "cat.png", "alt": '"><b>A cat'}, {"type": "text", "text": "What is *this*?"}]
    lost = {"type": "audio", "file": "gone.mp3", "alt": ""}
    cast.task.instances.update(
        prompt=[{"role": "user", "content": parts}],
        completions=[{"content": [{"type": "text", "text": "It meows"}, lost]}, {"content": "A dog"}],
    )
    page = browser(cast.annotator).get(f"/label/{cast.task.public_id}/").content.decode()
    assert f'<img src="{address(cast, file)}" alt="&#34;&gt;&lt;b&gt;A cat"' in page
    assert "What is <em>this</em>?" in page
    assert "It meows" in page
    assert "Sound 1 is not here any more" in page
    assert "cat.png" not in page
    assert "gone.mp3" not in page


def shown_to_label(cast: Cast, name: str) -> Any:
    """One instance whose completions show a file of this name, lent to the annotator, and its pages and replies."""
    cast.task.instances.update(
        external_id="gpt-9-vs-llama",
        completions=[
            {"content": [{"type": "image", "file": name, "alt": ""}], "model": "gpt-9"},
            {"content": "A dog", "model": "llama"},
        ],
    )
    return cast.task.instances.get()


def test_nothing_that_an_annotator_gets_names_a_file_an_id_or_a_model(browser: Any, api: Any, db: None) -> None:
    cast = make_cast(instances=1)
    file = store(cast, "gpt-9-says.png")
    instance = shown_to_label(cast, file.name)
    client, rest = browser(cast.annotator), api(cast.annotator, "read", "annotate", "write")
    projects = f"/api/v1/projects/{cast.project.public_id}/"
    replies = [client.get(f"/label/{cast.task.public_id}/")]
    lent = rest.post(
        f"{projects}assignments/next/", {"task": str(cast.task.public_id)}, content_type="application/json"
    )
    replies += [lent, rest.get(f"{projects}assignments/"), rest.get(f"{projects}assignments/{lent.json()['id']}/")]
    [picture] = next(one["content"] for one in lent.json()["completions"] if one["index"] == 0)
    assert picture == {"type": "image", "media": str(file.public_id), "alt": ""}
    answers = {"overall": {"value": "tie"}}
    body = {"submission_id": str(uuid4()), "answers": answers, "active_ms": 0}
    made = rest.post(f"{projects}assignments/{lent.json()['id']}/submit/", body, content_type="application/json")
    assert made.status_code == 201
    annotation = f"{projects}annotations/{made.json()['annotation']}/"
    replies += [
        rest.put(annotation, {"answers": answers}, content_type="application/json"),
        client.get("/label/history/"),
    ]
    replies += [client.get(f"/p/{cast.project.public_id}/instances/{instance.public_id}/comments/")]
    replies += [rest.get(f"{projects}instances/{instance.public_id}/comments/")]
    for reply in replies:
        assert reply.status_code == 200 or reply is lent, reply
        assert not [word for word in ("gpt-9", "llama") if word in reply.content.decode()], reply.request["PATH_INFO"]
    assert "Picture 1" in replies[0].content.decode()
    for served in (client.get(address(cast, file)), rest.get(address(cast, file, api=True))):
        assert b"".join(served.streaming_content) == png()
        assert "gpt-9" not in str(served.headers)
        assert served.headers["Content-Disposition"] == f'attachment; filename="{file.public_id}.png"'
    for refused in (address(cast, api=True), address(cast, file, api=True).removesuffix("file/")):
        assert rest.get(refused).status_code == 403


def test_the_media_of_many_assignments_are_read_in_as_many_queries_as_of_one(api: Any, db: None) -> None:
    cast = make_cast(instances=4)
    other = tasks.create_task(cast.project, "other", QUESTIONS, actor=cast.owner)
    stored = [media.store_media(task, [png()], "cat.png", actor=cast.owner) for task in (cast.task, other)]
    make_instances(other, 1)
    tasks.open_task(other, actor=cast.owner)
    shown = [{"content": [{"type": "image", "file": "cat.png", "alt": ""}]}]
    Instance.objects.update(prompt=[{"role": "user", **shown[0]}], completions=shown * 2)
    client, url = api(cast.annotator), f"/api/v1/projects/{cast.project.public_id}/assignments/"
    asked: list[int] = []
    for task in (cast.task, cast.task, cast.task, other):
        lent = queue.next_assignment(task, cast.annotator)
        with CaptureQueriesContext(connection) as queries:
            found = client.get(url).json()["results"]
        asked.append(len(queries))
        queue.submit(lent, submission_id=uuid4(), answers={"overall": {"value": "tie"}}, active_ms=0)
    assert max(asked) == asked[0]
    assert len(found) == 4
    ids = {str(file.task.public_id): str(file.public_id) for file in stored}
    for one in found:
        for text in (*one["prompt"], *one["completions"]):
            assert text["content"] == [{"type": "image", "media": ids[one["task"]], "alt": ""}]


def test_a_file_whose_bytes_are_lost_is_not_found(cast: Cast, browser: Any, api: Any) -> None:
    file = store(cast)
    media.path_of(file).unlink()
    assert browser(cast.manager).get(address(cast, file)).status_code == 404
    served = api(cast.manager, "read").get(address(cast, file, api=True))
    assert (served.status_code, served.json()["code"]) == (404, "not-found")


def test_a_file_that_nothing_needs_is_replaced_and_deleted_from_the_page(cast: Cast, browser: Any) -> None:
    file = store(cast)
    before = media.path_of(file)
    client, other = browser(cast.manager), {"sent": SimpleUploadedFile("whatever.bin", png(2))}
    assert client.post(f"{address(cast, file)}replace/", other).status_code == 302
    file.refresh_from_db()
    assert (media.path_of(file).read_bytes(), file.name) == (png(2), "cat.png")
    assert not before.exists()
    assert client.post(f"{address(cast, file)}replace/", {"sent": SimpleUploadedFile("x.png", SVG)}).status_code == 422
    assert client.post(f"{address(cast, file)}replace/").status_code == 422
    assert media.path_of(file).read_bytes() == png(2)
    assert browser(cast.annotator).post(f"{address(cast, file)}delete/").status_code == 403
    assert client.post(f"{address(cast, file)}delete/").status_code == 302
    assert not MediaFile.objects.exists()
    assert not media.path_of(file).exists()
    assert set(AuditEvent.objects.filter(action__startswith="media.").values_list("action", flat=True)) == {
        "media.add",
        "media.replace",
        "media.delete",
    }


def put(client: Any, path: str, data: bytes) -> Any:
    body = encode_multipart(BOUNDARY, {"file": SimpleUploadedFile("x.png", data)})
    return client.put(path, body, content_type=MULTIPART_CONTENT)


def test_the_api_replaces_and_deletes_what_nothing_needs_and_refuses_the_rest(cast: Cast, api: Any) -> None:
    client, file = api(cast.manager), store(cast)
    detail = address(cast, file, api=True).removesuffix("file/")
    changed = put(client, detail, png(3))
    assert (changed.status_code, changed.json()["size"], changed.json()["name"]) == (200, len(png(3)), "cat.png")
    cast.task.instances.filter(pk=cast.task.instances.first().pk).update(
        prompt=[{"role": "user", "content": [{"type": "image", "file": "cat.png", "alt": ""}]}]
    )
    for refused in (client.delete(detail), put(client, detail, png())):
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
        assert "shown by the instance i0" in refused.json()["detail"]
    assert api(cast.annotator, "write").delete(detail).status_code == 403
    cast.task.instances.update(prompt=[{"role": "user", "content": "cat.png"}])
    assert client.delete(detail).status_code == 204
    assert not MediaFile.objects.exists()
