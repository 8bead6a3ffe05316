"""Tagging as a job: money, cache, stops and resumes; and tags as features of plans."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from feedback.exceptions import Conflict, InvalidInput, WrongState
from feedback.models import AnnotationRequest, Budget, Instance, Job
from feedback.services import jobs
from routing.judge.tagging import DIMENSIONS
from routing.models import DescriptiveTag, Judge, JudgeCall, Verdict
from routing.services import applying, judges, tagging
from routing.services.describing import described
from tests.routing.judge_endpoint import Handler, JudgeEndpoint, judge_endpoint
from tests.routing.judging_cast import (
    assert_money_adds_up,
    endpoint_judge,
    set_cap,
    simulated_judge,
    spent_on_calls,
)
from tests.routing.planning_cast import World, make_world, planned

pytestmark = pytest.mark.django_db

TWO = ("expertise_level", "format_constraints")


@pytest.fixture
def world(db: None) -> World:
    made = make_world(size=60, votes=20)
    set_cap(made.cast.task, 10**9)
    return made


@contextmanager
def serving(settings: Any, behave: Callable[[Handler], None]) -> Iterator[JudgeEndpoint]:
    with judge_endpoint(behave) as endpoint:
        settings.EGRESS_ALLOW = [f"127.0.0.1:{endpoint.port}"]
        yield endpoint


def tag_all(world: World, judge: Any, names: tuple[str, ...] = TWO, count: int | None = None) -> Job:
    job = tagging.start_tagging(world.cast.task, judge, names, count, actor=world.cast.owner)
    jobs.run(job.pk)
    job.refresh_from_db()
    return job


def level_of(prompt: str) -> str:
    return "expert domain knowledge" if len(prompt) > 200 else "general public"


def says(handler: Handler) -> None:
    """A model that knows long prompts for hard ones, and answers one prompt in ten with a sentence."""
    user = handler.body["messages"][1]["content"]
    prompt = re.split(r"<<<PROMPT \w+>>>\n|\n<<<END OF PROMPT", user)[1]
    if prompt.startswith("river"):
        handler.answer_chat("That depends.")
    elif "Which rules for the form" in user:
        handler.answer_chat(json.dumps({"options": ["length", "style"]}))
    else:
        handler.answer_chat(json.dumps({"option": level_of(prompt)}))


def test_tags_are_stored_paid_and_counted(world: World, settings: Any) -> None:
    with serving(settings, says) as endpoint:
        job = tag_all(world, endpoint_judge(world.cast, endpoint.base_url))
        assert job.state == "succeeded", job.error
        assert len(endpoint.bodies) == 120
        form = endpoint.bodies[0]["response_format"]["json_schema"]
        assert form["schema"]["additionalProperties"] is False
    rows = DescriptiveTag.objects.all()
    assert rows.count() == 120
    for row in rows.filter(dimension="expertise_level").select_related("instance"):
        prompt = row.instance.prompt[0]["content"]
        assert row.options == (None if prompt.startswith("river") else [level_of(prompt)])
    unread = rows.filter(options__isnull=True).count()
    assert 0 < unread < 60
    assert job.result["unread"] == unread
    assert job.result["spent_micros"] == spent_on_calls(world.cast.task) == 120 * 140
    assert_money_adds_up(world.cast.task)
    assert not Verdict.objects.exists()
    state = {one.dimension.name: one for one in tagging.states_of(world.cast.task)}["expertise_level"]
    assert (state.tagged, state.unread) == (60, rows.filter(dimension="expertise_level", options__isnull=True).count())


def test_nothing_is_asked_twice_and_the_same_prompt_once(world: World) -> None:
    Instance.objects.filter(pk=world.instances[1].pk).update(prompt=world.instances[0].prompt)
    judge = simulated_judge(world.cast)
    tag_all(world, judge)
    assert DescriptiveTag.objects.count() == 120
    assert JudgeCall.objects.count() == 118
    assert tag_all(world, judge).result["tagged"] == 0
    # prices and what verdicts need change nothing of the tags; a new version of the judge starts anew
    judges.edit_judge(judge, {**judge.config, "price_in": "5"}, actor=world.cast.owner)
    assert tag_all(world, Judge.objects.get(pk=judge.pk)).result["tagged"] == 0


def test_a_run_that_the_money_stops_is_gone_on_with(world: World) -> None:
    judge = simulated_judge(world.cast)
    needed = tagging.estimate(world.cast.task, judge, TWO, None)
    assert needed.instances == 60
    set_cap(world.cast.task, needed.most_micros // 20)
    first = tag_all(world, judge)
    assert first.state == "succeeded"
    assert first.state == "succeeded", first.error
    assert 0 < first.result["left"] < 60
    assert "raise the cap" in first.result["message"]
    assert_money_adds_up(world.cast.task)
    set_cap(world.cast.task, 10**9)
    assert tag_all(world, judge).result["left"] == 0
    assert DescriptiveTag.objects.count() == JudgeCall.objects.count() == 120
    assert spent_on_calls(world.cast.task) <= needed.most_micros


def test_a_cancelled_run_leaves_nothing_reserved(world: World) -> None:
    judge = simulated_judge(world.cast)
    job = tagging.start_tagging(world.cast.task, judge, TWO, None, actor=world.cast.owner)
    with pytest.raises(Conflict):
        tagging.start_tagging(world.cast.task, judge, TWO, None, actor=world.cast.owner)
    jobs.cancel(job, actor=world.cast.owner)
    running_job = tagging.start_tagging(world.cast.task, judge, TWO, None, actor=world.cast.owner)
    Job.objects.filter(pk=running_job.pk).update(cancel_requested=True)
    jobs.run(running_job.pk)
    running_job.refresh_from_db()
    assert running_job.state == "cancelled"
    assert Budget.objects.get(task=world.cast.task).reserved_micros == 0
    assert tag_all(world, judge).result["tagged"] == 60


def test_an_endpoint_that_is_away_ends_the_run_and_leaves_no_tag(world: World, settings: Any) -> None:
    with serving(settings, lambda handler: handler.answer_json({"error": "broken"}, 500)) as endpoint:
        job = tag_all(world, endpoint_judge(world.cast, endpoint.base_url))
    assert job.state == "failed"
    assert "10 times in a row" in job.error
    assert not DescriptiveTag.objects.exists()
    assert Budget.objects.get(task=world.cast.task).reserved_micros == 0


def test_tagging_ends_no_request_that_a_plan_made_of_the_judge(world: World) -> None:
    judge = simulated_judge(world.cast)
    plan = planned(World(world.cast, judge.annotator, world.instances, world.truth), "all_judge", 20)
    applying.apply_plan(plan, actor=world.cast.owner)
    Job.objects.filter(kind="judge").delete()
    asked = AnnotationRequest.objects.filter(source="judge", state="open").count()
    assert asked
    tag_all(world, judge)
    assert AnnotationRequest.objects.filter(source="judge", state="open").count() == asked


@pytest.mark.parametrize(
    ("names", "count", "field"),
    [((), None, "dimensions"), (("nothing",), None, "dimensions"), (TWO, 0, "count"), (TWO, 100_001, "count")],
)
def test_a_wish_that_makes_no_sense_is_refused(world: World, names: Any, count: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        tagging.start_tagging(world.cast.task, simulated_judge(world.cast), names, count, actor=world.cast.owner)
    assert list(refused.value.errors) == [field]


def test_a_retired_judge_and_a_panel_tag_nothing(world: World) -> None:
    judge = simulated_judge(world.cast)
    other = judges.create_judge(world.cast.project, "Other", {"backend": "simulated"}, actor=world.cast.owner)
    panel = judges.create_judge(
        world.cast.project,
        "Panel",
        {"backend": "panel", "members": [str(judge.public_id), str(other.public_id)]},
        actor=world.cast.owner,
    )
    with pytest.raises(InvalidInput, match="cannot be tagged"):
        tagging.start_tagging(world.cast.task, panel, TWO, None, actor=world.cast.owner)
    judges.retire_judge(judge, actor=world.cast.owner)
    with pytest.raises(WrongState):
        tagging.start_tagging(world.cast.task, Judge.objects.get(pk=judge.pk), TWO, None, actor=world.cast.owner)


def test_tags_of_all_instances_are_columns_of_plans(world: World, settings: Any) -> None:
    with serving(settings, says) as endpoint:
        tag_all(world, endpoint_judge(world.cast, endpoint.base_url))
    plan = planned(world, "adv_topk", 10)
    own = plan.summary["features"]["own"]
    assert "tagged:expertise_level=expert domain knowledge" in own
    assert "tagged:expertise_level=basic domain knowledge" not in own  # nobody carries it
    long = {one.pk for one in world.instances if len(one.prompt[0]["content"]) > 200}
    read = {pk for pk, options in tagging.said_of(world.cast.task)["expertise_level"].items() if options}
    found = described(world.cast.task)
    column = found.features.table.column("tagged:expertise_level=expert domain knowledge")
    assert {pk for pk, value in zip(found.ids, column, strict=True) if value} == long & read
    left_out = planned(world, "adv_topk", 10, left_out=["tagged:expertise_level"])
    assert not any(name.startswith("tagged:expertise_level") for name in left_out.summary["features"]["own"])


def test_a_tagged_part_teaches_the_rest_of_the_pool(settings: Any, db: None) -> None:
    world = make_world(size=400, votes=20)
    set_cap(world.cast.task, 10**9)
    with serving(settings, says) as endpoint:
        tag_all(world, endpoint_judge(world.cast, endpoint.base_url), ("expertise_level",), count=200)
    assert DescriptiveTag.objects.count() == 200
    found = described(world.cast.task)
    report = {one.name: one for one in found.tagged}["tagged:expertise_level=expert domain knowledge"]
    assert report.use == "learned"
    assert report.accuracy is not None
    assert report.accuracy > 0.9
    column = found.features.table.column("tagged:expertise_level=expert domain knowledge")
    long = np_long(world)
    assert (column == long).mean() > 0.9


def np_long(world: World) -> Any:
    return [float(len(one.prompt[0]["content"]) > 200) for one in world.instances]


def test_every_dimension_can_be_asked_at_once(world: World) -> None:
    tag_all(world, simulated_judge(world.cast), tuple(DIMENSIONS), count=12)
    assert DescriptiveTag.objects.count() == 12 * len(DIMENSIONS)
    assert {one.tagged for one in tagging.states_of(world.cast.task)} == {12}
