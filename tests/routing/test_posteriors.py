"""Soft labels of a routed version: judge and people weighed together, neither overwritten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from feedback.exceptions import InvalidInput
from feedback.models import Annotation, Annotator, Job, PreferenceMix
from feedback.preferences import TIE, A, B, Comparison, weighed
from feedback.services import datasets, jobs
from routing.models import RoutingPlan
from routing.services import posteriors
from tests.routing.planning_cast import World, go_on, in_rounds, label_open, make_world

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(transactional_db: None, settings: Any, tmp_path: Path) -> World:
    settings.FILES_DIR = tmp_path
    return make_world(votes=0)


def frozen(world: World, mix: Any, **changes: Any) -> tuple[Any, dict[str, dict[str, Any]]]:
    """(version, its rows by the instance's id)."""
    spec = {"sources": "mix", "mix": str(mix.public_id), "aggregation": "posterior", "formats": ["jsonl"]}
    version = datasets.create_version(world.cast.task, spec | changes, actor=world.cast.owner)
    jobs.run(Job.objects.get(kind="freeze", params__version=version.pk).pk)
    version.refresh_from_db()
    folder = datasets.folder_of(version)
    files = folder.rglob("*.jsonl") if folder.exists() else []
    lines = [line for path in files for line in path.read_text().splitlines()]
    return version, {row["id"]: row for row in map(json.loads, lines)}


def side(row: dict[str, Any], instance: Any) -> float:
    """P(the completion stored first is better), as the row says it."""
    first = instance.completions[0]["content"]
    return float(row["soft_label"] if row["chosen"] == first else 1 - row["soft_label"])


def test_one_noisy_person_does_not_undo_a_consistent_judge_in_a_version(
    transactional_db: None, settings: Any, tmp_path: Path
) -> None:
    settings.FILES_DIR = tmp_path
    world = make_world(size=240, votes=160)
    plan = in_rounds(world, 100)
    noisy = Annotator.objects.create(project=world.cast.project, kind="human", name="Careless")
    for number, instance in enumerate(world.instances[:16]):
        says(world, noisy, instance, world.truth[instance.pk] == (number % 2 == 0))
    labelled = Annotation.objects.filter(source="human").values("instance")
    consistent = Annotation.objects.filter(source="judge", details__order_consistent=True)
    judged = consistent.exclude(instance__in=labelled).select_related("instance")[0]
    a_better = judged.answers["overall"]["value"].startswith("a-")
    says(world, noisy, judged.instance, not a_better)
    plan.mix.sources[str(judged.instance.public_id)] = "human"
    plan.mix.save(update_fields=["sources"])
    version, rows = frozen(world, plan.mix)
    assert (version.state, version.error) == ("ready", "")
    row = rows[str(judged.instance.public_id)]
    assert (side(row, judged.instance) > 0.5) == a_better
    assert (row["source"], len(row["annotators"])) == ("human", 2)
    _, by_majority = frozen(world, plan.mix, aggregation="majority")
    assert (side(by_majority[str(judged.instance.public_id)], judged.instance) > 0.5) != a_better


def says(world: World, who: Any, instance: Any, a_better: bool) -> None:
    value = "a-is-clearly-better" if a_better else "b-is-clearly-better"
    answers = {"overall": {"value": value}}
    task = world.cast.task
    Annotation.objects.create(
        task=task, instance=instance, annotator=who, source="human", answers=answers, recorded=True
    )


def test_where_only_the_judge_spoke_its_own_word_stays(world: World) -> None:
    plan = in_rounds(world, 100)
    label_open(world)
    go_on(plan)
    plan.refresh_from_db()
    known = posteriors.posterior_of(plan.mix)
    assert known is not None
    assert len(known) == 25
    version, rows = frozen(world, plan.mix)
    for instance in world.instances:
        row = rows.get(str(instance.public_id))
        if row is None:
            continue
        if str(instance.public_id) in known:
            assert side(row, instance) == pytest.approx(known[str(instance.public_id)], abs=1e-6)
        else:
            assert side(row, instance) in (pytest.approx(0.9), pytest.approx(0.1))
    assert "Of 25 pairs the label is the posterior" in " ".join(version.card["notes"])


def test_a_label_that_came_after_the_last_round_counts(world: World) -> None:
    plan = in_rounds(world, 100)
    before = posteriors.posterior_of(plan.mix)
    label_open(world, 3)
    after = posteriors.posterior_of(plan.mix)
    assert (before, len(after or {})) == ({}, 3)


@pytest.mark.parametrize("sources", ["any", "human", "judge"])
def test_only_a_mix_can_be_weighed(world: World, sources: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        datasets.create_version(
            world.cast.task, {"sources": sources, "aggregation": "posterior"}, actor=world.cast.owner
        )
    assert "aggregation" in refused.value.errors


def test_a_mix_of_no_plan_is_refused_and_a_plan_that_is_gone_fails_in_words(world: World) -> None:
    mix = PreferenceMix.objects.create(task=world.cast.task, name="By hand", sources={})
    with pytest.raises(InvalidInput):
        frozen(world, mix)
    mix.origin = f"plan:{uuid4()}"
    mix.save(update_fields=["origin"])
    version, rows = frozen(world, mix)
    assert (version.state, rows) == ("failed", {})
    assert "plan that this mix is of is gone" in version.error
    assert not RoutingPlan.objects.exists()


def test_weighing_drops_what_counting_drops_and_names_the_side() -> None:
    judge, one = Comparison(1, "judge", -1), Comparison(2, "human", 2)
    assert [weighed([judge, one], p).label for p in (0.7, 0.5, 0.2)] == [A, TIE, B]  # type: ignore[union-attr]
    found = weighed([judge, one], 0.7)
    assert [used.source for used in found.used] == ["human", "judge"]  # type: ignore[union-attr]
    assert found.agreement == 0.5  # type: ignore[union-attr]
    assert weighed([Comparison(1, "human", None, both_bad=True)], 0.7) == "both bad"
    assert weighed([one], 0.7, minimum=2) == "too few annotations"
    with pytest.raises(ValueError, match="between 0 and 1"):
        weighed([one], 1.2)
