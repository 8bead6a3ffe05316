"""Descriptions are kept by content and version; the team's own columns count unless they are left out."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from django.utils import timezone

import routing.tasks  # noqa: F401 - registers the handlers, as a worker does
from feedback.exceptions import InvalidInput
from feedback.models import Annotation, Instance, Task
from feedback.services import jobs
from routing.features import table
from routing.features.table import FORMAT_VERSION, describe_pairs
from routing.features.texts import PairText
from routing.models import PairDescription, RoutingPlan, TaskFeatures
from routing.services import describing, encoders, task_features
from routing.services.describing import described, pair_text
from tests.routing.planning_cast import World, make_world, planned

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(db: None) -> World:
    return make_world()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pairs each call of the describer was given, as it runs."""
    seen: list[int] = []

    def counting(pairs: Any, **how: Any) -> Any:
        seen.append(len(pairs))
        return describe_pairs(pairs, **how)

    monkeypatch.setattr(describing, "describe_pairs", counting)
    return seen


def mark(world: World) -> None:
    """Every third instance is tagged hard; half are of law, and each has a number."""
    for number, instance in enumerate(world.instances):
        tags = ["hard"] if number % 3 == 0 else []
        instance.meta = {"tags": tags, "field": "law" if number % 2 else "art", "score": number}
    Instance.objects.bulk_update(world.instances, ["meta"])


def test_what_is_kept_is_what_describing_gives(world: World) -> None:
    found = described(world.cast.task)
    pairs = [pair for one in world.instances if (pair := pair_text(one))]
    fresh = describe_pairs(pairs)
    assert found.ids == tuple(one.pk for one in world.instances)
    assert found.features.table.names == fresh.table.names
    assert np.array_equal(found.features.table.values, fresh.table.values)
    assert np.array_equal(found.features.difference, fresh.difference)


def test_the_same_texts_are_described_once_in_whatever_task(world: World, counted: list[int]) -> None:
    described(world.cast.task)
    assert sum(counted) == len(world.instances)
    described(world.cast.task)
    other = Task.objects.get(pk=world.cast.task.pk)
    other.pk, other.name, other.public_id = None, "Another", uuid4()
    other.save()
    copies = [
        Instance(
            task=other,
            external_id=one.external_id,
            prompt=one.prompt,
            completions=one.completions,
            prompt_hash="0",
        )
        for one in world.instances
    ]
    Instance.objects.bulk_create(copies)
    again = described(other)
    assert len(again.ids) == len(world.instances)
    assert sum(counted) == len(world.instances)


def test_a_pool_that_changes_and_keeps_its_size_is_seen(world: World, counted: list[int]) -> None:
    """As many instances and the same newest one: the former cache took this for the same pool."""
    first, second = world.instances[:2]
    Instance.objects.filter(pk=first.pk).update(removed_at=timezone.now())
    before = described(world.cast.task)
    Instance.objects.filter(pk=first.pk).update(removed_at=None)
    Instance.objects.filter(pk=second.pk).update(removed_at=timezone.now())
    after = described(world.cast.task)
    assert before.ids[0] == second.pk
    assert after.ids[0] == first.pk
    assert sum(counted) == len(world.instances)


def test_another_version_describes_anew_and_throws_the_old_away(
    world: World, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    described(world.cast.task)
    monkeypatch.setattr(table, "FORMAT_VERSION", "features-x")
    monkeypatch.setattr(describing, "FORMAT_VERSION", "features-x")
    assert described(world.cast.task).recipe.startswith("features-x-")
    assert sum(counted) == 2 * len(world.instances)
    assert set(PairDescription.objects.values_list("recipe", flat=True)) == {"features-x-hashed-256-0"}


def test_the_version_names_these_values() -> None:
    """Other values for the same texts need another version, or what is kept would be taken for what is made now."""
    pairs = [
        PairText("Write a JSON list of 3 rivers in Europe?", "The Rhine, 1,230 km.\n- Danube", "I am sorry, I cannot."),
        PairText("Wie spät ist es?", "Zwölf.", "Zwölf Uhr 12.", turns=2),
    ]
    found = describe_pairs(pairs)
    rounded = np.round(np.concatenate([found.table.values, found.difference], axis=1), 3).astype(np.float64) + 0.0
    digest = hashlib.sha256(repr((found.table.names, rounded.tolist())).encode()).hexdigest()[:16]
    assert (FORMAT_VERSION, digest) == ("features-1", "8f1aae169452971b")


def test_instances_without_a_pair_are_looked_at_once(world: World, counted: list[int]) -> None:
    one = world.instances[0]
    several = [*one.completions, one.completions[0]]
    Instance.objects.create(
        task=world.cast.task, external_id="three", prompt=one.prompt, completions=several, prompt_hash="0"
    )
    assert describing.describe_missing(world.cast.task, encoders.way()) == len(world.instances) + 1
    assert describing.describe_missing(world.cast.task, encoders.way()) == 0
    assert len(described(world.cast.task).ids) == len(world.instances)


def test_tags_and_metadata_count_in_a_plan_and_stand_in_its_gain_by_tag(world: World) -> None:
    mark(world)
    plan = planned(world, "adv_topk", 20)
    assert plan.state == "ready", plan.error
    own = set(plan.summary["features"]["own"])
    assert {"tag:hard", "meta:field=law", "meta:field=art", "meta:score=low"} <= own
    found = described(world.cast.task)
    assert found.features.table.column("tag:hard").sum() == len(world.instances) / 3 // 1 + 1
    assert own & {row["tag"] for row in plan.summary["gain_by_tag"]}
    known = TaskFeatures.objects.get(task=world.cast.task)
    assert {one["name"] for one in known.columns} == own
    assert (known.size, known.recipe) == (len(world.instances), table.recipe())


def test_what_is_left_out_does_not_count_and_the_plan_remembers_it(world: World) -> None:
    mark(world)
    task_features.remember(world.cast.task, described(world.cast.task))
    task_features.leave_out(world.cast.task, ["meta:field"], actor=world.cast.owner)
    plan = planned(world, "adv_topk", 20)
    assert plan.params["left_out"] == ["meta:field"]
    assert not any(name.startswith("meta:field") for name in plan.summary["features"]["own"])
    assert "tag:hard" in plan.summary["features"]["own"]
    everything = planned(world, "adv_topk", 20, left_out=[])
    assert "meta:field=law" in everything.summary["features"]["own"]
    listed = {one.name: one.counts for one in task_features.own_sources(TaskFeatures.objects.get())}
    assert listed == {"tag:hard": True, "meta:field": False, "meta:score": True}


def test_people_can_be_given_all_that_a_team_tagged(world: World) -> None:
    mark(world)
    plan = planned(world, "adv_topk", 160, floors=["tag:hard"])
    assert plan.state == "ready"
    hard = {one.pk for number, one in enumerate(world.instances) if number % 3 == 0}
    human = set(plan.decisions.filter(arm="human").values_list("instance_id", flat=True))
    said = Annotation.objects.filter(task=world.cast.task, source="human")
    labelled = set(said.values_list("instance_id", flat=True))
    assert hard - labelled <= human


def test_a_source_that_is_not_there_is_refused_with_those_that_are(world: World) -> None:
    mark(world)
    task_features.remember(world.cast.task, described(world.cast.task))
    with pytest.raises(InvalidInput) as refused:
        task_features.leave_out(world.cast.task, ["meta:nothing"], actor=world.cast.owner)
    assert "meta:field" in refused.value.errors["left_out"]
    for wrong in ("meta:field", [1], ["x" * 300], [str(n) for n in range(201)]):
        with pytest.raises(InvalidInput):
            planned(world, "adv_topk", 5, left_out=wrong)
    assert not RoutingPlan.objects.exists()


def test_hostile_metadata_is_no_column_and_no_error(world: World) -> None:
    odd: list[dict[str, Any]] = [
        {"tags": "a, b ,,"},
        {"tags": [1, None, "x" * 500]},
        {"tags": {"a": 1}},
        {"": "\u202e"},
        {"n": 1e300},
    ]
    for number, instance in enumerate(world.instances):
        instance.meta = {**odd[number % len(odd)], "deep": [[[1]]], "long" * 90: True}
    Instance.objects.bulk_update(world.instances, ["meta"])
    names = described(world.cast.task).own.names
    assert {"tag:a", "tag:b"} <= set(names)
    assert all(len(name) < 260 for name in names)


def test_describing_is_one_job_at_a_time_and_goes_on_where_it_was(world: World, counted: list[int]) -> None:
    task = world.cast.task
    job = task_features.start_describing(task, actor=world.cast.owner)
    assert task_features.start_describing(task, actor=world.cast.owner) == job
    jobs.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.result["instances"]) == ("succeeded", len(world.instances))
    again = task_features.start_describing(task, actor=world.cast.owner)
    assert again != job
    jobs.run(again.pk)
    assert sum(counted) == len(world.instances)


def test_a_plan_after_describing_reads_no_texts(
    world: World, counted: list[int], django_assert_max_num_queries: Any
) -> None:
    described(world.cast.task)
    with django_assert_max_num_queries(4) as queries:
        described(world.cast.task)
    assert not any('"completions"' in one["sql"] for one in queries.captured_queries)
