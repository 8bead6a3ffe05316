"""Media files that come at the same moment, and that go only while nothing needs them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

import feedback.tasks  # noqa: F401 - registers the jobs
from feedback.exceptions import Conflict, NotFound
from feedback.models import AuditEvent, DatasetState, DatasetVersion, MediaFile
from feedback.services import datasets, discarding, importing, jobs, media, tasks, uploads
from tests.annotate.test_media import png
from tests.conftest import QUESTIONS, Cast, make_cast

pytestmark = pytest.mark.django_db(transaction=True)
HANDS = 8


@pytest.fixture(autouse=True)
def _files(settings: Any, tmp_path: Path) -> None:
    settings.FILES_DIR = tmp_path / "files"


def at_once(act: Callable[[int], Any]) -> list[Any]:
    """What ``act(0)`` … return when they begin together; a Conflict in its place."""
    barrier = Barrier(HANDS)

    def hand(number: int) -> Any:
        try:
            barrier.wait(30)
            return act(number)
        except Conflict as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(HANDS) as pool:
        return list(pool.map(hand, range(HANDS)))


def store(cast: Cast, name: str = "cat.png", size: int = 1, task: Any = None) -> MediaFile:
    return media.store_media(task or cast.task, [png(size)], name, actor=cast.manager)


def show(cast: Cast, name: str, place: str = "prompt") -> None:
    part = [{"type": "image", "file": name, "alt": ""}]
    shown = {"prompt": [{"role": "user", "content": part}]}
    if place == "completions":
        shown = {"completions": [{"content": "A", "model": ""}, {"content": part, "model": ""}]}
    instance = cast.task.instances.last()
    for field, value in shown.items():
        setattr(instance, field, value)
    instance.save(update_fields=list(shown))


def import_naming(cast: Cast, name: str) -> Any:
    row = {"prompt": [{"role": "user", "content": [{"type": "image", "file": name}]}], "a": "One", "b": "Two"}
    batch = importing.new_batch(
        cast.task, uploads.store_upload([json.dumps(row).encode()], "rows.jsonl"), actor=cast.manager
    )
    importing.set_mapping(batch, {"prompt": "prompt", "completions": ["a", "b"]})
    importing.dry_run(batch)
    return batch


@pytest.mark.database
def test_the_same_file_sent_many_times_at_once_is_one_row_and_nobody_is_refused() -> None:
    cast = make_cast(instances=0)
    stored = at_once(lambda _: store(cast).pk)
    assert stored == [MediaFile.objects.get().pk] * HANDS
    assert media.path_of(MediaFile.objects.get()).read_bytes() == png()
    assert AuditEvent.objects.filter(action="media.add").count() == 1


@pytest.mark.database
def test_of_other_bytes_under_one_name_at_once_one_counts_and_the_rest_leave_nothing() -> None:
    cast = make_cast(instances=0)
    stored = at_once(lambda number: store(cast, size=number + 1))
    assert sum(isinstance(one, Conflict) for one in stored) == HANDS - 1
    kept = [path for path in media.folder().rglob("*") if path.is_file()]
    assert kept == [media.path_of(MediaFile.objects.get())]


@pytest.mark.database
def test_bytes_that_another_task_has_stay_while_files_come_and_go() -> None:
    cast = make_cast(instances=0)
    other = tasks.create_task(cast.project, "Other", QUESTIONS, actor=cast.owner)
    store(cast, task=other)

    def come_and_go(number: int) -> None:
        discarding.delete_media(store(cast, f"{number}.png"), actor=cast.manager)

    at_once(come_and_go)
    [left] = MediaFile.objects.all()
    assert (left.task, media.path_of(left).read_bytes()) == (other, png())
    discarding.delete_media(left, actor=cast.manager)
    assert not media.path_of(left).exists()


@pytest.mark.database
@pytest.mark.parametrize("name", ["cat.png", "käthe 日本.png", "%_.png", 'a"b.png'])
@pytest.mark.parametrize("place", ["prompt", "completions"])
def test_what_an_instance_shows_stays(name: str, place: str) -> None:
    cast = make_cast(instances=3)
    file, beside = store(cast, name), store(cast, f"x{name}", 2)
    show(cast, name, place)
    for change in (
        lambda: discarding.delete_media(file, actor=cast.manager),
        lambda: discarding.replace_media(file, [png(3)], actor=cast.manager),
    ):
        with pytest.raises(Conflict, match="shown by the instance i2"):
            change()
    assert media.path_of(file).read_bytes() == png()
    discarding.delete_media(beside, actor=cast.manager)
    assert MediaFile.objects.get() == file


@pytest.mark.database
def test_an_imported_instance_holds_its_file() -> None:
    cast = make_cast(instances=0)
    file = store(cast, "käthe.png")
    jobs.run(importing.start_import(import_naming(cast, "käthe.png"), actor=cast.manager).pk)
    assert cast.task.instances.count() == 1
    with pytest.raises(Conflict, match="shown by the instance"):
        discarding.delete_media(file, actor=cast.manager)


def test_a_file_that_goes_before_an_import_stores_its_rows_fails_the_import(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cast = make_cast(instances=0)
    file = store(cast)
    batch = import_naming(cast, "cat.png")
    read = importing._stage

    def read_then_lose(*given: Any) -> Any:
        report = read(*given)
        discarding.delete_media(file, actor=cast.manager)
        return report

    monkeypatch.setattr(importing, "_stage", read_then_lose)
    job = importing.start_import(batch, actor=cast.manager)
    jobs.run(job.pk)
    job.refresh_from_db()
    assert job.state == "failed"
    assert "'cat.png' is not a media file of this task" in job.error
    assert not cast.task.instances.exists()


def test_what_is_being_frozen_and_what_a_version_holds_stays() -> None:
    cast = make_cast(instances=1)
    file = store(cast)
    version = DatasetVersion.objects.create(task=cast.task, number=1, spec={}, created_by=cast.owner)
    with pytest.raises(Conflict, match="Version 1 of this task is being frozen"):
        discarding.delete_media(file, actor=cast.manager)
    place = datasets.folder_of(version) / "media" / f"{file.sha256}.png"
    place.parent.mkdir(parents=True)
    place.write_bytes(png())
    DatasetVersion.objects.filter(pk=version.pk).update(state=DatasetState.FAILED)
    discarding.delete_media(file, actor=cast.manager)  # a version that failed holds nothing


@pytest.mark.database
def test_a_file_that_is_gone_by_now_is_not_found_and_told_of_once() -> None:
    cast = make_cast(instances=0)
    file = store(cast)
    stale = [MediaFile.objects.get(pk=file.pk) for _ in range(2)]
    discarding.delete_media(file, actor=cast.manager)
    with pytest.raises(NotFound, match=r"cat\.png was deleted in the meantime"):
        discarding.delete_media(stale[0], actor=cast.manager)
    with pytest.raises(NotFound):
        discarding.replace_media(stale[1], [png(2)], actor=cast.manager)
    assert AuditEvent.objects.filter(action__in=["media.delete", "media.replace"]).count() == 1
    assert not [path for path in media.folder().rglob("*") if path.is_file()]


@pytest.mark.database
def test_a_file_is_judged_by_its_present_bytes() -> None:
    cast = make_cast(instances=0)
    stale = [store(cast), MediaFile.objects.get()]
    now = discarding.replace_media(MediaFile.objects.get(), [png(2)], actor=cast.manager)
    version = DatasetVersion.objects.create(
        task=cast.task,
        number=1,
        spec={},
        created_by=cast.owner,
        state=DatasetState.READY,
        sha256="0" * 64,
        frozen_at=timezone.now(),
    )
    place = datasets.folder_of(version) / "media" / f"{now.sha256}.png"
    place.parent.mkdir(parents=True)
    place.write_bytes(png(2))
    with pytest.raises(Conflict, match="part of the frozen version 1"):
        discarding.delete_media(stale[0], actor=cast.manager)
    place.unlink()
    discarding.delete_media(stale[1], actor=cast.manager)
    assert not media.path_of(now).exists()


def somebody_waits_for_us() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))")
        return bool(cursor.fetchone()[0])


@pytest.mark.database
def test_uploads_go_on_while_a_deletion_waits_for_an_import() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    cast = make_cast(instances=0)
    file = store(cast)

    def apart(act: Callable[[], Any]) -> Any:
        try:
            return act()
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        with transaction.atomic():
            importing._unchanged(cast.task)
            going = pool.submit(apart, lambda: discarding.delete_media(file, actor=cast.manager))
            limit = time.monotonic() + 20
            while not somebody_waits_for_us():
                assert time.monotonic() < limit, "the deletion does not wait"
                time.sleep(0.05)
            assert pool.submit(apart, lambda: store(cast, "dog.png", 2)).result(20).name == "dog.png"
            assert not going.done()
        going.result(20)
    assert [left.name for left in MediaFile.objects.all()] == ["dog.png"]
