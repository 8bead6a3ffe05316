"""A version of instances with media says which media each row shows, and holds the files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

import feedback.tasks  # noqa: F401 - registers the jobs
from feedback.exceptions import Conflict
from feedback.models import Annotator, DatasetVersion
from feedback.services import datasets, discarding, jobs, media
from feedback.services.recorded import Said
from feedback.services.recording import Recorded, record
from tests.annotate.test_media import png
from tests.conftest import Cast, make_cast
from tests.feedback.frozen import rows_of

pytestmark = pytest.mark.django_db(transaction=True)
WAV = b"RIFF\0\0\0\0WAVEfmt " + b"\0" * 50


@pytest.fixture
def cast(transactional_db: None, settings: Any, tmp_path: Path) -> Cast:
    settings.FILES_DIR = tmp_path / "files"
    cast = make_cast(instances=2)
    for name, data in (("cat.png", png()), ("gpt.wav", WAV), ("unused.png", png(2))):
        media.store_media(cast.task, [data], name, actor=cast.owner)
    picture = {"type": "image", "file": "cat.png", "alt": "A cat"}
    sounds = [{"type": "audio", "file": "gpt.wav", "alt": ""}, {"type": "audio", "file": "lost.wav", "alt": ""}]
    first = cast.task.instances.first()
    first.prompt = [{"role": "user", "content": [{"type": "text", "text": "Look"}, picture]}]
    first.completions = [
        {"content": [*sounds, {"type": "text", "text": "It purrs"}], "model": "gpt"},
        {"content": "No", "model": "llama"},
    ]
    first.save(update_fields=["prompt", "completions"])
    who = Annotator.objects.create(project=cast.project, kind="human", name="ann")
    for instance, value in zip(cast.task.instances.order_by("pk"), ("b-is-clearly-better",) * 2, strict=True):
        said = Said("ann", "human", {"overall": {"value": value}})
        record(cast.task, [Recorded(instance, who, said)])
    return cast


def frozen(cast: Cast, **spec: Any) -> DatasetVersion:
    wanted = {"shapes": ["preference", "raw"], "formats": ["jsonl", "parquet"], "splits": [1, 0, 0]} | spec
    version = datasets.create_version(cast.task, wanted, actor=cast.manager)
    job = datasets.job_of(version)
    assert job is not None
    jobs.run(job.pk)
    version.refresh_from_db()
    assert version.state == "ready", version.error
    return version


def shown(of: str, index: int, kind: str, name: str, alt: str, data: bytes | None, ending: str) -> dict[str, Any]:
    sha256 = hashlib.sha256(data).hexdigest() if data else None
    path = f"media/{sha256}.{ending}" if data else None
    return {"of": of, "index": index, "kind": kind, "name": name, "alt": alt, "sha256": sha256, "path": path}


def test_each_row_says_what_it_shows_and_the_files_lie_beside(cast: Cast) -> None:
    version = frozen(cast)
    picture = shown("prompt", 0, "image", "cat.png", "A cat", png(), "png")
    sounds = [("gpt.wav", WAV), ("lost.wav", None)]
    [with_media, without] = sorted(rows_of(version, "preference"), key=lambda row: len(row["media"]), reverse=True)
    assert with_media["media"] == [
        picture,
        *(shown("rejected", 0, "audio", name, "", data, "wav") for name, data in sounds),
    ]
    assert (with_media["prompt"], with_media["rejected"], without["media"]) == ("Look", "It purrs", [])
    raw = next(row for row in rows_of(version, "raw") if row["media"])
    assert raw["media"] == [picture, *(shown("completion", 0, "audio", name, "", data, "wav") for name, data in sounds)]
    listed = {file.path: file for file in datasets.files_of(version) if file.shape == "media"}
    assert set(listed) == {one["path"] for one in with_media["media"] if one["path"]}  # and nothing that no row shows
    for path, file in listed.items():
        data = (datasets.folder_of(version) / path).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file.bytes, file.sha256)
    assert datasets.verify_version(version) == []


def test_verifying_finds_a_media_file_that_is_lost_or_changed(cast: Cast) -> None:
    version = frozen(cast)
    one, two = sorted((datasets.folder_of(version) / "media").iterdir())
    one.unlink()
    two.write_bytes(b"other")
    assert datasets.verify_version(version) == [
        f"media/{one.name} is missing",
        f"media/{two.name} differs from what the database recorded",
    ]


def test_a_task_without_media_has_no_such_column(transactional_db: None, settings: Any, tmp_path: Path) -> None:
    settings.FILES_DIR = tmp_path / "files"
    cast = make_cast(instances=1)
    who = Annotator.objects.create(project=cast.project, kind="human", name="ann")
    record(cast.task, [Recorded(cast.task.instances.get(), who, Said("ann", "human", {"overall": {"value": "tie"}}))])
    version = frozen(cast, shapes=["raw"])
    assert "media" not in rows_of(version, "raw")[0]
    assert not (datasets.folder_of(version) / "media").exists()


def test_bytes_that_are_not_what_was_uploaded_fail_the_freezing_with_a_sentence(cast: Cast) -> None:
    media.path_of(cast.task.media.get(name="gpt.wav")).write_bytes(b"RIFF")
    version = datasets.create_version(cast.task, {"shapes": ["raw"]}, actor=cast.manager)
    job = datasets.job_of(version)
    assert job is not None
    jobs.run(job.pk)
    version.refresh_from_db()
    assert (version.state, "changed on the disk; upload the file again" in version.error) == ("failed", True)
    assert not datasets.folder_of(version).exists()


def test_a_version_keeps_its_files_when_the_instances_change(cast: Cast) -> None:
    frozen(cast)
    cast.task.instances.update(prompt=[], completions=[])
    with pytest.raises(Conflict, match="part of the frozen version 1"):
        discarding.delete_media(cast.task.media.get(name="gpt.wav"), actor=cast.manager)
    discarding.delete_media(cast.task.media.get(name="unused.png"), actor=cast.manager)


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["parquet", "jsonl"])
def test_the_datasets_library_loads_the_rows_and_their_paths_lead_to_the_files(cast: Cast, file_format: str) -> None:
    load_dataset = pytest.importorskip("datasets").load_dataset
    version = frozen(cast, shapes=["preference"], formats=[file_format])
    folder = datasets.folder_of(version)
    loaded = load_dataset(str(folder / "preference" / file_format), cache_dir=str(folder.parent / "cache"))
    paths = [one["path"] for row in loaded["train"] for one in row["media"] if one["path"]]
    assert len(paths) == 2
    assert all((folder / path).is_file() for path in paths)
