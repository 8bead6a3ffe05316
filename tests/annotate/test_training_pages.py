"""The training pages: who may see and start runs, and what the form, the run page and its parts answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from tests.annotate.trained import another_version, checked_run, finished_run, foreign_version, queued_run, version_of
from training import services
from training.models import Run
from training.objectives.catalogue import OBJECTIVES

Browser = Callable[..., Client]
FORM = {
    "objective": "bt",
    "base_model": "small",
    "epochs": "2",
    "learning_rate": "0.001",
    "max_length": "256",
    "long_rows": "drop",
    "beta": "0.1",
    "margin_scale": "0",
    "label_smoothing": "0",
    "tokens_per_batch": "1024",
    "gradient_accumulation": "1",
    "warmup_steps": "0",
    "schedule": "cosine",
    "weight_decay": "0",
    "max_grad_norm": "1",
    "seed": "0",
    "checkpoint_every": "50",
    "precision": "fp32",
    "device": "auto",
}


@pytest.fixture(autouse=True)
def places(settings: Any, tmp_path: Path) -> None:
    settings.FILES_DIR, settings.MODELS_DIR = tmp_path / "files", tmp_path / "models"


def url(cast: Any, rest: str = "") -> str:
    return f"/p/{cast.project.public_id}/training/{rest}"


@pytest.mark.parametrize("who, status", [("viewer", 200), ("reviewer", 200), ("annotator", 403), ("outsider", 404)])
def test_members_who_may_look_see_the_runs(cast: Any, browser: Browser, who: str, status: int) -> None:
    run = finished_run(cast)
    client = browser(getattr(cast, who))
    for path in ("", f"{run.public_id}/", f"{run.public_id}/metrics/", f"{run.public_id}/log/"):
        assert client.get(url(cast, path)).status_code == status, path


@pytest.mark.parametrize("who, status", [("viewer", 403), ("reviewer", 403), ("annotator", 403), ("outsider", 404)])
def test_only_managers_start_cancel_and_resume(cast: Any, browser: Browser, who: str, status: int) -> None:
    run = queued_run(cast)
    client = browser(getattr(cast, who))
    body = FORM | {"version": str(version_of(cast).public_id)}
    assert client.get(url(cast, "new/")).status_code == status
    assert client.post(url(cast, "new/"), body).status_code == status
    assert client.post(url(cast, f"{run.public_id}/cancel/")).status_code == status
    assert client.post(url(cast, f"{run.public_id}/resume/")).status_code == status
    run.refresh_from_db()
    assert (run.state, Run.objects.count()) == ("queued", 1)
    waiting = checked_run(cast)
    assert client.post(url(cast, f"{waiting.public_id}/start/")).status_code == status
    waiting.refresh_from_db()
    assert (waiting.state, waiting.check_first) == ("checked", True)


def test_a_run_of_another_project_is_not_there(cast: Any, browser: Browser) -> None:
    from feedback.services.people import create_project

    run = finished_run(cast)
    other = create_project("Elsewhere", owner=cast.outsider)
    client = browser(cast.outsider)
    for part in ("", "metrics/", "log/"):
        assert client.get(f"/p/{other.public_id}/training/{run.public_id}/{part}").status_code == 404
    assert client.post(f"/p/{other.public_id}/training/{run.public_id}/cancel/").status_code == 404
    refused = client.post(f"/p/{other.public_id}/training/new/", FORM | {"version": str(version_of(cast).public_id)})
    assert refused.status_code == 422
    assert Run.objects.count() == 1


def test_the_form_starts_one_run_however_often_it_is_sent(cast: Any, browser: Browser) -> None:
    client = browser(cast.manager)
    body = FORM | {"version": str(version_of(cast).public_id), "key": "k1"}
    first, second = client.post(url(cast, "new/"), body), client.post(url(cast, "new/"), body)
    run = Run.objects.get()
    assert first.status_code == second.status_code == 302
    assert first["Location"] == second["Location"] == url(cast, f"{run.public_id}/")
    assert run.config["epochs"] == 2
    assert run.config["objective_options"] == {"margin_scale": 0.0, "label_smoothing": 0.0}
    assert "max_steps" not in run.config


def test_a_run_is_checked_shown_and_then_started(cast: Any, browser: Browser) -> None:
    client = browser(cast.manager)
    body = FORM | {"version": str(version_of(cast).public_id), "check": "1"}
    shown = client.post(url(cast, "new/"), body)["Location"]
    run = Run.objects.get()
    assert (run.state, run.check_first) == ("queued", True)
    assert 'class="run-curves"' not in client.get(shown).content.decode()
    run = checked_run(cast, run)
    text = client.get(shown).content.decode()
    for said in ("Start the run", "2 of 3 train rows", "&lt;script&gt;first row", "longer than max_length", "row-9"):
        assert said in text, said
    assert f"{shown}start/" in text
    assert client.post(f"{shown}start/")["Location"] == shown
    run.refresh_from_db()
    assert (run.state, run.check_first, run.job.state) == ("queued", False, "queued")
    assert client.post(f"{shown}start/").status_code == 409


def test_a_checked_run_can_be_discarded_or_asked_for_otherwise(cast: Any, browser: Browser) -> None:
    run = checked_run(cast)
    client = browser(cast.manager)
    again = client.get(f"{url(cast, 'new/')}?like={run.public_id}").context["form"]
    assert (again["epochs"].value(), again["version"].value()) == (7, run.version.public_id)
    assert (again["evaluate_every"].value(), again["learning_rate"].value()) == (None, 5e-5)  # it was asked for neither
    assert client.get(f"{url(cast, 'new/')}?like=nothing").status_code == 200
    assert client.post(url(cast, f"{run.public_id}/cancel/")).status_code == 302
    run.refresh_from_db()
    assert run.state == "cancelled"
    assert "Check again" in client.get(url(cast, f"{run.public_id}/")).content.decode()


def test_the_settings_of_a_run_are_kept_for_the_next_one(cast: Any, browser: Browser) -> None:
    version, other = version_of(cast), another_version(cast)
    client, chosen = browser(cast.manager), {"max_prompt_length": "64", "held_out": str(other.public_id)}
    client.post(url(cast, "new/"), FORM | {"version": str(version.public_id)} | chosen)
    run = Run.objects.get()
    assert (run.held_out, run.config["max_prompt_length"]) == (other, 64)
    again = client.get(f"{url(cast, 'new/')}?like={run.public_id}").context["form"]
    assert (again["held_out"].value(), again["max_prompt_length"].value()) == (other.public_id, 64)
    assert str(other) in client.get(url(cast, f"{run.public_id}/")).content.decode()


def test_another_projects_version_is_not_evaluated_on(cast: Any, browser: Browser) -> None:
    foreign = foreign_version(cast)
    body = FORM | {"version": str(version_of(cast).public_id), "held_out": str(foreign.public_id)}
    answer = browser(cast.manager).post(url(cast, "new/"), body)
    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == ["held_out"]
    assert not Run.objects.exists()


def test_a_run_that_was_started_while_it_was_discarded_is_stopped(cast: Any) -> None:
    run = checked_run(cast)
    services.start_checked(run, cast.manager)
    services.cancel_run(run, cast.manager)  # as it was before
    services.settle(cast.project)
    run.refresh_from_db()
    assert (run.state, run.job.state) == ("cancelled", "cancelled")


def test_those_who_only_look_see_the_report_and_no_start(cast: Any, browser: Browser) -> None:
    run = checked_run(cast)
    text = browser(cast.viewer).get(url(cast, f"{run.public_id}/")).content.decode()
    assert "Before the start" in text
    assert "/start/" not in text


def test_what_votes_heads_and_segments_say_is_shown(cast: Any, browser: Browser) -> None:
    run = finished_run(cast)
    heads = {"heads": 4, "mean_sd": 0.25, "unanimous": 0.5, "accuracy_unanimous": 0.875, "accuracy_split": None}
    marks = {"items": {"segments": 1200, "marked": 30, "auc": 0.8125}, "<b>": {"segments": 9, "marked": 0, "auc": None}}
    evaluation = {"test": run.evaluation["test"] | {"ensemble": heads, "segments": marks}}
    votes = {"pairs": 1500, "flipped": 151, "softened": 149}
    Run.objects.filter(pk=run.pk).update(evaluation=evaluation, votes=votes)
    text = browser(cast.viewer).get(url(cast, f"{run.public_id}/")).content.decode()
    for said in ("0.875", "0.250", ">items</th>", "1,200", "0.813", "&lt;b&gt;", "1,500", "151", "149"):
        assert said in text, said
    plain = browser(cast.viewer).get(url(cast, f"{finished_run(cast).public_id}/")).content.decode()
    assert not any(part in plain for part in ('id="votes"', 'id="segments"', "Where its heads differ"))


def test_several_runs_at_once_are_not_checked(cast: Any, browser: Browser) -> None:
    body = FORM | {"version": str(version_of(cast).public_id), "check": "1", "vary_0": "seed", "values_0": "0 1"}
    answer = browser(cast.manager).post(url(cast, "new/"), body)
    assert answer.status_code == 422
    assert answer.context["form"].errors["vary_0"] == ["Several runs start at once; check one by itself."]
    assert not Run.objects.exists()


def test_the_form_keeps_the_options_that_the_objective_reads_and_leaves_others_out(cast: Any, browser: Browser) -> None:
    chosen = {"objective": "ensemble", "heads": "3", "combine": "worst", "beta": "0.5", "margin_scale": ""}
    body = FORM | {"version": str(version_of(cast).public_id)} | chosen
    assert browser(cast.manager).post(url(cast, "new/"), body).status_code == 302
    run = Run.objects.get()
    assert run.config["objective_options"] == {"heads": 3, "combine": "worst", "label_smoothing": 0.0}
    assert run.kind == "reward-model"


def test_an_option_out_of_its_range_is_told_at_its_field(cast: Any, browser: Browser) -> None:
    body = FORM | {"version": str(version_of(cast).public_id), "objective": "dpo", "beta": "-1"}
    answer = browser(cast.manager).post(url(cast, "new/"), body)
    assert answer.status_code == 422
    assert answer.context["form"].errors["beta"] == ["Should be greater than 0."]


def test_the_form_tells_of_every_objective(cast: Any, browser: Browser) -> None:
    version_of(cast)
    text = browser(cast.manager).get(url(cast, "new/")).content.decode()
    for objective in OBJECTIVES.values():
        assert f'<option value="{objective.name}"' in text
        assert f'data-read-by="{objective.name}"' in text


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": "nan"},
        {"epochs": "0"},
        {"base_model": "folder:../x"},
        {"version": "not-a-uuid"},
        {"version": str(uuid4())},
        {"tokens_per_batch": "64"},
        {"objective": "ppo"},
        {"device": "tpu"},
        {"seed": "9" * 400},
    ],
)
def test_a_wrong_form_comes_back_with_the_reason_and_starts_nothing(cast: Any, browser: Browser, wrong: Any) -> None:
    body = FORM | {"version": str(version_of(cast).public_id)} | wrong
    answer = browser(cast.manager).post(url(cast, "new/"), body)
    assert answer.status_code == 422
    assert b"errorlist" in answer.content or b"notice-danger" in answer.content
    assert not Run.objects.exists()


def test_the_page_of_a_waiting_run_polls_and_reloads_once_it_has_ended(cast: Any, browser: Browser) -> None:
    run = queued_run(cast)
    client = browser(cast.manager)
    page = client.get(url(cast, f"{run.public_id}/")).content.decode()
    assert "Waiting for a worker" in page
    assert 'hx-trigger="every 2s"' in page
    assert 'data-refresh="3000"' in page
    client.post(url(cast, f"{run.public_id}/cancel/"))
    part = client.get(url(cast, f"{run.public_id}/"), headers={"HX-Request": "true", "HX-Target": "live"})
    assert part["HX-Refresh"] == "true"
    assert "every 2s" not in part.content.decode()
    assert "Resume" in part.content.decode()


def test_the_page_of_a_finished_run_shows_figures_lineage_and_model(cast: Any, browser: Browser) -> None:
    run = finished_run(cast)
    page = browser(cast.viewer).get(url(cast, f"{run.public_id}/")).content.decode()
    for words in ("0.750", "0.55–0.90", "Version 1, 2 rows", "Small demo model", str(run.model.public_id)):
        assert words in page
    assert "Cancel" not in page


def test_curves_say_when_there_is_nothing_more_to_come(cast: Any, browser: Browser) -> None:
    run = finished_run(cast)
    client = browser(cast.viewer)
    answer = client.get(url(cast, f"{run.public_id}/metrics/?group=loss")).json()
    assert answer == {"series": [{"name": "Training", "metric": "loss", "points": [[1, 1.0], [2, 0.5]]}], "done": True}
    assert client.get(url(cast, f"{run.public_id}/metrics/?group=../x")).status_code == 404


def test_the_log_is_text_whatever_the_process_prints(cast: Any, browser: Browser) -> None:
    run = finished_run(cast)
    (run.folder / "log.txt").write_bytes(b"<script>alert(1)</script> \xff\x00")
    page = browser(cast.viewer).get(url(cast, f"{run.public_id}/log/")).content.decode()
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page


def test_the_list_needs_as_many_queries_for_twenty_runs_as_for_one(
    cast: Any, browser: Browser, django_assert_max_num_queries: Any
) -> None:
    for _ in range(20):
        queued_run(cast)
    finished_run(cast)
    client = browser(cast.viewer)
    with django_assert_max_num_queries(9):
        assert client.get(url(cast)).status_code == 200


def test_long_lists_have_a_next_page(cast: Any, browser: Browser) -> None:
    from feedback.models import Job

    first = queued_run(cast)
    Run.objects.bulk_create(
        Run(
            project=cast.project,
            number=n,
            version=first.version,
            objective="bt",
            base_model="small",
            config={},
            job=Job.objects.get(),
        )
        for n in range(2, 56)
    )
    client = browser(cast.viewer)
    page = client.get(url(cast)).content.decode()
    assert "?before=6" in page
    assert "Run 55" in page
    assert ">Run 5<" in client.get(url(cast, "?before=6")).content.decode()
    assert client.get(url(cast, "?before=" + "9" * 99)).status_code == 200


def test_a_run_that_left_most_rows_out_says_so(cast: Any, browser: Browser) -> None:
    run = finished_run(cast)
    split = {"rows": 337, "kept": 52, "truncated": {"count": 0}, "dropped": [], "tokens": 1, "longest": 9}
    Run.objects.filter(pk=run.pk).update(preflight={"splits": {"train": split | {"kept": 337}, "test": split}})
    body = browser(cast.viewer).get(url(cast, f"{run.public_id}/")).content.decode()
    assert "Left out: 285 of 337 test rows" in body
    assert "train rows" not in body
