"""Routing's pages and API: plan, look, apply once; who may; and hostile input."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse

from annotate.forms.routing import PlanForm
from feedback.models import AnnotationRequest, Job, Membership
from feedback.services import jobs, people
from routing.models import RoutingPlan
from routing.services import applying, planning
from tests.conftest import Cast, make_cast
from tests.routing.judging_cast import set_cap, simulated_judge
from tests.routing.planning_cast import PRICE, World, make_world, planned

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(db: None) -> World:
    return make_world()


def at(name: str, cast: Cast, *args: Any) -> str:
    return reverse(name, args=[cast.project.public_id, *args])


def wish(world: World, **changes: Any) -> dict[str, Any]:
    fields = {
        "task": world.cast.task.public_id, "strategy": "disagreement", "budget": "6", "labels": "1", "kind": "gp",
        "judge": world.judge.public_id, "seed": "0",
    }  # fmt: skip
    return {**fields, **changes}


def test_a_task_without_instances_says_what_a_plan_needs(browser: Callable[..., Any]) -> None:
    cast = make_cast(instances=0)
    page = browser(cast.manager).get(at("routing", cast)).content.decode()
    assert "Nothing to route yet" in page


def test_a_manager_plans_looks_and_applies(world: World, browser: Callable[..., Any]) -> None:
    cast = world.cast
    client = browser(cast.manager)
    assert "Compute the plan" in client.get(at("plan-create", cast)).content.decode()
    made = client.post(at("plan-create", cast), wish(world))
    plan = RoutingPlan.objects.get()
    assert made.headers["Location"] == at("plan", cast, plan.public_id)
    assert 'class="job"' in client.get(made.headers["Location"]).content.decode()
    jobs.run(Job.objects.get(kind="plan").pk)
    page = client.get(made.headers["Location"]).content.decode()
    for words in ("Apply the plan", "What a budget buys", "Where people gain over the judge", "92"):
        assert words in page
    curve = json.loads(re.findall(r'<script id="plan-budget-data"[^>]*>(.*?)</script>', page, re.DOTALL)[0])
    assert len(curve["points"]) == 21
    applied = client.post(at("plan-apply", cast, plan.public_id), follow=True)
    assert "$6.00 is reserved" in applied.content.decode()
    assert "Waiting for labels" in applied.content.decode()
    assert client.post(at("plan-apply", cast, plan.public_id)).status_code == 409
    assert AnnotationRequest.objects.filter(source="human", state="open").count() == 12


def test_every_field_of_a_plan_is_on_the_form_and_a_fold_opens_where_something_is_wrong(
    world: World, browser: Callable[..., Any]
) -> None:
    client = browser(world.cast.manager)
    page = client.get(at("plan-create", world.cast)).content.decode()
    for name in PlanForm.base_fields:
        assert f'name="{name}"' in page, name
    for strategy in planning.offered():
        assert page.count(f'value="{strategy.name}"') == 1, strategy.name
    assert '<details class="fold" open>' not in page
    refused = client.post(at("plan-create", world.cast), wish(world, explore="99", strategy="hyper_topk"))
    assert refused.content.decode().count('<details class="fold" open>') == 2
    assert not RoutingPlan.objects.exists()


def test_the_page_shows_what_a_new_plan_moves(world: World, browser: Callable[..., Any]) -> None:
    applying.apply_plan(planned(world, "all_judge", 0), actor=world.cast.owner)
    plan = planned(world, "disagreement", 7)
    page = browser(world.cast.viewer).get(at("plan", world.cast, plan.public_id)).content.decode()
    assert "Against the plan before" in page
    assert re.search(r"<td>Judge</td><td>People</td><td class=\"numeric\">87</td>", page)
    assert "Apply the plan" not in page


def test_decisions_are_filtered_and_paged(
    world: World, browser: Callable[..., Any], django_assert_max_num_queries: Any
) -> None:
    path = at("plan", world.cast, planned(world, "disagreement", 7).public_id)
    client = browser(world.cast.viewer)
    client.get(path)
    with django_assert_max_num_queries(20):
        page = client.get(path).content.decode()
    assert page.count('<td class="mono nowrap">') == 50
    assert "?page=2#decisions" in page
    assert client.get(f"{path}?arm=judge&page=2").content.decode().count('<td class="mono nowrap">') == 23
    for hostile in ("?page=-1", "?page=99999999999", "?page=²", "?arm=%00", "?arm=x&page=a"):
        assert client.get(path + hostile).status_code == 200


def test_moving_the_budget_offers_a_plan_there(world: World, browser: Callable[..., Any]) -> None:
    plan = planned(world, "disagreement", 7)
    client = browser(world.cast.manager)
    part = client.post(at("plan-preview", world.cast, plan.public_id), {"budget": "9.5"}).content.decode()
    assert "Plan at $9.50" in part
    made = client.post(at("plan-again", world.cast, plan.public_id), {"budget": "9.5"})
    again = RoutingPlan.objects.exclude(pk=plan.pk).get()
    assert (again.budget_micros, again.strategy, again.params) == (9_500_000, plan.strategy, plan.params)
    assert made.headers["Location"] == at("plan", world.cast, again.public_id)
    assert client.post(at("plan-again", world.cast, plan.public_id), {"budget": "NaN"}).status_code == 422


@pytest.mark.parametrize(
    "changes",
    [
        {"strategy": "oracle"}, {"budget": "-1"}, {"budget": "NaN"}, {"budget": "1e400"}, {"judge": "x"},
        {"labels": "99"}, {"seed": "-1"}, {"kind": "magic"},
    ],
)  # fmt: skip
def test_a_plan_that_makes_no_sense_is_refused(
    world: World, browser: Callable[..., Any], changes: dict[str, Any]
) -> None:
    answer = browser(world.cast.manager).post(at("plan-create", world.cast), wish(world, **changes))
    assert answer.status_code == 422
    assert not RoutingPlan.objects.exists()


def test_a_failed_plan_says_why(browser: Callable[..., Any]) -> None:
    world = make_world(votes=0)
    plan = planned(world, "adv_topk", 5)
    page = browser(world.cast.viewer).get(at("plan", world.cast, plan.public_id)).content.decode()
    assert "label a pilot first" in page


def test_the_pilot_is_drawn_from_the_page(cast: Cast, browser: Callable[..., Any]) -> None:
    judge = simulated_judge(cast)
    set_cap(cast.task, 10**9)
    body = {"task": cast.task.public_id, "count": "2", "labels": "1", "judge": judge.public_id}
    answer = browser(cast.manager).post(at("pilot-start", cast), body, follow=True)
    assert "2 instances are drawn at random" in answer.content.decode()
    assert Job.objects.filter(kind="judge").count() == 1


def test_a_pilot_the_budget_does_not_cover_is_told(cast: Cast, browser: Callable[..., Any]) -> None:
    body = {"task": cast.task.public_id, "count": "2", "labels": "1", "judge": ""}
    answer = browser(cast.manager).post(at("pilot-start", cast), body)
    assert answer.status_code == 422
    assert "does not cover" in answer.content.decode()
    assert not RoutingPlan.objects.exists()


@pytest.mark.parametrize(
    "name", ["routing", "plan-create", "plan", "plan-apply", "plan-again", "plan-preview", "pilot-start"]
)
def test_outsiders_find_nothing_and_lesser_roles_change_nothing(
    world: World, browser: Callable[..., Any], name: str
) -> None:
    cast, plan = world.cast, planned(world, "random", 3)
    path = at(name, cast, *([] if name in ("routing", "plan-create", "pilot-start") else [plan.public_id]))
    for method in ("get", "post"):
        assert getattr(browser(cast.outsider), method)(path).status_code in (404, 405)
    if name not in ("routing", "plan", "plan-preview"):
        for user in (cast.viewer, cast.annotator, cast.reviewer):
            assert browser(user).post(path, wish(world, count="1")).status_code == 403
    assert RoutingPlan.objects.count() == 1
    assert not AnnotationRequest.objects.exists()


def test_the_api_plans_applies_once_and_lists_decisions(world: World, api: Callable[..., Any]) -> None:
    client, base = api(world.cast.manager), f"projects/{world.cast.project.public_id}/plans/"
    body = {
        "task": str(world.cast.task.public_id), "strategy": "adv_topk", "budget_micros": 5 * PRICE,
        "judge": str(world.judge.public_id), "pilot": [str(i.public_id) for i in world.instances[:70]],
    }  # fmt: skip
    made = client.send("post", base, body, **{"Idempotency-Key": "p"})
    assert made.status_code == 202, made.json()
    assert client.send("post", base, body, **{"Idempotency-Key": "p"}).json()["id"] == made.json()["id"]
    jobs.run(Job.objects.get(kind="plan").pk)
    path = f"{base}{made.json()['id']}/"
    ready = client.send("get", path).json()
    assert (ready["state"], ready["summary"]["labelled"]) == ("ready", 70)
    human = client.send("get", f"{path}decisions/?arm=human&limit=200").json()["results"]
    assert len(human) == ready["summary"]["counts"]["human"]
    assert {"instance", "arm", "score", "reason", "propensity"} <= set(human[0])
    applied = client.send("post", f"{path}apply/")
    assert (applied.status_code, applied.json()["plan"]["state"]) == (200, "applied")
    again = client.send("post", f"{path}apply/")
    assert (again.status_code, again.json()["code"]) == (409, "wrong-state")
    assert client.send("get", f"{base}?state=applied").json()["results"][0]["id"] == made.json()["id"]


def test_the_api_draws_a_pilot(cast: Cast, api: Callable[..., Any]) -> None:
    set_cap(cast.task, 10**9)
    body = {"task": str(cast.task.public_id), "count": 2}
    made = api(cast.manager).send("post", f"projects/{cast.project.public_id}/pilots/", body)
    assert (made.status_code, made.json()["strategy"]) == (201, "pilot")


@pytest.mark.parametrize(
    ("changes", "statuses"),
    [
        ({"strategy": "oracle"}, {400, 422}),
        ({"budget_micros": -1}, {400, 422}),
        ({"budget_micros": 10**30}, {400, 422}),
        ({"judge": "00000000-0000-0000-0000-000000000000"}, {404}),
        ({"task": "00000000-0000-0000-0000-000000000000"}, {404}),
        ({"pilot": ["x"]}, {400, 422}),
        ({"seed": 2**40}, {400, 422}),
    ],
)
def test_the_api_refuses_a_bad_plan(
    world: World, api: Callable[..., Any], changes: dict[str, Any], statuses: set[int]
) -> None:
    body = {
        "task": str(world.cast.task.public_id), "strategy": "random", "budget_micros": 0,
        "judge": str(world.judge.public_id), **changes,
    }  # fmt: skip
    answer = api(world.cast.manager).send("post", f"projects/{world.cast.project.public_id}/plans/", body)
    assert answer.status_code in statuses
    assert not RoutingPlan.objects.exists()


def test_the_api_lets_only_managers_plan(world: World, api: Callable[..., Any]) -> None:
    plan, base = planned(world, "random", 3), f"projects/{world.cast.project.public_id}/plans/"
    for path in (base, f"{base}{plan.public_id}/", f"{base}{plan.public_id}/decisions/"):
        assert api(world.cast.outsider).send("get", path).status_code == 404
    assert api(world.cast.viewer).send("post", f"{base}{plan.public_id}/apply/").status_code == 403
    assert api(world.cast.manager, "read").send("post", f"{base}{plan.public_id}/apply/").status_code == 403
    assert not AnnotationRequest.objects.exists()


def arm_row(number: int, **fields: str) -> dict[str, str]:
    return {f"arms-{number}-{name}": value for name, value in fields.items()}


ROWS = {"arms-TOTAL_FORMS": "2", "arms-INITIAL_FORMS": "0"} | arm_row(1, kind="expert", labels="1")


@pytest.fixture
def lawyer(world: World) -> World:
    member = Membership.objects.get(project=world.cast.project, user=world.cast.reviewer)
    people.set_abilities(member, skills=["law"], actor=world.cast.owner)
    return world


def test_a_manager_adds_experts_and_sees_what_each_arm_gets(lawyer: World, browser: Callable[..., Any]) -> None:
    world, client = lawyer, browser(lawyer.cast.manager)
    page = client.get(at("plan-create", world.cast)).content.decode()
    assert page.count('<fieldset class="routing-arm">') == 2
    assert '<option value="law">law</option>' in page
    lawyers = arm_row(0, name="Lawyers", kind="expert", skill="law", price="1.50", labels="1", capacity="5")
    sent = wish(world, strategy="adv_per_cost", budget="100", **ROWS, **lawyers, **{"arms-0-accuracy": "99"})
    assert client.post(at("plan-create", world.cast), sent).status_code == 302
    plan = world.cast.task.plans.get()
    assert plan.params["arms"] == [
        {
            "name": "Lawyers", "kind": "expert", "skill": "law", "price_micros": 1_500_000, "labels": 1,
            "capacity": 5, "accuracy": 99,
        }
    ]  # fmt: skip
    jobs.run(plan.job.pk)
    page = client.get(at("plan", world.cast, plan.public_id)).content.decode()
    assert re.search(r"<td>Lawyers</td><td>law</td>.*?\$1\.50.*?<td class=\"numeric\">5</td></tr>", page)
    assert "Lawyers</span>" in page


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "L", "kind": "expert", "price": "1", "labels": "1"}, "experts are people with a skill"),
        ({"name": "", "kind": "expert", "skill": "law", "price": "1", "labels": "1"}, "This field is required"),
        ({"name": "L", "kind": "expert", "skill": "magic", "price": "1", "labels": "1"}, "Select a valid choice"),
    ],
)
def test_an_arm_that_makes_no_sense_is_told_on_the_form(
    lawyer: World, browser: Callable[..., Any], fields: dict[str, str], words: str
) -> None:
    sent = wish(lawyer, strategy="adv_per_cost", **ROWS, **arm_row(0, **fields))
    answer = browser(lawyer.cast.manager).post(at("plan-create", lawyer.cast), sent)
    assert answer.status_code == 422
    assert words in answer.content.decode()
    assert not RoutingPlan.objects.exists()


def test_the_api_takes_arms_and_names_them_in_decisions(lawyer: World, api: Callable[..., Any]) -> None:
    client, task = api(lawyer.cast.manager), str(lawyer.cast.task.public_id)
    base = f"projects/{lawyer.cast.project.public_id}/plans/"
    body: dict[str, Any] = {
        "task": task, "strategy": "adv_per_cost", "budget_micros": 100_000_000, "judge": str(lawyer.judge.public_id),
        "arms": [{"name": "Lawyers", "kind": "expert", "skill": "law", "price_micros": 600_000, "accuracy": 99}],
    }  # fmt: skip
    made = client.send("post", base, body)
    assert made.status_code == 202, made.json()
    jobs.run(Job.objects.get(kind="plan").pk)
    path = f"{base}{made.json()['id']}/decisions/?arm=human"
    assert "Lawyers" in {one["arm_name"] for one in client.send("get", path).json()["results"]}
    body |= {"arms": [body["arms"][0] | {"skill": "magic"}]}
    refused = client.send("post", base, body)
    assert refused.status_code == 422
    assert "magic" in str(refused.json())
