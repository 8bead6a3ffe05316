"""Rounds on the page and over REST: live progress, the next one now, stop, resume; and who may."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from annotate.api.plans import PlanCreation
from annotate.forms.routing import PlanForm
from feedback.models import Job
from feedback.services import jobs
from routing.services import applying, planning
from tests.annotate.test_routing_pages import at, wish
from tests.routing.planning_cast import PRICE, World, go_on, in_rounds, label_open, make_world, planned

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(db: None) -> World:
    return make_world(votes=0)


def test_rounds_are_what_the_form_offers_first(world: World, browser: Callable[..., Any]) -> None:
    cast = world.cast
    client = browser(cast.manager)
    page = client.get(at("plan-create", cast)).content.decode()
    assert re.search(r'<input[^>]*value="adaptive_advantage"[^>]*checked', page)
    made = client.post(
        at("plan-create", cast),
        wish(world, strategy="adaptive_advantage", budget="50", explore="10", least_points="3", most_labels="1"),
    )
    assert made.status_code == 302
    job = Job.objects.get(kind="plan")
    jobs.run(job.pk)
    page = client.get(made.headers["Location"]).content.decode()
    for words in ("Apply the plan", "What a budget buys", "For later rounds", "Rounds stop where the line is flat"):
        assert words in page
    plan = world.cast.task.plans.get()
    assert {name: plan.params[name] for name in ("explore", "least_points", "most_labels")} == {
        "explore": 10, "least_points": 3, "most_labels": 1,
    }  # fmt: skip
    client.post(at("plan-apply", cast, plan.public_id))
    page = client.get(made.headers["Location"]).content.decode()
    assert "0 of 25 instances of this round are labelled" in page
    assert "Next round now" in page


@pytest.mark.parametrize("changes", [{"explore": "50"}, {"least_points": "x"}, {"most_labels": "0"}])
def test_settings_of_rounds_that_make_no_sense_are_refused(
    world: World, browser: Callable[..., Any], changes: dict[str, str]
) -> None:
    answer = browser(world.cast.manager).post(
        at("plan-create", world.cast), wish(world, strategy="adaptive_advantage", **changes)
    )
    assert answer.status_code == 422
    assert not world.cast.task.plans.exists()


def test_a_plans_rules_are_set_on_the_page(world: World, browser: Callable[..., Any]) -> None:
    rules = {"floors": ["code", "reasoning"], "most_people": "9", "guarantee": "on"}
    made = browser(world.cast.manager).post(at("plan-create", world.cast), wish(world, **rules))
    assert made.status_code == 302
    params = world.cast.task.plans.get().params
    assert {name: params[name] for name in rules} == {
        "floors": ["code", "reasoning"], "most_people": 9, "guarantee": True,
    }  # fmt: skip
    refused = browser(world.cast.manager).post(
        at("plan-create", world.cast), wish(world, strategy="adaptive_advantage", guarantee="on", floors=["nonsense"])
    )
    assert refused.status_code == 422


def test_the_part_follows_the_labels_and_asks_for_itself_while_rounds_go_on(
    world: World, browser: Callable[..., Any]
) -> None:
    plan = in_rounds(world)
    client = browser(world.cast.manager)
    part = at("plan-progress", world.cast, plan.public_id)
    label_open(world, 7)
    page = client.get(part).content.decode()
    assert "7 of 25 instances" in page
    assert 'hx-trigger="every 5s"' in page
    label_open(world)
    go_on(plan)
    page = client.get(part).content.decode()
    assert f"0 of {plan.rounds.get(number=2).asked} instances" in page
    client.post(at("plan-stop", world.cast, plan.public_id))
    stopped = client.get(part)
    page = stopped.content.decode()
    assert stopped.headers["HX-Refresh"] == "true"
    assert "Stopped by hand." in page
    assert "hx-trigger" not in page
    assert "Resume" in page
    client.post(at("plan-resume", world.cast, plan.public_id))
    assert "hx-trigger" in client.get(part).content.decode()
    client.post(at("plan-next", world.cast, plan.public_id))
    assert "Learning from the labels" in client.get(part).content.decode()


def test_a_plan_that_asks_at_once_has_no_rounds(world: World, browser: Callable[..., Any]) -> None:
    plan = planned(world, "disagreement", 5)
    client = browser(world.cast.manager)
    assert client.get(at("plan-progress", world.cast, plan.public_id)).status_code == 404
    assert client.post(at("plan-next", world.cast, plan.public_id)).status_code == 409


def test_a_plan_that_asks_at_once_is_followed_to_its_end(world: World, browser: Callable[..., Any]) -> None:
    plan = planned(world, "disagreement", 5)
    applying.apply_plan(plan, actor=world.cast.owner)
    client = browser(world.cast.manager)
    part = at("plan-progress", world.cast, plan.public_id)
    label_open(world, 2)
    answer = client.get(part)
    page = answer.content.decode()
    for words in ("2 of 5", "155 of 155", 'hx-trigger="every 5s"', "$1.00", "$1.50", "Left"):
        assert words in page, words
    assert "HX-Refresh" not in answer.headers
    assert page.strip() in client.get(at("plan", world.cast, plan.public_id)).content.decode()
    label_open(world)
    answer = client.get(part)
    assert "hx-trigger" not in answer.content.decode()
    assert answer.headers["HX-Refresh"] == "true"
    assert browser(world.cast.outsider).get(part).status_code == 404


def test_the_page_turns_when_its_plan_is_there(world: World, browser: Callable[..., Any]) -> None:
    client = browser(world.cast.manager)
    client.post(at("plan-create", world.cast), wish(world, strategy="adaptive_advantage"))
    plan = world.cast.task.plans.get()
    part, page = at("job-part", world.cast, plan.job.public_id), at("plan", world.cast, plan.public_id)
    there = {"HX-Request": "true", "HX-Current-URL": f"http://testserver{page}"}
    assert "HX-Refresh" not in client.get(part, headers=there).headers
    jobs.run(plan.job.pk)
    assert client.get(part, headers=there).headers["HX-Refresh"] == "true"
    elsewhere = {"HX-Request": "true", "HX-Current-URL": "http://testserver/"}
    assert "HX-Refresh" not in client.get(part, headers=elsewhere).headers


def test_a_plans_settings_have_the_same_limits_everywhere() -> None:
    body, form = PlanCreation().fields, PlanForm.base_fields
    assert set(planning.LIMITS) <= set(body)
    for name, limits in planning.LIMITS.items():
        assert (body[name].min_value, body[name].max_value) == limits, name
        if name in form:
            assert (form[name].min_value, form[name].max_value) == limits, name


def test_stopping_tells_what_it_released(world: World, browser: Callable[..., Any]) -> None:
    plan = in_rounds(world)
    client = browser(world.cast.manager)
    page = client.post(at("plan-stop", world.cast, plan.public_id), {"take_back": "on"}, follow=True)
    assert "12.50" in page.content.decode()


def test_the_api_says_how_far_a_plan_is(world: World, api: Callable[..., Any]) -> None:
    plan = in_rounds(world)
    path = at("api-plan-progress", world.cast, plan.public_id).removeprefix("/api/v1/")
    label_open(world, 3)
    body = api(world.cast.manager).send("get", path).json()
    assert body == {
        "spent_micros": 3 * PRICE, "reserved_micros": 22 * PRICE, "left_micros": 75 * PRICE,
        "arms": [{"arm": "human", "asked": 25, "answered": 3}, {"arm": "judge", "asked": 135, "answered": 135}],
    }  # fmt: skip
    assert api(world.cast.outsider).send("get", path).status_code == 404


@pytest.mark.parametrize("name", ["plan-next", "plan-stop", "plan-resume"])
def test_outsiders_find_nothing_and_lesser_roles_change_nothing(
    world: World, browser: Callable[..., Any], name: str
) -> None:
    plan = in_rounds(world)
    cast = world.cast
    for person, status in ((cast.outsider, 404), (cast.annotator, 403), (cast.reviewer, 403)):
        assert browser(person).post(at(name, cast, plan.public_id)).status_code == status
    plan.refresh_from_db()
    assert (plan.course, plan.rounds.count()) == ("running", 1)
    assert browser(cast.outsider).get(at("plan-progress", cast, plan.public_id)).status_code == 404


def test_the_part_costs_as_many_queries_with_more_rounds(world: World, browser: Callable[..., Any]) -> None:
    plan = in_rounds(world)
    client = browser(world.cast.manager)
    part = at("plan-progress", world.cast, plan.public_id)
    client.get(part)
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as asked:
            client.get(part)
        counts.append(len(asked))
        label_open(world)
        go_on(plan)
    assert counts[0] == counts[1]


def test_the_api_lists_rounds_begins_stops_and_resumes(world: World, api: Callable[..., Any]) -> None:
    plan = in_rounds(world)
    client = api(world.cast.manager)

    def url(name: str) -> str:
        return reverse(name, args=[world.cast.project.public_id, plan.public_id]).removeprefix("/api/v1/")

    label_open(world, 5)
    (first,) = client.send("get", url("api-plan-rounds")).json()["rounds"]
    assert (first["number"], first["asked"], first["labelled"], first["ended_at"]) == (1, 25, 5, None)
    begun = client.send("post", url("api-plan-rounds"))
    assert (begun.status_code, begun.json()["course"]) == (202, "running")
    for job in Job.objects.filter(kind="plan", state="queued"):
        jobs.run(job.pk)
    newest = client.send("get", url("api-plan-rounds")).json()["rounds"][0]
    assert newest["number"] == 2
    second = client.send("get", url("api-decisions") + "?round=2").json()["results"]
    assert {one["superseded_at"] for one in second} == {None}
    replaced = client.send("get", url("api-decisions") + "?current=false").json()["results"]
    assert len(second) == len(replaced) == newest["asked"]
    stopped = client.send("post", url("api-plan-stop"), {"take_back": True}).json()
    assert (stopped["course"], stopped["course_reason"]) == ("stopped", "Stopped by hand.")
    assert client.send("post", url("api-plan-stop"), {}).status_code == 409
    assert client.send("post", url("api-plan-resume")).json()["course"] == "running"
    assert client.send("post", url("api-plan-resume")).status_code == 409
    assert client.send("post", url("api-plan-stop"), {"take_back": "maybe"}).status_code == 422


def test_the_pilot_says_what_each_size_costs_and_tells(world: World, browser: Callable[..., Any]) -> None:
    page = browser(world.cast.manager).get(at("routing", world.cast)).content.decode()
    assert "advised" in page
    assert "\u00b1 9.2" in page  # 1.645 · √(.75 · .25 / 60) points
    assert "$30.00" in page


def test_the_page_lists_what_moves_against_the_plan_before(world: World, browser: Callable[..., Any]) -> None:
    in_rounds(world)
    other = planned(world, "disagreement", 30)
    client = browser(world.cast.manager)
    page = client.get(at("plan", world.cast, other.public_id) + "?moved=on").content.decode()
    moves = applying.plan_diff(other, applying.previous_plan(other))
    moved = sum(count for (was, now), count in moves.items() if was != now)
    assert page.count(" →</span>") == min(moved, 50) > 0


def test_an_instance_says_why_it_went_where_it_went(world: World, browser: Callable[..., Any]) -> None:
    plan = in_rounds(world)
    label_open(world)
    go_on(plan)
    decision = plan.decisions.current().filter(round=2)[0]
    page = browser(world.cast.manager).get(at("instance", world.cast, decision.instance.public_id)).content.decode()
    for words in ("Its tags:", "believed that A is better", "round 2", "round 1", "replaced since"):
        assert words in page
