"""Import: all of it or nothing, the same bytes once, each bad row with its reason."""

from __future__ import annotations

import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import feedback.tasks  # noqa: F401 - registers the jobs
from feedback.exceptions import Conflict, InvalidInput, KeyReused, WrongState
from feedback.formats.records import ImportedInstance, RecordedAnnotation
from feedback.models import AuditEvent, ImportBatch, JobKind
from feedback.questions import parse_questions
from feedback.services import importing, jobs, storing, tasks, uploads
from feedback.services.recorded import Checked, Said, merged_verdict
from feedback.services.spooling import spool, unspool
from tests.conftest import QUESTIONS, Cast, make_cast, shared_data

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _files(settings: Any, tmp_path: Path) -> None:
    settings.FILES_DIR = tmp_path / "files"


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast(instances=0)


def row(n: int, **changes: Any) -> dict[str, Any]:
    return {"id": f"r{n}", "prompt": f"Question {n}?", "response_a": f"one {n}", "response_b": f"two {n}"} | changes


def lines(rows: list[Any]) -> bytes:
    return b"".join(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n" for one in rows)


def batch_of(cast: Cast, data: bytes, name: str = "data.jsonl", /, **mapping: Any) -> Any:
    stored = uploads.store_upload([data], name)
    batch = importing.new_batch(cast.task, stored, actor=cast.manager)
    if mapping:
        importing.set_mapping(batch, mapping)
    return batch


def imported(batch: Any, actor: Any, **options: Any) -> Any:
    job = importing.start_import(batch, actor=actor, **options)
    jobs.run(job.pk)
    job.refresh_from_db()
    batch.refresh_from_db()
    return job


MAPPING: dict[str, Any] = {"prompt": "prompt", "completions": ["response_a", "response_b"], "external_id": "id"}


def test_rows_become_instances_open_for_the_overlap(cast: Cast) -> None:
    cast.task.overlap = 3
    cast.task.save(update_fields=["overlap"])
    job = imported(batch_of(cast, lines([row(n) for n in range(3)]), **MAPPING), cast.manager)
    assert job.state == "succeeded", job.error
    stored = list(cast.task.instances.order_by("pk"))
    assert [one.external_id for one in stored] == ["r0", "r1", "r2"]
    assert stored[1].prompt == [{"role": "user", "content": "Question 1?"}]
    assert [one["content"] for one in stored[1].completions] == ["one 1", "two 1"]
    assert {one.open_slots for one in stored} == {3}


def test_rows_say_which_language_and_skill_they_ask_for(cast: Cast) -> None:
    rows = [row(1, lang="pt_BR", skill=" Law "), row(2, lang="", skill=None), row(3, meta={"lang": "DE"})]
    mapping = MAPPING | {"meta": ["lang", "skill", "meta"]}
    imported(batch_of(cast, lines(rows), **mapping), cast.manager)
    asked = cast.task.instances.order_by("pk").values_list("lang", "skill")
    assert list(asked) == [("pt-br", "law"), ("", ""), ("de", "")]
    assert cast.task.instances.order_by("pk")[0].meta["lang"] == "pt_BR"  # the metadata stays what it was


@pytest.mark.parametrize(("name", "value"), [("lang", "German"), ("skill", "law, tax"), ("skill", "x" * 41)])
def test_a_row_that_asks_for_what_nobody_can_name_is_refused(cast: Cast, name: str, value: str) -> None:
    batch = batch_of(cast, lines([row(1), row(2, **{name: value})]), **MAPPING | {"meta": ["lang", "skill"]})
    [error] = importing.dry_run(batch).first_errors
    assert (error["line"], error["field"]) == (2, name)


def test_a_task_that_follows_a_plan_opens_no_slot(cast: Cast) -> None:
    cast.task.plan_only = True
    cast.task.save(update_fields=["plan_only"])
    imported(batch_of(cast, lines([row(1)]), **MAPPING), cast.manager)
    assert cast.task.instances.get().open_slots == 0


BAD_ROWS = {
    "not JSON": (b"{oops\n", "line"),
    "no such column": ({"id": "x", "prompt": "p", "response_a": "a"}, "response_b"),
    "an empty completion": (row(9, response_b="  "), "response_b"),
    "a completion that is a number": (row(9, response_b=7), "response_b"),
    "U+0000": (b'{"id":"x","prompt":"p","response_a":"a\\u0000","response_b":"b"}\n', "response_a"),
    "a lone surrogate": (b'{"id":"x","prompt":"p","response_a":"a\\ud800","response_b":"b"}\n', "response_a"),
    "deep JSON": (b'{"id":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", "line"),
    "an unknown role": (row(9, prompt=[{"role": "wizard", "content": "hi"}]), "prompt.0.role"),
    "an id that repeats": (row(1), "external_id"),
    "an id that is too long": (row(9, id="x" * 201), "id"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_a_bad_row_is_told_with_line_and_reason_and_nothing_is_stored(cast: Cast, name: str) -> None:
    bad, field = BAD_ROWS[name]
    batch = batch_of(cast, lines([row(1), row(2), bad, row(3)]), **MAPPING)
    report = importing.dry_run(batch)
    assert (report.rows, report.instances, report.errors) == (4, 3, 1)
    [error] = report.first_errors
    assert (error["line"], error["field"]) == (3, field)
    assert error["reason"]
    with pytest.raises(InvalidInput):
        importing.start_import(batch, actor=cast.manager)
    assert not cast.task.instances.exists()


def test_bad_rows_are_left_out_only_when_that_was_chosen(cast: Cast) -> None:
    data = lines([row(1), row(2, response_a=""), row(3)])
    job = imported(batch_of(cast, data, **MAPPING), cast.manager)  # never looked at: the job itself must refuse
    assert job.state == "failed"
    assert "1 of 3 rows" in job.error
    assert "line 2, response_a" in job.error
    assert not cast.task.instances.exists()
    job = imported(batch_of(cast, data, **MAPPING), cast.manager, skip_bad_rows=True)
    assert job.state == "succeeded"
    assert job.result["instances"] == 2
    assert cast.task.instances.count() == 2


def test_an_error_in_the_middle_stores_nothing(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "CHUNK", 2)
    batch = batch_of(cast, lines([row(n) for n in range(5)]), **MAPPING)
    importing.dry_run(batch)
    real, calls = storing.store_chunk, []

    def breaks(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 3:
            raise OSError("the disk is full")
        real(*args)

    monkeypatch.setattr(importing, "store_chunk", breaks)
    job = imported(batch, cast.manager)
    assert job.state == "failed"
    assert "disk is full" in job.error
    assert not cast.task.instances.exists()
    assert batch.state == "checked"


def test_a_stale_worker_leaves_no_trace(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    from feedback.models import Job

    batch = batch_of(cast, lines([row(1)]), **MAPPING)
    importing.dry_run(batch)
    job = importing.start_import(batch, actor=cast.manager)
    monkeypatch.setattr(jobs.JobContext, "check", lambda self: None)
    claimed = jobs.claim(job.pk, "slow")
    assert claimed is not None
    Job.objects.filter(pk=job.pk).update(fence=claimed.fence + 1)
    with pytest.raises(jobs.FenceLost):
        importing.run_import(jobs.JobContext(claimed))
    assert not cast.task.instances.exists()


def test_the_same_bytes_come_in_once(cast: Cast) -> None:
    data = lines([row(1)])
    first, second = batch_of(cast, data, **MAPPING), batch_of(cast, data, "again.jsonl", **MAPPING)
    imported(first, cast.manager)
    with pytest.raises(Conflict, match=r"Already imported as data\.jsonl"):
        batch_of(cast, data)
    with pytest.raises(Conflict, match="Already imported"):
        importing.start_import(second, actor=cast.manager)
    with pytest.raises(WrongState):
        importing.set_mapping(first, None)
    assert cast.task.instances.count() == 1


def test_running_the_job_again_changes_nothing(cast: Cast) -> None:
    batch = batch_of(cast, lines([row(1)]), **MAPPING)
    job = imported(batch, cast.manager)
    again = jobs.enqueue(job.kind, cast.project, job.params, actor=cast.manager)
    jobs.run(again.pk)
    again.refresh_from_db()
    assert (again.state, again.result) == ("succeeded", job.result)
    assert cast.task.instances.count() == 1


def test_ids_already_in_the_task_are_row_errors(cast: Cast) -> None:
    imported(batch_of(cast, lines([row(1)]), **MAPPING), cast.manager)
    report = importing.dry_run(batch_of(cast, lines([row(1), row(2)]), **MAPPING))
    assert report.errors == 1
    assert report.first_errors[0]["reason"] == "'r1' is already an instance of this task"


def test_a_file_that_changed_after_it_was_chosen_is_refused(cast: Cast) -> None:
    batch = batch_of(cast, lines([row(1)]), **MAPPING)
    uploads.located(batch.path).write_bytes(lines([row(2)]))
    job = imported(batch, cast.manager)
    assert job.state == "failed"
    assert "has changed" in job.error


def test_a_started_import_is_not_queued_twice(cast: Cast) -> None:
    batch = batch_of(cast, lines([row(1)]), **MAPPING)
    first = importing.start_import(batch, actor=cast.manager)
    assert importing.start_import(batch, actor=cast.manager) == first


def test_recorded_votes_become_annotations_that_take_no_slot(cast: Cast) -> None:
    rows = [row(1, winner="a", rater="w7"), row(2, winner="tie", rater="w8"), row(3, winner="", rater="w8")]
    batch = batch_of(cast, lines(rows), **MAPPING, preference="winner", annotator="rater")
    imported(batch, cast.manager)
    from feedback.models import Annotation

    said = list(Annotation.objects.order_by("pk").select_related("annotator", "instance"))
    values = [(one.annotator.name, one.answers["overall"]["value"]) for one in said]
    assert values == [("w7", "a-is-clearly-better"), ("w8", "tie")]
    assert all(one.recorded and one.source == "human" and one.annotator.user_id is None for one in said)
    assert {one.instance.open_slots for one in said} == {cast.task.overlap}


def test_recorded_annotations_can_be_left_out(cast: Cast) -> None:
    batch = batch_of(cast, lines([row(1, winner="a")]))
    importing.set_mapping(batch, {**MAPPING, "preference": "winner"}, annotations=False)
    imported(batch, cast.manager)
    assert not cast.task.annotations.exists()


def test_three_completions_do_not_fit_a_preference(cast: Cast) -> None:
    batch = batch_of(cast, lines([{"id": 1, "prompt": "p", "completions": ["a", "b", "c"]}]))
    [error] = importing.dry_run(batch).first_errors
    assert error["field"] == "completions"
    assert "needs 2 completions; the row has 3" in error["reason"]


def test_a_mapping_that_is_not_complete_is_refused(cast: Cast) -> None:
    batch = batch_of(cast, lines([row(1)]))
    for columns in ({"prompt": "prompt"}, {"completions": ["x"]}, {"chosen": "x"}, {"unknown": "x"}):
        with pytest.raises(InvalidInput):
            importing.set_mapping(batch, columns)


def test_a_table_nobody_recognises_needs_a_mapping(cast: Cast) -> None:
    batch = batch_of(cast, lines([{"x": "p", "y": "a", "z": "b"}]))
    assert batch.format == importing.TABLE
    look = importing.look(batch)
    assert look is not None
    assert (look.columns, look.mapping) == (["x", "y", "z"], None)
    with pytest.raises(InvalidInput, match="not mapped"):
        importing.start_import(batch, actor=cast.manager)


def test_an_upload_past_the_limit_leaves_no_file(settings: Any, db: None) -> None:
    settings.MAX_UPLOAD_MB = 1
    with pytest.raises(InvalidInput) as refused:
        uploads.store_upload(iter([b"x" * 700_000] * 2), "big.jsonl")
    assert refused.value.errors == {"file": "The file is larger than 1 MB."}
    assert not list(Path(settings.FILES_DIR).rglob("*.jsonl"))


@pytest.mark.parametrize("name", ["a.exe", "jsonl", "", "../../etc/passwd", "x.jsonl.zip"])
def test_an_unknown_kind_of_file_is_refused(name: str, db: None) -> None:
    with pytest.raises(InvalidInput):
        uploads.store_upload([b"x"], name)


@pytest.mark.parametrize("name", ["../../up.jsonl", "a\\b\\up.jsonl", "..jsonl.jsonl", "ü\x00 p.jsonl"])
def test_a_file_name_cannot_leave_its_folder(name: str, settings: Any, db: None) -> None:
    stored = uploads.store_upload([b"{}"], name)
    path = uploads.located(stored.path).resolve()
    assert path.is_relative_to(Path(settings.FILES_DIR).resolve() / "uploads")
    assert path.suffix == ".jsonl"


def test_only_what_lies_below_an_import_folder_is_found(settings: Any, tmp_path: Path, db: None) -> None:
    root = tmp_path / "root"
    (root / "set").mkdir(parents=True)
    (root / "set" / "a.jsonl").write_text("{}")
    (tmp_path / "secret.jsonl").write_text("{}")
    settings.IMPORT_ROOTS = [root]
    assert uploads.server_sources() == ["set"]
    assert uploads.server_source("set").sha256 == uploads.on_disk(root / "set").sha256
    for text in ("../secret.jsonl", str(tmp_path / "secret.jsonl"), "", ".", "nothing", "a\x00b"):
        with pytest.raises(InvalidInput):
            uploads.server_source(text)


def test_a_folder_is_known_by_what_its_files_hold(tmp_path: Path) -> None:
    def folder(name: str, **files: str) -> Path:
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
        return tmp_path / name

    one, same, other = folder("one", a="1", b="2"), folder("same", b="2", a="1"), folder("other", a="1", b="3")
    assert uploads.hash_of(one) == uploads.hash_of(same) != uploads.hash_of(other)
    (one / "link").symlink_to("/etc/passwd")
    with pytest.raises(InvalidInput):
        uploads.hash_of(one)


def verdict(value: str, order: Any) -> RecordedAnnotation:
    return RecordedAnnotation("j", "judge", {"overall": {"value": value}}, order)


# (Σ outcome + ½) / (n + 1) by hand: two for A 2.5/3, one each 1.5/3, A and a tie 2/3, one alone for B 0.5/2
@pytest.mark.parametrize(
    ("values", "merged", "p_a", "consistent"),
    [
        (("a-is-clearly-better", "a-is-clearly-better"), "a-is-clearly-better", 2.5 / 3, True),
        (("a-is-clearly-better", "b-is-clearly-better"), "tie", 0.5, False),
        (("a-is-clearly-better", "tie"), "a-is-slightly-better", 2 / 3, False),
        (("a-is-slightly-better", "tie"), "tie", 2 / 3, False),
        (("both-bad", "both-bad"), "both-bad", 0.5, True),
        (("b-is-slightly-better",), "b-is-slightly-better", 0.25, None),
    ],
)
def test_a_judges_two_orders_become_one_annotation(
    values: tuple[str, ...], merged: str, p_a: float, consistent: bool | None
) -> None:
    recorded = [verdict(value, order) for value, order in zip(values, ("ab", "ba"), strict=False)]
    said = merged_verdict(recorded, parse_questions(QUESTIONS))
    assert said.answers["overall"]["value"] == merged
    assert said.details["p_a"] == pytest.approx(p_a, abs=1e-6)
    assert said.details["order_consistent"] is consistent
    assert said.details["orders"] == dict(zip(("ab", "ba"), values, strict=False))


COUNTS = {
    # instances, annotations by people, merged verdicts: from the READMEs
    "mtbench-human-gpt4": (1440, 1969, 1440),
    "vicuna80-human-judges": (1792, 4928, None),
    "qa-feedback-finegrained": (320, 320, 0),
}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", COUNTS)
def test_a_real_set_comes_in_whole(cast: Cast, name: str) -> None:
    task, job = import_known(cast, name)
    assert job.state == "succeeded", job.error
    instances, people, judges = COUNTS[name]
    assert task.instances.count() == instances
    assert task.annotations.filter(source="human").count() == people
    if judges is not None:
        assert task.annotations.filter(source="judge").count() == judges
    assert job.result["errors"] == 0


def import_known(cast: Cast, name: str) -> tuple[Any, Any]:
    stored = uploads.on_disk(shared_data(name))
    task = importing.new_task_for(cast.project, stored, name=name, actor=cast.owner)
    return task, imported(importing.new_batch(task, stored, actor=cast.owner), cast.owner)


def sides(task: Any, source: str, value_of: Any) -> dict[int, list[str]]:
    """The side that each annotation of an instance names."""
    found: dict[int, list[str]] = {}
    for one in task.annotations.filter(source=source).select_related("annotator"):
        value = value_of(one)
        if value:
            found.setdefault(one.instance_id, []).append(value[0])
    return found


def merged_side(one: Any) -> str:
    return str(one.answers["overall"]["value"])


def shown_order_side(one: Any) -> str | None:
    """GPT-4's verdict in the order that people saw; its second runs and the other judges are left out."""
    return one.details["orders"].get("ab") if one.annotator.name == "gpt-4" else None


# the README's human–judge figure is for merged verdicts in one set and for the shown order in the other
@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("name", "people", "judge", "value_of"),
    [
        ("mtbench-human-gpt4", 0.666, 0.652, merged_side),
        ("vicuna80-human-judges", 0.513, 0.533, shown_order_side),
    ],
)
def test_agreement_of_a_real_set_is_that_of_its_readme(
    cast: Cast, name: str, people: float, judge: float, value_of: Any
) -> None:
    task, _ = import_known(cast, name)
    humans, judges = sides(task, "human", merged_side), sides(task, "judge", value_of)
    if name.startswith("vicuna80"):  # the README counts the pairs with three labels
        humans = {pk: said for pk, said in humans.items() if len(said) == 3}
    pairs = [(x, y) for said in humans.values() for i, x in enumerate(said) for y in said[i + 1 :]]
    # an unreadable verdict (4 of GPT-4's) agrees with nobody
    crossed = [(x, y) for pk, said in humans.items() for x in said for y in judges.get(pk, ["unreadable"])]
    assert sum(x == y for x, y in pairs) / len(pairs) == pytest.approx(people, abs=5e-4)
    assert sum(x == y for x, y in crossed) / len(crossed) == pytest.approx(judge, abs=5e-4)


@pytest.mark.parametrize("path", ["x" * 300, "a/" * 400, "..", "../../etc/passwd", "/etc/passwd", "link", "linked"])
def test_a_server_path_that_is_no_file_of_the_import_folders_is_refused(
    path: str, settings: Any, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to("/etc/passwd")
    (root / "linked").mkdir()
    (root / "linked" / "data.jsonl").symlink_to("/etc/passwd")
    settings.IMPORT_ROOTS = [root]
    with pytest.raises(InvalidInput):
        uploads.server_source(path)


def test_a_second_job_of_the_same_file_does_not_undo_the_first_ones_success(cast: Cast) -> None:
    batch = batch_of(cast, lines([row(1)]), **MAPPING)
    params = {"batch": batch.pk, "import": str(batch.public_id), "skip_bad_rows": False}
    second = jobs.claim(jobs.enqueue(JobKind.IMPORT, cast.project, params, actor=cast.owner).pk, "slow")
    assert second is not None
    stale = ImportBatch.objects.select_related("task__project").get(pk=batch.pk)
    first = jobs.enqueue(JobKind.IMPORT, cast.project, params, actor=cast.owner)
    jobs.run(first.pk)
    report = importing.dry_run(stale)
    with pytest.raises(Conflict, match="Already imported"):
        importing._refuse(stale, report)
    batch.refresh_from_db()
    assert (batch.state, batch.report["errors"]) == ("imported", 0)


def test_a_key_that_started_one_import_starts_no_other(cast: Cast) -> None:
    one, two = (batch_of(cast, lines([row(n)]), f"{n}.jsonl", **MAPPING) for n in (1, 2))
    importing.start_import(one, actor=cast.owner, idempotency_key="k")
    jobs.run(importing.start_import(one, actor=cast.owner, idempotency_key="k").pk)
    with pytest.raises(KeyReused):
        importing.start_import(two, actor=cast.owner, idempotency_key="k")


def test_what_the_task_became_while_the_file_was_read_counts(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = batch_of(cast, lines([row(1)]), **MAPPING)
    reading = importing._stage

    def slowly(*args: Any) -> Any:
        report = reading(*args)
        tasks.edit_task(cast.task, actor=cast.owner, overlap=3)
        return report

    monkeypatch.setattr(importing, "_stage", slowly)
    assert imported(batch, cast.owner).state == "succeeded"
    assert cast.task.instances.get().open_slots == 3


def test_an_import_under_questions_that_changed_meanwhile_stores_nothing(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = batch_of(cast, lines([row(1)]), **MAPPING)
    reading = importing._stage

    def slowly(*args: Any) -> Any:
        report = reading(*args)
        tasks.edit_task(cast.task, actor=cast.owner, questions=[QUESTIONS[0] | {"steps": 9}])
        return report

    monkeypatch.setattr(importing, "_stage", slowly)
    job = imported(batch, cast.owner)
    assert (job.state, batch.state, cast.task.instances.count()) == ("failed", "uploaded", 0)
    assert "questions changed" in job.error


def test_a_file_name_longer_than_the_audit_trail_takes_is_imported(cast: Cast) -> None:
    batch = batch_of(cast, lines([row(1)]), "n" * 300 + ".jsonl", **MAPPING)
    assert imported(batch, cast.owner).state == "succeeded"
    assert len(AuditEvent.objects.get(action="import").subject) == 120


def test_what_is_kept_aside_comes_back_equal() -> None:
    at = datetime(2024, 2, 29, 23, 59, tzinfo=UTC)
    said = Said("ann", "human", {"overall": {"value": "tie"}}, {"rationale": "é\u2028\n"}, [1, 0], at)
    prompt = [{"role": "user", "content": "Line\r\nbreak \U0001f600"}]
    rows = [
        Checked(ImportedInstance(f"i{n}", prompt, [{"content": "c", "model": None}], {"n": n}, "s", line=n), [said], n)
        for n in range(5)
    ]
    with tempfile.TemporaryFile() as file:
        spool(file, rows[:3])
        spool(file, rows[3:])
        assert list(unspool(file, 2)) == [rows[:2], rows[2:4], rows[4:]]
