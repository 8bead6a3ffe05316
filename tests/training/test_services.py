"""Starting, resuming and cancelling runs, and taking in what they report."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps as django_apps
from django.db import IntegrityError, transaction
from django.utils import timezone

from feedback.exceptions import Conflict, InvalidInput, WrongState
from feedback.models import Job, JobState
from feedback.services import jobs
from feedback.services.jobs import FenceLost, JobContext
from tests.training.frozen import freeze_rows
from training import services
from training.base_models import base_models
from training.curves import curves
from training.ingest import Cursor, sync_metrics
from training.models import Metric, Run, RunState
from training.objectives.catalogue import OBJECTIVES

PAIR = {"id": "p", "prompt": "Q?", "chosen": "yes", "rejected": "no"}


@pytest.fixture(autouse=True)
def places(settings: Any, tmp_path: Path) -> None:
    settings.FILES_DIR, settings.MODELS_DIR = tmp_path / "files", tmp_path / "models"


@pytest.fixture
def version(cast: Any, places: None) -> Any:
    return freeze_rows(cast.task, cast.owner, {"train": [PAIR], "test": [PAIR]})


@pytest.fixture
def run(version: Any, cast: Any) -> Run:
    return services.start_run(version, "bt", "small", {}, cast.manager)


def context_of(run: Run) -> JobContext:
    job = jobs.claim(run.job_id, "here")
    assert job
    return JobContext(job)


def test_a_run_is_written_with_its_job_and_numbered_within_its_project(version: Any, cast: Any) -> None:
    runs = [services.start_run(version, "bt", "small", {"epochs": 2}, cast.manager) for _ in range(2)]
    assert [run.number for run in runs] == [1, 2]
    assert runs[0].job.params["run"] == str(runs[0].public_id)
    assert (runs[0].job.kind, runs[0].job.queue, runs[0].state) == ("train", "training", "queued")


def test_the_same_key_starts_one_run_and_another_wish_under_it_is_a_conflict(version: Any, cast: Any) -> None:
    first = services.start_run(version, "bt", "small", {}, cast.manager, "key")
    assert services.start_run(version, "bt", "small", {}, cast.manager, "key") == first
    with pytest.raises(Conflict):
        services.start_run(version, "bt", "small", {"epochs": 3}, cast.manager, "key")
    assert Run.objects.count() == Job.objects.count() == 1


@pytest.mark.parametrize(
    "wish, field",
    [
        ({"objective": "ppo"}, "objective"),
        ({"base_model": "folder:../../etc"}, "base_model"),
        ({"base_model": "model:not-a-uuid"}, "base_model"),
        ({"base_model": "/etc"}, "base_model"),
        ({"config": {"learning_rate": -1.0}}, "config.learning_rate"),
        ({"config": {"learning_rate": float("nan")}}, "config.learning_rate"),
        ({"config": {"epochs": "many"}}, "config.epochs"),
        ({"config": {"base_model": "/etc"}}, "config.base_model"),
        ({"config": {"data": {}}}, "config.data"),
        ({"objective": "dpo", "config": {"objective_options": {"beta": 0.0}}}, "config.objective_options.beta"),
        ({"config": {"objective_options": {"beta": 0.1}}}, "config.objective_options"),
    ],
)
def test_a_wish_that_is_not_right_is_refused_at_its_field(version: Any, cast: Any, wish: Any, field: str) -> None:
    wishes = {"objective": "bt", "base_model": "small", "config": {}} | wish
    with pytest.raises(InvalidInput) as refused:
        services.start_run(version, actor=cast.manager, **wishes)
    assert field in refused.value.errors
    assert not Run.objects.exists()


def test_a_version_without_preferences_is_refused_in_words(cast: Any) -> None:
    empty = freeze_rows(cast.task, cast.owner, {"test": [PAIR]})
    with pytest.raises(WrongState, match="no preferences to train on"):
        services.start_run(empty, "bt", "small", {}, cast.manager)


@pytest.mark.parametrize("name, objective", OBJECTIVES.items())
def test_an_objective_takes_only_a_version_with_its_data(version: Any, cast: Any, name: str, objective: Any) -> None:
    if "preference-conversational" in objective.consumes:
        run = services.start_run(version, name, "small", {}, cast.manager)
        assert run.kind == objective.makes
        return
    with pytest.raises(WrongState) as refused:
        services.start_run(version, name, "small", {}, cast.manager)
    assert refused.value.message == (
        f"This dataset version has {objective.lacking}, with at least one row in its train split."
    )
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    "before, options, after, kept",
    [
        ("bt", {"beta": 0.1, "margin_scale": 0.5}, "bt", {"margin_scale": 0.5}),
        ("dpo", {"beta": 0.2, "margin_scale": 0.0, "loss_type": "ipo"}, "ipo", {"beta": 0.2}),
        ("dpo", {"beta": 0.2, "loss_type": "sigmoid"}, "dpo", {"beta": 0.2}),
    ],
)
def test_runs_from_before_the_catalogue_can_be_resumed(
    run: Run, cast: Any, before: str, options: Any, after: str, kept: Any
) -> None:
    Run.objects.filter(pk=run.pk).update(objective=before, config={"epochs": 2, "objective_options": options})
    migration = importlib.import_module("training.migrations.0003_objectives_of_the_catalogue")
    migration.keep_own_options(django_apps, None)
    run.refresh_from_db()
    assert (run.objective, run.config) == (after, {"epochs": 2, "objective_options": kept})
    assert services.write_run_file(run).key == "small"
    services.cancel_run(run, cast.manager)
    assert services.resume_run(run, cast.manager).state == RunState.QUEUED


def test_a_version_that_is_still_freezing_is_refused_in_words(version: Any, cast: Any) -> None:
    version.state = "freezing"
    with pytest.raises(WrongState, match="not ready"):
        services.start_run(version, "bt", "small", {}, cast.manager)


def test_base_models_are_the_folders_with_weights_and_the_small_one(settings: Any, cast: Any) -> None:
    for name, files in {"good": ["config.json", "model.safetensors"], "bare": ["config.json"], ".hid": []}.items():
        (settings.MODELS_DIR / name).mkdir(parents=True)
        for file in files:
            (settings.MODELS_DIR / name / file).write_text("{}")
    assert [base.key for base in base_models(cast.project)] == ["folder:good", "small"]


def test_a_reward_model_cannot_become_a_policy(settings: Any, version: Any, cast: Any) -> None:
    folder = settings.MODELS_DIR / "scores"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"architectures": ["LlamaForSequenceClassification"]}')
    (folder / "model.safetensors").touch()
    with pytest.raises(InvalidInput) as refused:
        services.start_run(version, "dpo", "folder:scores", {}, cast.manager)
    assert "writes no text" in refused.value.errors["base_model"]


def test_an_ensemble_is_a_base_only_of_runs_with_as_many_heads(settings: Any, version: Any, cast: Any) -> None:
    folder = settings.MODELS_DIR / "several"
    folder.mkdir(parents=True)
    config = {"architectures": ["LlamaForSequenceClassification"], "id2label": {"0": "a", "1": "b", "2": "c"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").touch()
    for objective, wishes, asked in (("bt", {}, 1), ("ensemble", {"objective_options": {"heads": 4}}, 4)):
        with pytest.raises(InvalidInput) as refused:
            services.start_run(version, objective, "folder:several", wishes, cast.manager)
        assert f"has 3 heads and the run asks for {asked};" in refused.value.errors["base_model"]
    assert not Run.objects.exists()
    three = {"objective_options": {"heads": 3}}
    assert services.start_run(version, "ensemble", "folder:several", three, cast.manager).state == RunState.QUEUED


def test_a_waiting_run_that_is_cancelled_ends_at_once_and_can_be_resumed(run: Run, cast: Any) -> None:
    services.cancel_run(run, cast.manager)
    run.refresh_from_db()
    assert (run.state, run.ended_at is not None) == (RunState.CANCELLED, True)
    resumed = services.resume_run(run, cast.manager)
    assert (resumed.state, resumed.ended_at, resumed.job.state) == (RunState.QUEUED, None, JobState.QUEUED)
    assert resumed.job_id != run.job_id


def test_a_run_is_resumed_once_by_two_who_ask_at_a_time(run: Run, cast: Any) -> None:
    services.cancel_run(run, cast.manager)
    stale = Run.objects.select_related("job").get(pk=run.pk)
    services.resume_run(stale, cast.manager)
    with pytest.raises(WrongState):
        services.resume_run(stale, cast.manager)
    assert Job.objects.count() == 2


def test_a_run_that_ended_is_not_cancelled(run: Run, cast: Any) -> None:
    services.cancel_run(run, cast.manager)
    run.refresh_from_db()
    with pytest.raises(WrongState):
        services.cancel_run(run, cast.manager)


def test_a_run_whose_job_was_set_aside_is_shown_as_failed_with_the_reason(run: Run, cast: Any) -> None:
    Job.objects.filter(pk=run.job_id).update(state="quarantined", ended_at=timezone.now(), error="Died 3 times.")
    services.settle(cast.project)
    run.refresh_from_db()
    assert (run.state, run.error) == (RunState.FAILED, "Died 3 times.")


def test_the_database_refuses_an_end_without_a_time(run: Run) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Run.objects.filter(pk=run.pk).update(state="finished")


def append(run: Run, *points: tuple[int, float], torn: str = "") -> None:
    run.folder.mkdir(parents=True, exist_ok=True)
    with (run.folder / "metrics.jsonl").open("a") as file:
        for step, value in points:
            file.write(json.dumps({"step": step, "name": "loss", "value": value, "time": 0}) + "\n")
        file.write(torn)


def stored(run: Run) -> list[tuple[int, float]]:
    return list(Metric.objects.filter(run=run).order_by("step").values_list("step", "value"))


def test_metrics_are_read_on_from_where_the_last_reading_ended(run: Run) -> None:
    context = context_of(run)
    append(run, (1, 0.7), torn='{"step": 2, "na')
    cursor = sync_metrics(run, Cursor(), context)
    assert stored(run) == [(1, 0.7)]
    append(run, torn='me": "loss", "value": 0.5}\n')
    assert sync_metrics(run, cursor, context).offset > cursor.offset
    assert stored(run) == [(1, 0.7), (2, 0.5)]


def test_a_file_cut_back_to_a_checkpoint_takes_the_points_after_it_back(run: Run) -> None:
    context = context_of(run)
    append(run, (1, 0.7), (2, 0.6), (3, 0.5))
    cursor = sync_metrics(run, Cursor(), context)
    shorter = run.folder / "shorter"
    shorter.write_text(json.dumps({"step": 1, "name": "loss", "value": 0.7}) + "\n")
    os.replace(shorter, run.folder / "metrics.jsonl")
    cursor = sync_metrics(run, cursor, context)
    assert stored(run) == [(1, 0.7)]
    append(run, (2, 0.61))
    sync_metrics(run, cursor, context)
    assert stored(run) == [(1, 0.7), (2, 0.61)]


def test_a_supervisor_without_the_fence_stores_no_metric(run: Run) -> None:
    context = context_of(run)
    Job.objects.filter(pk=run.job_id).update(fence=99)
    append(run, (1, 0.7))
    with pytest.raises(FenceLost):
        sync_metrics(run, Cursor(), context)
    assert stored(run) == []


def test_no_infinite_value_is_stored(run: Run) -> None:
    append(run, (1, float("inf")), (2, 0.5))
    sync_metrics(run, Cursor(), context_of(run))
    assert stored(run) == [(2, 0.5)]


def test_a_long_curve_is_drawn_as_means_with_their_range(run: Run) -> None:
    Metric.objects.bulk_create(Metric(run=run, step=step, name="loss", value=step % 2) for step in range(1, 1001))
    (loss,) = curves(run, "loss", points=100)
    assert len(loss["points"]) == 100
    assert loss["points"][0] == [10, 0.5]
    assert loss["band"][-1] == [1000, 0, 1]


def test_a_short_curve_is_drawn_as_it_is(run: Run) -> None:
    Metric.objects.create(run=run, step=3, name="eval_loss", value=0.25)
    assert curves(run, "loss") == [{"name": "Held out", "metric": "eval_loss", "points": [[3, 0.25]]}]
