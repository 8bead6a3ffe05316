"""Dataset versions: what they hold, that they never change, and that a failure leaves nothing torn."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

import feedback.tasks  # noqa: F401 - registers the jobs
from feedback.exceptions import InvalidInput, KeyReused, WrongState
from feedback.formats.splits import split_of
from feedback.models import Annotation, Annotator, DatasetVersion, Job, PreferenceMix
from feedback.services import datasets, jobs, tasks
from feedback.services.snapshot import snapshot
from tests.conftest import QUESTIONS, Cast, make_cast, make_instances

# the snapshot is a connection of its own: what a test has not committed it cannot see
pytestmark = pytest.mark.django_db(transaction=True)

A, B, SLIGHTLY_A, TIE = "a-is-clearly-better", "b-is-clearly-better", "a-is-slightly-better", "tie"
ONE = {"shapes": ["preference"], "formats": ["jsonl"], "splits": [1.0, 0.0, 0.0]}


@pytest.fixture(autouse=True)
def _files(settings: Any, tmp_path: Path) -> None:
    settings.FILES_DIR = tmp_path / "files"


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return make_cast(instances=4)


def say(cast: Cast, instance: Any, value: str, who: str = "ann", source: str = "human", **details: Any) -> Annotation:
    annotator = Annotator.objects.get_or_create(project=cast.project, kind=source, name=who, user=None)[0]
    answers: dict[str, Any] = {
        "overall": {"value": value, "aspects": {}, "confidence": None, "reasons": [], "other_reason": ""}
    }
    return Annotation.objects.create(
        task=cast.task, instance=instance, annotator=annotator, source=source, answers=answers, details=details
    )


def freeze(cast: Cast, **spec: Any) -> DatasetVersion:
    version = datasets.create_version(cast.task, {**ONE, **spec}, actor=cast.manager)
    job = datasets.job_of(version)
    assert job is not None
    jobs.run(job.pk)
    version.refresh_from_db()
    return version


def rows(version: DatasetVersion, shape: str = "preference") -> list[dict[str, Any]]:
    found = []
    for file in datasets.files_of(version):
        if file.shape == shape and file.split and file.path.endswith(".jsonl"):
            text = (datasets.folder_of(version) / file.path).read_text()
            found += [json.loads(line) for line in text.splitlines()]
    return found


def instances(cast: Cast) -> list[Any]:
    return list(cast.task.instances.order_by("pk"))


def test_the_majority_becomes_chosen_and_rejected(cast: Cast) -> None:
    first, second, *_ = instances(cast)
    say(cast, first, A, "x")
    say(cast, first, SLIGHTLY_A, "y")
    say(cast, first, B, "z")
    say(cast, second, B, "x")
    one, two = rows(freeze(cast))
    assert (one["prompt"], one["chosen"], one["rejected"]) == ("Question 0?", "First 0", "Second 0")
    assert (one["annotator_count"], one["source"]) == (3, "human")
    assert one["soft_label"] == pytest.approx(2 / 3)
    assert one["agreement"] == pytest.approx(2 / 3)
    assert one["margin"] == pytest.approx(1 / 3)  # −(−2 − 1 + 2) / 3
    assert (two["chosen"], two["rejected"], two["strength"]) == ("Second 1", "First 1", 2)
    assert all(name.startswith("human-") for name in one["annotators"])


def test_ties_are_left_out_or_kept_at_one_half(cast: Cast) -> None:
    first, second, *_ = instances(cast)
    say(cast, first, TIE)
    say(cast, second, A)
    dropped, kept = freeze(cast), freeze(cast, ties="keep-half")
    assert [row["chosen"] for row in rows(dropped)] == ["First 1"]
    assert dropped.card["ties_dropped"] == 1
    tie = rows(kept)[0]
    assert (tie["chosen"], tie["soft_label"], tie["strength"], tie["margin"]) == ("First 0", 0.5, 0, 0.0)


def test_sources_choose_whose_label_counts(cast: Cast) -> None:
    first, second, *_ = instances(cast)
    say(cast, first, A)
    say(cast, first, B, "gpt", "judge", p_a=0.1)
    say(cast, second, B, "gpt", "judge", p_a=0.2)

    def chosen(**spec: Any) -> list[tuple[str, str]]:
        return [(row["chosen"], row["source"]) for row in rows(freeze(cast, **spec))]

    assert chosen() == [("First 0", "human"), ("Second 1", "judge")]
    assert chosen(sources="human") == [("First 0", "human")]
    assert chosen(sources="judge") == [("Second 0", "judge"), ("Second 1", "judge")]
    mix = PreferenceMix.objects.create(task=cast.task, name="m", sources={str(first.public_id): "judge"})
    assert chosen(sources="mix", mix=str(mix.public_id)) == [("Second 0", "judge")]
    assert rows(freeze(cast, sources="judge"))[0]["soft_label"] == pytest.approx(0.9)


def test_dawid_skene_follows_the_annotator_who_is_reliable(cast: Cast) -> None:
    for n, instance in enumerate(instances(cast)):
        truth, wrong = (A, B) if n % 2 else (B, A)
        for who in ("good", "better"):
            say(cast, instance, truth, who)
        say(cast, instance, wrong, "inverted")
    version = freeze(cast, aggregation="dawid-skene")
    assert [row["chosen"][0] for row in rows(version)] == ["S", "F", "S", "F"]
    assert version.card["counts"]["pairs"]["all"] == 4


def test_withdrawn_annotations_and_removed_instances_stay_out(cast: Cast) -> None:
    first, second, third, _ = instances(cast)
    gone = say(cast, first, A)
    Annotation.objects.filter(pk=gone.pk).update(state="withdrawn", withdrawn_at=timezone.now())
    say(cast, second, A)
    say(cast, third, A)
    cast.task.instances.filter(pk=third.pk).update(removed_at=timezone.now())
    assert [row["chosen"] for row in rows(freeze(cast))] == ["First 1"]


def test_a_prompt_is_in_the_split_of_its_hash(cast: Cast) -> None:
    for instance in instances(cast):
        say(cast, instance, A)
    splits = (0.5, 0.25, 0.25)
    version = freeze(cast, splits=splits, seed=3)
    by_id = {str(one.public_id): one for one in instances(cast)}
    assert {row["id"]: row["split"] for row in rows(version)} == {
        pk: split_of(one.prompt_hash, splits, 3) for pk, one in by_id.items()
    }


def test_the_same_annotations_freeze_to_the_same_bytes(cast: Cast) -> None:
    for instance in instances(cast):
        say(cast, instance, A)
    spec = {"shapes": ["preference", "preference-conversational", "raw"], "formats": ["jsonl", "parquet"]}
    one, two = freeze(cast, **spec), freeze(cast, **spec)
    assert (one.number, two.number) == (1, 2)
    assert one.sha256 == two.sha256
    assert [f.sha256 for f in datasets.files_of(one) if f.split] == [
        f.sha256 for f in datasets.files_of(two) if f.split
    ]
    say(cast, instances(cast)[0], B, "other")
    assert freeze(cast, **spec).sha256 != one.sha256


def test_the_card_says_what_was_counted(cast: Cast) -> None:
    first, second, third, _ = instances(cast)
    for who, value in (("x", A), ("y", A), ("z", B)):
        say(cast, first, value, who)
    say(cast, second, "both-bad")
    say(cast, third, A, "gpt", "judge")
    card = freeze(cast).card
    assert card["annotators"] == {"people": 4, "judges": "gpt"}
    assert (card["human_share"], card["judge_share"]) == (0.5, 0.5)
    assert card["counts"]["dropped"] == {"both bad": 1}
    assert (card["counts"]["instances"], card["counts"]["without_annotations"]) == (4, 1)
    figures = {figure["measure"]: figure for figure in card["agreement"]}
    assert figures["Two people agree"]["value"] == pytest.approx(1 / 3)
    assert figures["Two people agree"]["pairs"] == 3
    assert (
        "A pair is left out"
        in (datasets.folder_of(DatasetVersion.objects.get()) / "preference/jsonl/README.md").read_text()
    )


def test_raw_holds_every_annotation_as_it_was_said(cast: Cast) -> None:
    first = instances(cast)[0]
    said = say(cast, first, SLIGHTLY_A, "x")
    Annotation.objects.filter(pk=said.pk).update(order=[1, 0], active_ms=2500)
    [row] = rows(freeze(cast, shapes=["raw"]), "raw")
    assert json.loads(row["answers"]) == said.answers
    assert (row["order"], row["active_seconds"], row["answer.overall.strength"]) == ("ba", 2.5, -1)
    assert row["annotator"] == said.annotator.pseudonym
    assert "x" not in row["annotator"].split("-")


def test_a_version_without_rows_fails_with_a_sentence_and_leaves_no_files(cast: Cast, settings: Any) -> None:
    version = freeze(cast)
    assert version.state == "failed"
    assert "no annotations yet" in version.error
    job = datasets.job_of(version)
    assert job is not None
    assert (job.state, job.error) == ("failed", version.error)
    assert not [path for path in Path(settings.FILES_DIR).rglob("*") if path.is_file()]
    with pytest.raises(WrongState):
        datasets.verify_version(version)


def test_an_error_while_writing_leaves_no_files(cast: Cast, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    say(cast, instances(cast)[0], A)

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full)
    version = freeze(cast)
    assert (version.state, version.error) == ("failed", "OSError: no space left")
    assert not [path for path in Path(settings.FILES_DIR).rglob("*") if path.is_file()]


def test_files_moved_by_a_transaction_that_fails_are_removed(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    say(cast, instances(cast)[0], A)

    def breaks(folder: Path) -> None:
        assert any(folder.rglob("manifest.json"))
        raise OSError("the disk went away")

    monkeypatch.setattr(datasets, "_flush_folder", breaks)
    assert freeze(cast).state == "failed"
    assert not [path for path in Path(settings.FILES_DIR).rglob("*") if path.is_file()]


def test_a_stale_worker_moves_no_file_into_place(cast: Cast) -> None:
    say(cast, instances(cast)[0], A)
    version = datasets.create_version(cast.task, ONE, actor=cast.manager)
    job = datasets.job_of(version)
    assert job is not None
    claimed = jobs.claim(job.pk, "slow")
    assert claimed is not None
    Job.objects.filter(pk=job.pk).update(fence=claimed.fence + 1)
    with pytest.raises(jobs.FenceLost):
        datasets.run_freeze(jobs.JobContext(claimed))
    version.refresh_from_db()
    assert version.state == "freezing"
    assert not datasets.folder_of(version).exists()


def test_cancelling_marks_the_version_failed(cast: Cast) -> None:
    say(cast, instances(cast)[0], A)
    version = datasets.create_version(cast.task, ONE, actor=cast.manager)
    job = datasets.job_of(version)
    assert job is not None
    claimed = jobs.claim(job.pk, "worker")
    assert claimed is not None
    jobs.cancel(job, actor=cast.manager)
    with pytest.raises(jobs.JobCancelled):
        datasets.run_freeze(jobs.JobContext(claimed))
    version.refresh_from_db()
    assert (version.state, version.error) == ("failed", "The job was cancelled.")


def test_cancelling_before_it_begins_marks_the_version_failed(cast: Cast) -> None:
    version = datasets.create_version(cast.task, ONE, actor=cast.manager)
    job = datasets.job_of(version)
    assert job is not None
    jobs.cancel(job, actor=cast.manager)
    version.refresh_from_db()
    assert (version.state, version.error) == ("failed", "The job was cancelled.")


def test_a_freeze_whose_worker_dies_too_often_has_failed(cast: Cast) -> None:
    version = datasets.create_version(cast.task, ONE, actor=cast.manager)
    job = datasets.job_of(version)
    assert job is not None
    jobs.claim(job.pk, "worker")
    late = timezone.now() - timedelta(minutes=5)
    Job.objects.filter(pk=job.pk).update(attempt=jobs.MAX_ATTEMPTS, lease_expires_at=late)
    jobs.reap()
    version.refresh_from_db()
    assert version.state == "failed"
    assert "died 3 times" in version.error


def test_verifying_finds_every_change(cast: Cast) -> None:
    say(cast, instances(cast)[0], A)
    version = freeze(cast, formats=["jsonl", "parquet"])
    assert datasets.verify_version(version) == []
    folder = datasets.folder_of(version) / "preference" / "jsonl"
    data = next((folder / "data").iterdir())
    data.write_text(data.read_text().replace("First", "Fizst"))
    (folder / "extra").write_text("x")
    problems = " ".join(datasets.verify_version(version))
    assert f"{data.name} has changed" in problems
    assert "extra is not in the manifest" in problems
    manifest = datasets.folder_of(version) / "preference" / "parquet" / "manifest.json"
    manifest.unlink()
    assert "preference/parquet/manifest.json is missing" in datasets.verify_version(version)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"shapes": ["nothing"]}, "shapes.0"),
        ({"shapes": []}, "shapes"),
        ({"splits": [0.5, 0.5, 0.5]}, "splits"),
        ({"ties": "coin"}, "ties"),
        ({"unknown": 1}, "unknown"),
        ({"question": "nope"}, "question"),
        ({"sources": "mix"}, "mix"),
        ({"sources": "mix", "mix": "x"}, "mix"),
        ({"sources": "mix", "mix": str(uuid4())}, "mix"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_spec_that_does_not_fit_is_refused(cast: Cast, spec: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        datasets.create_version(cast.task, {**ONE, **spec}, actor=cast.manager)
    assert field in refused.value.errors
    assert not DatasetVersion.objects.exists()


def test_one_idempotency_key_makes_one_version(cast: Cast) -> None:
    first = datasets.create_version(cast.task, ONE, actor=cast.manager, idempotency_key="k")
    assert datasets.create_version(cast.task, ONE, actor=cast.manager, idempotency_key="k") == first
    assert datasets.create_version(cast.task, ONE, actor=cast.manager).number == 2


@pytest.mark.database
def test_a_snapshot_does_not_move_and_blocks_no_writer(cast: Cast) -> None:
    first, second, *_ = instances(cast)
    say(cast, first, A)
    live = Annotation.objects.order_by("pk").values_list("pk", "answers")
    with snapshot() as source:
        before = list(source.rows(live))
        say(cast, second, A)  # would wait 30 s and fail if the snapshot held a lock
        Annotation.objects.filter(pk=before[0][0]).update(answers={})
        assert list(source.rows(live)) == before
    assert Annotation.objects.count() == 2


@pytest.mark.database
def test_freezing_while_people_write_gives_one_moment(cast: Cast) -> None:
    """A writer adds a pair of annotations in one transaction, over and over: a version holds both or neither."""
    from django.db import transaction

    pairs = make_instances(empty_task(cast), 40)
    stop = threading.Event()

    def write() -> None:
        try:
            for one, two in zip(pairs[::2], pairs[1::2], strict=True):
                with transaction.atomic():
                    say(cast, one, A)
                    say(cast, two, B)
                if stop.wait(0.02):
                    return
        finally:
            connection.close()

    writer = threading.Thread(target=write)
    say(cast, instances(cast)[0], A)
    writer.start()
    try:
        counts = [len(rows(freeze(cast))) for _ in range(4)]
    finally:
        stop.set()
        writer.join()
    assert all(count % 2 == 1 for count in counts), counts


def empty_task(cast: Cast) -> Any:
    from feedback.services import tasks

    questions = cast.task.questions
    cast.task = tasks.create_task(cast.project, "Second", questions, actor=cast.owner)
    make_instances(cast.task, 1)
    cast.task.instances.update(external_id="first")
    return cast.task


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["parquet", "jsonl"])
@pytest.mark.parametrize("shape", ["preference", "preference-conversational", "raw"])
def test_the_datasets_library_loads_the_files_unchanged(cast: Cast, shape: str, file_format: str) -> None:
    load_dataset = pytest.importorskip("datasets").load_dataset
    for instance in instances(cast):
        say(cast, instance, A)
    version = freeze(cast, shapes=[shape], formats=[file_format], splits=[0.5, 0.25, 0.25])
    folder = datasets.folder_of(version) / shape / file_format
    loaded = load_dataset(str(folder), cache_dir=str(folder.parent / "cache"))
    assert sum(len(split) for split in loaded.values()) == 4
    if shape == "preference-conversational":
        row = next(iter(loaded.values()))[0]
        assert row["chosen"][0]["role"] == "assistant"
        assert row["prompt"][0]["role"] == "user"


def test_a_key_gives_the_version_it_made_and_no_other(cast: Cast) -> None:
    def made(task: Any, **spec: Any) -> DatasetVersion:
        return datasets.create_version(task, ONE | spec, actor=cast.manager, idempotency_key="k")

    first = made(cast.task)
    assert made(cast.task) == first
    other = tasks.create_task(cast.project, "Another", QUESTIONS, actor=cast.owner)
    for task, spec in ((other, {}), (cast.task, {"seed": 7})):
        with pytest.raises(KeyReused):
            made(task, **spec)
    assert DatasetVersion.objects.count() == 1


def test_what_a_killed_attempt_wrote_is_removed_by_the_next(cast: Cast) -> None:
    say(cast, cast.task.instances.first(), A)
    version = datasets.create_version(cast.task, ONE, actor=cast.manager)
    left_over = datasets.folder_of(version).with_name(f".{version.public_id}.0")
    (left_over / "preference").mkdir(parents=True)
    job = datasets.job_of(version)
    assert job is not None
    jobs.run(job.pk)
    version.refresh_from_db()
    assert (version.state, left_over.exists()) == ("ready", False)


def test_a_worker_that_lost_the_job_does_not_mark_the_version_failed(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(cast, cast.task.instances.first(), A)
    version = datasets.create_version(cast.task, ONE, actor=cast.manager)

    def overtaken(*args: Any) -> None:
        Job.objects.update(fence=F("fence") + 1)
        raise OSError("the folder is gone")

    monkeypatch.setattr(datasets, "_freeze", overtaken)
    job = datasets.job_of(version)
    assert job is not None
    jobs.run(job.pk)
    version.refresh_from_db()
    assert version.state == "freezing"
