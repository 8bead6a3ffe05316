"""The training job against the real engine: what a finished run leaves, and how a running one is stopped."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from feedback.models import AuditEvent, Job, JobState, MixScore, PreferenceMix
from feedback.services import jobs
from tests.conftest import make_cast
from tests.training.frozen import QUICK, freeze_planted, install_quick_base
from training import services, tasks  # noqa: F401 - registers the handler
from training.models import Metric, Run, RunState, TrainedModel
from training.objectives.catalogue import OBJECTIVES

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def places(settings: Any, tmp_path: Path) -> None:
    settings.FILES_DIR, settings.MODELS_DIR = tmp_path / "files", tmp_path / "models"
    settings.TRAIN_THREADS = 1


def new_run(
    settings: Any, *, objective: str = "bt", mix: bool = False, check_first: bool = False, **config: Any
) -> Run:
    cast = make_cast(instances=0)
    base = install_quick_base(settings.MODELS_DIR)
    chosen = PreferenceMix.objects.create(task=cast.task, name="All people", sources={}) if mix else None
    version = freeze_planted(cast.task, cast.owner, mix=chosen)
    return services.start_run(version, objective, base, QUICK | config, cast.manager, check_first=check_first)


def wait_for(seen: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := seen():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


class Worker(threading.Thread):
    """Runs a job as a worker's thread does; joined at the end of the test."""

    def __init__(self, job_id: int) -> None:
        super().__init__()
        self.job_id = job_id
        self.start()

    def run(self) -> None:
        from django.db import connection

        try:
            jobs.run(self.job_id)
        finally:
            connection.close()


def weights(run: Run) -> str:
    return hashlib.sha256((run.folder / "model" / "model.safetensors").read_bytes()).hexdigest()


def losses(run: Run) -> list[float]:
    return list(Metric.objects.filter(run=run, name="loss").order_by("step").values_list("value", flat=True))


def child_pid(run: Run) -> int | None:
    """The training process once it has saved a checkpoint."""
    if not list((run.folder / "checkpoints").glob("step-*")):
        return None
    return int(json.loads((run.folder / "lock").read_text())["pid"])


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_finished_run_leaves_a_model_its_curve_its_card_and_the_score_of_its_mix(settings: Any) -> None:
    run = new_run(settings, mix=True)
    jobs.run(run.job_id)
    run.refresh_from_db()
    assert (run.state, run.job.state, run.job.error) == (RunState.FINISHED, JobState.SUCCEEDED, "")
    assert run.step == run.total_steps > 0
    assert run.evaluation["test"]["pairs"] == 20
    assert run.preflight["splits"]["train"]["kept"] == 60
    assert set(Metric.objects.filter(run=run, name="loss").values_list("step", flat=True)) == set(
        range(1, run.step + 1)
    )
    model = TrainedModel.objects.get(run=run)
    for file in model.files:
        data = (model.folder / file["path"]).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (file["sha256"], file["bytes"])
    assert {"model.safetensors", "config.json", "README.md"} <= {file["path"] for file in model.files}
    assert f"run {run.number}" in model.card
    score = MixScore.objects.get(mix=run.version.mix)
    assert score.value == run.evaluation["test"]["accuracy"]
    assert score.stderr == pytest.approx((run.evaluation["test"]["high"] - run.evaluation["test"]["low"]) / 3.919928)
    assert AuditEvent.objects.filter(action="run.finished", details__run=str(run.public_id)).count() == 1


def test_a_run_that_is_checked_first_learns_only_when_it_is_told_to(settings: Any) -> None:
    run = new_run(settings, check_first=True, max_steps=2)
    jobs.run(run.job_id)
    run.refresh_from_db()
    assert (run.state, run.started_at, run.job.state) == (RunState.CHECKED, None, JobState.SUCCEEDED)
    assert run.preflight["splits"]["train"]["kept"] == 60
    assert run.preflight["estimate"]["seconds"] > 0
    assert run.preflight["splits"]["train"]["rendered"]
    assert not (run.folder / "checkpoints").exists()
    assert not TrainedModel.objects.exists()
    first = run.job_id
    run = services.start_checked(run, None)
    Job.objects.filter(pk=first).update(state=JobState.QUEUED, ended_at=None)
    jobs.run(first)  # a delivery of the first job that comes late finds nothing to do
    run.refresh_from_db()
    assert run.state == RunState.QUEUED
    jobs.run(run.job_id)
    run.refresh_from_db()
    assert (run.state, run.step) == (RunState.FINISHED, 2)


def test_a_check_that_finds_nothing_to_learn_says_so(settings: Any) -> None:
    run = new_run(settings, check_first=True, max_length=8, long_rows="drop")
    jobs.run(run.job_id)
    run.refresh_from_db()
    assert run.state == RunState.FAILED
    assert "No training row is left" in run.error


def test_a_run_whose_base_model_was_taken_away_says_so(settings: Any) -> None:
    run = new_run(settings)
    shutil.rmtree(settings.MODELS_DIR)
    jobs.run(run.job_id)
    run.refresh_from_db()
    assert (run.state, run.job.state) == (RunState.FAILED, JobState.FAILED)
    assert run.error == run.job.error == "There is no such base model."


def test_a_policy_can_be_trained_and_then_trained_on(settings: Any) -> None:
    run = new_run(settings, objective="dpo", max_steps=3)
    jobs.run(run.job_id)
    model = TrainedModel.objects.get(run=run)
    assert model.kind == "policy"
    again = services.start_run(run.version, "dpo", f"model:{model.public_id}", QUICK | {"max_steps": 1}, None)
    jobs.run(again.job_id)
    again.refresh_from_db()
    assert (again.state, again.base_run, again.number) == (RunState.FINISHED, run, 2)


def test_a_job_that_comes_again_after_its_run_finished_changes_nothing(settings: Any) -> None:
    run = new_run(settings, max_steps=1)
    jobs.run(run.job_id)
    before = TrainedModel.objects.values().get(run=run)
    Job.objects.filter(pk=run.job_id).update(state="queued", ended_at=None)
    jobs.run(run.job_id)
    assert TrainedModel.objects.values().get(run=run) == before
    assert Job.objects.get(pk=run.job_id).state == JobState.SUCCEEDED


def test_cancel_acts_within_ten_seconds_and_the_run_goes_on_where_it_stopped(settings: Any) -> None:
    run = new_run(settings, epochs=400)
    worker = Worker(run.job_id)
    pid = wait_for(lambda: child_pid(run))
    run.refresh_from_db()
    begin = time.monotonic()
    services.cancel_run(run, None)
    worker.join(20)
    took = time.monotonic() - begin
    run.refresh_from_db()
    assert (run.state, run.job.state) == (RunState.CANCELLED, JobState.CANCELLED)
    assert took < 10
    assert not alive(pid)
    reached = max(int(path.name[5:]) for path in (run.folder / "checkpoints").glob("step-*"))
    assert Metric.objects.filter(run=run, name="loss").count() == reached

    Run.objects.filter(pk=run.pk).update(config=run.config | {"epochs": 400, "max_steps": reached + 5})
    resumed = services.resume_run(Run.objects.select_related("job").get(pk=run.pk), None)
    assert resumed.job_id != run.job_id


def test_a_killed_training_process_goes_on_from_its_checkpoint_to_the_same_weights(settings: Any) -> None:
    run = new_run(settings, epochs=8)
    worker = Worker(run.job_id)
    pid = wait_for(lambda: child_pid(run))
    os.kill(pid, signal.SIGKILL)
    worker.join(120)
    run.refresh_from_db()
    assert run.state == RunState.FINISHED, run.error
    assert "ended by signal 9; it starts again from step-" in (run.folder / "log.txt").read_text()
    assert Metric.objects.filter(run=run, name="loss").count() == run.step

    untouched = services.start_run(run.version, "bt", run.base_model, run.config, None)
    jobs.run(untouched.job_id)
    assert weights(untouched) == weights(run)
    assert losses(untouched) == losses(run)


def test_a_supervisor_that_lost_its_job_ends_its_process_and_leaves_no_trace(settings: Any) -> None:
    run = new_run(settings, epochs=400)
    worker = Worker(run.job_id)
    pid = wait_for(lambda: child_pid(run))
    # what the reaper does to a worker that stopped renewing its lease
    Job.objects.filter(pk=run.job_id).update(
        state="queued", lease_expires_at=None, fence=Job.objects.get(pk=run.job_id).fence + 1
    )
    time.sleep(0.2)
    before = (Run.objects.values().get(pk=run.pk), Job.objects.values().get(pk=run.job_id))
    points = Metric.objects.filter(run=run).count()
    worker.join(20)
    assert not worker.is_alive()
    assert not alive(pid)
    assert (Run.objects.values().get(pk=run.pk), Job.objects.values().get(pk=run.job_id)) == before
    assert Metric.objects.filter(run=run).count() == points
    assert not TrainedModel.objects.filter(run=run).exists()


def test_a_stale_process_is_ended_before_another_writes_the_same_folder(settings: Any) -> None:
    from training.child import Child
    from training.supervisor import train_command

    run = new_run(settings, epochs=8)
    services.write_run_file(run)
    with Child([*train_command(), str(run.folder)], lock=run.folder / "lock", log=run.folder / "log.txt") as stale:
        wait_for(lambda: child_pid(run))
        jobs.run(run.job_id)
        assert stale.wait(0) == -signal.SIGKILL
    run.refresh_from_db()
    assert run.state == RunState.FINISHED, run.error


def test_rows_that_cannot_be_read_fail_the_run_with_the_engines_sentence(settings: Any) -> None:
    run = new_run(settings)
    from training.data import data_files

    path = Path(data_files(run.version, OBJECTIVES["bt"])["train"][0])
    path.write_text('{"prompt": 3}\n')
    jobs.run(run.job_id)
    run.refresh_from_db()
    assert (run.state, run.job.state) == (RunState.FAILED, JobState.FAILED)
    assert run.error == run.job.error
    assert "1 rows cannot be read" in run.error
    assert not TrainedModel.objects.filter(run=run).exists()


def test_the_small_base_model_is_made_when_a_run_wants_it(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from training import supervisor

    run = new_run(settings, max_steps=2)
    monkeypatch.setattr(supervisor, "MAKE_SMALL", [*supervisor.MAKE_SMALL, "--quick"])
    small = services.start_run(run.version, "bt", "small", QUICK | {"max_steps": 2}, None)
    jobs.run(small.job_id)
    small.refresh_from_db()
    assert small.state == RunState.FINISHED, small.error
    assert (settings.MODELS_DIR / "tiebreak-small" / "model.safetensors").is_file()


def test_a_workers_memory_is_flat_over_twenty_runs(settings: Any) -> None:
    first = new_run(settings, max_steps=1)
    sizes = []
    for number in range(20):
        again = services.start_run(
            first.version, "bt", first.base_model, QUICK | {"max_steps": 1, "seed": number}, None
        )
        jobs.run(again.job_id)
        assert Run.objects.get(pk=again.pk).state == RunState.FINISHED
        gc.collect()
        sizes.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
    assert max(sizes[3:]) - sizes[2] < 8 * 2**20, sizes


def test_a_run_in_two_processes_leaves_what_one_leaves(settings: Any) -> None:
    settings.TRAIN_PROCESSES = 2
    run = new_run(settings, max_steps=2, tuning="lora")
    jobs.run(run.job_id)
    run.refresh_from_db()
    assert (run.state, run.error, run.step) == (RunState.FINISHED, "", 2)
    assert run.preflight["processes"] == 2
    assert "adapter/adapter_model.safetensors" in {file["path"] for file in TrainedModel.objects.get(run=run).files}


def test_a_trained_model_is_evaluated_on_rows_of_a_version_with_what_is_known_of_them(settings: Any) -> None:
    from training.evaluations import start_evaluation
    from training.models import Evaluation

    run = new_run(settings)
    jobs.run(run.job_id)
    run.refresh_from_db()
    model = TrainedModel.objects.get(run=run)
    made = start_evaluation(model, run.version, None)
    jobs.run(made.job_id)
    made = Evaluation.objects.select_related("job").get(pk=made.pk)
    assert made.job.state == JobState.SUCCEEDED, made.job.error
    assert made.report["accuracy"] == run.evaluation["test"]["accuracy"]
    assert made.report["leaked_prompts"] == 0
    seen = start_evaluation(model, run.version, None, split="train")
    jobs.run(seen.job_id)
    seen.refresh_from_db()
    assert seen.report["leaked_prompts"] > 0


def test_an_evaluation_that_is_cancelled_leaves_no_process(settings: Any) -> None:
    from training.evaluations import start_evaluation

    run = new_run(settings)
    jobs.run(run.job_id)
    made = start_evaluation(TrainedModel.objects.get(run=run), run.version, None)
    worker = Worker(made.job_id)
    wait_for(lambda: Job.objects.get(pk=made.job_id).state == JobState.RUNNING)
    jobs.cancel(Job.objects.select_related("project").get(pk=made.job_id), actor=None)
    worker.join(120)
    made.refresh_from_db()
    assert Job.objects.get(pk=made.job_id).state == JobState.CANCELLED
    assert made.report == {}
    lock = made.folder / "lock"
    pid = json.loads(lock.read_text()).get("pid") if lock.exists() else None
    assert pid is None or not alive(int(pid))


def test_a_policy_writes_into_a_task_and_a_reward_model_judges_what_it_wrote(settings: Any) -> None:
    from feedback.models import Annotation, Instance
    from training import generations, scorings, winrates
    from training.models import Generation, Scoring

    run = new_run(settings, objective="dpo", max_steps=2)
    jobs.run(run.job_id)
    judging = services.start_run(run.version, "bt", run.base_model, QUICK | {"max_steps": 2}, None)
    jobs.run(judging.job_id)
    policy, reward = (TrainedModel.objects.select_related("run__project").get(run=one) for one in (run, judging))
    task = run.version.task
    for number in range(3):
        prompt = [{"role": "user", "content": f"Question {number}?"}]
        Instance.objects.create(
            task=task, external_id=f"i{number}", prompt=prompt, completions=[], prompt_hash=f"{number}"
        )
    wishes = {"best_of": 2, "max_new_tokens": 8, "prompts": 3}
    made = generations.start_generation(
        policy,
        task,
        run.version.created_by,
        task_name="Written",
        opponent=run.base_model,
        reward_model=reward,
        wishes=wishes,
    )
    jobs.run(made.job_id)
    made = Generation.objects.select_related("job", "task").get(pk=made.pk)
    assert made.job.state == JobState.SUCCEEDED, made.job.error
    assert made.report["instances"] + sum(made.report["left_out"].values()) == 3
    assert made.report["instances"] == made.task.instances.count() > 0
    scoring = scorings.start_scoring(reward, made.task, None)
    jobs.run(scoring.job_id)
    scoring = Scoring.objects.select_related("job").get(pk=scoring.pk)
    assert scoring.job.state == JobState.SUCCEEDED, scoring.job.error
    assert Annotation.objects.filter(annotator=scoring.annotator).count() == made.report["instances"]
    (rates,) = winrates.rates(winrates.said_in(made.task))
    assert {rates.model, rates.other} == set(generations.names_of(made))
