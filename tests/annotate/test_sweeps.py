"""Sweeps, comparisons and logs: on pages and as services."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from feedback.exceptions import InvalidInput, WrongState
from feedback.models import Job
from feedback.services import people
from tests.annotate.test_training_pages import FORM
from tests.annotate.trained import FIGURES, finished_run, queued_run, version_of
from training import comparing, sweeps
from training.ingest import LOG_TAIL
from training.models import Metric, Run, Sweep

Browser = Callable[..., Client]
GRID = {"learning_rate": [0.001, 0.0003], "margin_scale": [0.0, 0.5, 1.0]}


@pytest.fixture(autouse=True)
def places(settings: Any, tmp_path: Path) -> None:
    settings.FILES_DIR, settings.MODELS_DIR = tmp_path / "files", tmp_path / "models"


def page(cast: Any, rest: str) -> str:
    return f"/p/{cast.project.public_id}/{rest}"


def swept(cast: Any, grid: Any = None, key: str = "") -> Sweep:
    wishes = ("bt", "small", {"epochs": 2}, grid or GRID, cast.manager, key)
    return sweeps.start_sweep(version_of(cast), *wishes)


def ended(run: Run, accuracy: float, split: str = "test", **figures: Any) -> None:
    from django.utils import timezone

    now = timezone.now()
    evaluation = {split: FIGURES | {"accuracy": accuracy} | figures}
    Run.objects.filter(pk=run.pk).update(state="finished", started_at=now, ended_at=now, evaluation=evaluation)


def test_a_sweep_is_a_run_for_each_combination_with_options_in_their_place(cast: Any) -> None:
    sweep = swept(cast)
    configs = [run.config for run in sweep.runs.order_by("number")]
    assert len(configs) == Job.objects.count() == 6
    assert {(one["learning_rate"], one["objective_options"]["margin_scale"]) for one in configs} == {
        (rate, margin) for rate in GRID["learning_rate"] for margin in GRID["margin_scale"]
    }
    assert all(one["epochs"] == 2 for one in configs)


def test_the_same_key_makes_one_sweep(cast: Any) -> None:
    first, second = swept(cast, key="k"), swept(cast, key="k")
    assert first == second
    assert (Sweep.objects.count(), Run.objects.count()) == (1, 6)


@pytest.mark.parametrize(
    "grid",
    [
        {"learning_rate": [0.001]},
        {"learning_rate": [0.001, 0.001]},
        {"seed": list(range(25))},
        {"beta": [0.1, 0.2]},
        {"device": ["cpu", "cuda"]},
        {"epochs": []},
        {"epochs": [1, 0]},
        {},
    ],
)
def test_a_wrong_grid_starts_nothing(cast: Any, grid: Any) -> None:
    with pytest.raises(InvalidInput):
        swept(cast, grid or {"none": []})
    assert (Sweep.objects.count(), Run.objects.count(), Job.objects.count()) == (0, 0, 0)


def test_the_best_run_is_chosen_on_validation_rows_where_there_are_any(cast: Any) -> None:
    low, high, late = swept(cast, {"seed": [1, 2, 3]}).runs.order_by("number")
    assert sweeps.best_of([low, high, late]) is None
    ended(low, 0.6, "validation")
    ended(high, 0.9, "validation", log_loss=0.4)
    ended(late, 0.9, "validation", log_loss=0.3)
    runs = list(Run.objects.order_by("number"))
    assert (sweeps.chosen_by(runs), sweeps.best_of(runs)) == ("validation", late)


def test_the_form_starts_a_sweep_and_its_page_shows_the_best(cast: Any, browser: Browser) -> None:
    client = browser(cast.manager)
    body = FORM | {"version": str(version_of(cast).public_id), "key": "k"}
    vary = {"vary_0": "learning_rate", "values_0": "0.001, 0.0003", "vary_1": "schedule", "values_1": "linear cosine"}
    answers = [client.post(page(cast, "training/new/"), body | vary) for _ in range(2)]
    sweep = Sweep.objects.get()
    assert {answer["Location"] for answer in answers} == {page(cast, f"sweeps/{sweep.public_id}/")}
    assert sweep.grid == {"learning_rate": [0.001, 0.0003], "schedule": ["linear", "cosine"]}
    best = sweep.runs.order_by("number")[1]
    ended(best, 0.8)
    text = client.get(page(cast, f"sweeps/{sweep.public_id}/")).content.decode()
    assert "1 of 4 runs have ended" in text
    assert f"Run {best.number} is the best so far on the test rows" in text
    part = client.get(page(cast, f"sweeps/{sweep.public_id}/"), headers={"HX-Target": "sweep"}).content.decode()
    assert "<html" not in part
    assert client.post(page(cast, f"sweeps/{sweep.public_id}/cancel/")).status_code == 302
    assert not sweep.runs.active().exists()
    with pytest.raises(WrongState):
        sweeps.cancel_sweep(sweep, None)


@pytest.mark.parametrize(
    "wrong, field",
    [
        ({"vary_0": "learning_rate"}, "values_0"),
        ({"values_0": "1 2"}, "vary_0"),
        ({"vary_0": "epochs", "values_0": "1 many"}, "values_0"),
        ({"vary_0": "epochs", "values_0": "1 2", "vary_1": "epochs", "values_1": "3 4"}, "vary_1"),
        ({"vary_0": "device", "values_0": "cpu cuda"}, "vary_0"),
    ],
)
def test_a_wrong_sweep_is_told_at_its_field(cast: Any, browser: Browser, wrong: Any, field: str) -> None:
    body = FORM | {"version": str(version_of(cast).public_id)} | wrong
    answer = browser(cast.manager).post(page(cast, "training/new/"), body)
    assert answer.status_code == 422
    assert field in answer.context["form"].errors
    assert not Run.objects.exists()


def test_runs_are_compared_by_curve_setting_and_difference(cast: Any, browser: Browser) -> None:
    first, second = finished_run(cast), finished_run(cast)
    Run.objects.filter(pk=second.pk).update(config={"epochs": 9})
    for run, scores in ((first, (0.0, 1.0)), (second, (1.0, 1.0))):
        lines = [
            {"id": f"p{n}", "prompt_id": f"p{n}", "score_chosen": s, "score_rejected": 0.5, "split": "test"}
            for n, s in enumerate(scores)
        ]
        (run.folder / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    query = f"?run={first.public_id}&run={second.public_id}"
    client = browser(cast.viewer)
    text = client.get(page(cast, f"training/compare/{query}")).content.decode()
    assert "+0.500" in text
    assert '<tr class="setting-differs"><th scope="row">epochs</th>' in text
    answer = client.get(page(cast, f"training/compare/metrics/{query}&metric=loss")).json()
    points = [[1, 1.0], [2, 0.5]]
    assert answer == {
        "series": [{"name": str(run), "metric": "loss", "points": points} for run in (first, second)],
        "done": True,
    }
    assert client.get(page(cast, f"training/compare/metrics/{query}&metric=nothing")).status_code == 404


def test_a_comparison_needs_two_runs_of_this_project(cast: Any, browser: Browser) -> None:
    run = finished_run(cast)
    client = browser(cast.viewer)
    assert client.get(page(cast, "training/compare/")).status_code == 200
    for query in (f"run={run.public_id}", "run=x&run=y", "&".join(f"run={run.public_id}" for _ in range(9))):
        answer = client.get(page(cast, f"training/compare/?{query}"))
        assert answer.status_code == 422
        assert "Nothing to compare" in answer.content.decode()
    other = people.create_project("Elsewhere", owner=cast.outsider)
    both = f"run={run.public_id}&run={finished_run(cast).public_id}"
    stranger = browser(cast.outsider)
    assert stranger.get(f"/p/{other.public_id}/training/compare/?{both}").status_code == 422
    assert stranger.get(f"/p/{other.public_id}/training/compare/metrics/?{both}&metric=loss").status_code == 422
    sweep = swept(cast)
    assert stranger.get(f"/p/{other.public_id}/sweeps/{sweep.public_id}/").status_code == 404
    assert stranger.post(f"/p/{other.public_id}/sweeps/{sweep.public_id}/cancel/").status_code == 404
    assert browser(cast.viewer).post(page(cast, f"sweeps/{sweep.public_id}/cancel/")).status_code == 403
    assert sweep.runs.active().count() == 6


def test_comparing_and_sweeps_need_few_queries(cast: Any, browser: Browser, django_assert_max_num_queries: Any) -> None:
    sweep = swept(cast)
    runs = list(sweep.runs.all())
    Metric.objects.bulk_create(Metric(run=run, step=1, name="loss", value=1) for run in runs)
    client = browser(cast.viewer)
    query = "&".join(f"run={run.public_id}" for run in runs)
    with django_assert_max_num_queries(9):
        client.get(page(cast, f"training/compare/?{query}"))
    with django_assert_max_num_queries(9):
        client.get(page(cast, f"training/compare/metrics/?{query}&metric=loss"))
    with django_assert_max_num_queries(9):
        client.get(page(cast, f"sweeps/{sweep.public_id}/"))


def test_a_long_log_is_read_page_by_page_and_no_line_is_lost(cast: Any, browser: Browser) -> None:
    run = queued_run(cast)
    run.folder.mkdir(parents=True, exist_ok=True)
    lines = [f"line {n} <b>" for n in range(LOG_TAIL // 4)]
    (run.folder / "log.txt").write_text("\n".join(lines) + "\n")
    client, before, found = browser(cast.viewer), "", ""
    for _ in range(20):
        answer = client.get(page(cast, f"training/{run.public_id}/log/{before}"))
        found = answer.context["log"].text + found
        assert b"&lt;b&gt;" in answer.content
        if not answer.context["log"].start:
            break
        before = f"?before={answer.context['log'].start}"
    assert found.splitlines() == lines
    assert client.get(page(cast, f"training/{run.public_id}/log/?before=x")).status_code == 200


def test_settings_that_differ_come_first(cast: Any) -> None:
    runs = list(swept(cast).runs.all())
    rows = comparing.settings_beside(runs)
    assert {row.name for row in rows if row.differs} == set(GRID) == {row.name for row in rows[:2]}
