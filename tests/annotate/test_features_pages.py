"""The page of a task's features, and the same over REST: look, describe, leave out; and who may."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse

from feedback.models import AuditEvent, Instance, Job
from feedback.services import jobs, people, tasks
from routing.models import DescriptiveTag, TaskFeatures
from tests.conftest import Cast
from tests.routing.judging_cast import simulated_judge
from tests.routing.planning_cast import World, make_world, planned

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(db: None) -> World:
    made = make_world(size=60, votes=20)
    for number, instance in enumerate(made.instances):
        instance.meta = {"tags": ["hard"] if number % 2 else [], "field": ["law", "<b>art</b>"][number % 2]}
    Instance.objects.bulk_update(made.instances, ["meta"])
    return made


def at(name: str, cast: Cast, *args: Any) -> str:
    return reverse(name, args=[cast.project.public_id, *args])


def rest(cast: Cast) -> str:
    return f"projects/{cast.project.public_id}/tasks/{cast.task.public_id}/features/"


def describe(client: Any, cast: Cast) -> None:
    client.post(at("features-describe", cast), {"task": cast.task.public_id})
    jobs.run(Job.objects.filter(kind="describe").latest("pk").pk)


def test_a_manager_describes_looks_and_leaves_out(world: World, browser: Callable[..., Any]) -> None:
    cast = world.cast
    client = browser(cast.manager)
    assert "Nothing is described yet" in client.get(at("features", cast)).content.decode()
    client.post(at("features-describe", cast), {"task": cast.task.public_id})
    assert 'class="job"' in client.get(at("features", cast)).content.decode()
    jobs.run(Job.objects.get(kind="describe").pk)
    page = client.get(at("features", cast)).content.decode()
    for words in ("60 pairs", "hard", "law (30)", "&lt;b&gt;art&lt;/b&gt; (30)", "features-1-hashed"):
        assert words in page
    assert "<b>art</b>" not in page
    kept = client.post(
        at("features-columns", cast),
        {"task": cast.task.public_id, "shown": ["tag:hard", "meta:field"], "counts": ["tag:hard"]},
        follow=True,
    )
    assert "Kept for the plans" in kept.content.decode()
    assert TaskFeatures.objects.get().left_out == ["meta:field"]
    assert AuditEvent.objects.filter(action="features.leave_out").count() == 1
    plan = planned(world, "adv_topk", 5)
    shown = client.get(at("plan", cast, plan.public_id)).content.decode()
    assert "left out: field" in shown


def test_a_column_that_is_not_there_is_refused(world: World, browser: Callable[..., Any]) -> None:
    client = browser(world.cast.manager)
    describe(client, world.cast)
    asked = {"task": world.cast.task.public_id, "shown": ["meta:nothing"]}
    refused = client.post(at("features-columns", world.cast), asked)
    assert refused.status_code == 422
    assert "No column is made from" in refused.content.decode()
    assert TaskFeatures.objects.get().left_out == []


def test_the_same_over_rest(world: World, api: Callable[..., Any]) -> None:
    cast = world.cast
    client = api(cast.manager)
    path = rest(cast)
    assert client.send("GET", path).json()["described_at"] is None
    job = client.send("POST", path)
    assert job.status_code == 202
    jobs.run(Job.objects.get(public_id=job.json()["id"]).pk)
    told = client.send("GET", path).json()
    assert {one["name"] for one in told["columns"]} == {"tag:hard", "meta:field=law", "meta:field=<b>art</b>"}
    assert client.send("PATCH", path, {"left_out": ["meta:field"]}).json()["left_out"] == ["meta:field"]
    wrong = client.send("PATCH", path, {"left_out": ["meta:nothing"]})
    assert (wrong.status_code, list(wrong.json()["errors"])) == (422, ["left_out"])


def test_outsiders_and_annotators_write_nothing(
    world: World, browser: Callable[..., Any], api: Callable[..., Any]
) -> None:
    cast = world.cast
    elsewhere = people.create_project("Elsewhere", owner=cast.outsider)
    task = {"task": cast.task.public_id}
    for who, status in ((cast.annotator, 403), (cast.outsider, 404)):
        assert browser(who).post(at("features-describe", cast), task).status_code == status
        assert browser(who).post(at("features-columns", cast), task).status_code == status
        assert api(who).send("POST", rest(cast)).status_code == status
        assert api(who).send("PATCH", rest(cast), {"left_out": []}).status_code == status
    # a task of another project is none of this one's
    foreign = f"projects/{elsewhere.public_id}/tasks/{cast.task.public_id}/features/"
    assert api(cast.outsider).send("POST", foreign).status_code == 404
    page = reverse("features-describe", args=[elsewhere.public_id])
    assert browser(cast.outsider).post(page, task).status_code == 404
    assert not TaskFeatures.objects.exists()
    assert not Job.objects.exists()


def asked(world: World, who: Any, **changes: Any) -> dict[str, Any]:
    wish = {
        "task": world.cast.task.public_id, "judge": who.public_id, "count": "40",
        "dimensions": ["expertise_level", "language"],
    }  # fmt: skip
    return wish | changes


def test_a_manager_sees_what_tagging_costs_starts_it_and_reads_what_came_of_it(
    world: World, browser: Callable[..., Any]
) -> None:
    cast = world.cast
    judge = simulated_judge(cast)
    client = browser(cast.manager)
    page = client.get(at("features-tag", cast)).content.decode()
    assert "What does it cost?" in page
    assert "Start tagging" not in page
    page = client.get(at("features-tag", cast), asked(world, judge)).content.decode()
    for words in ("Start tagging", "<dd>40</dd>", "<dd>80</dd>", "$0."):
        assert words in page
    assert not Job.objects.filter(kind="tag").exists()
    started = client.post(at("features-tag", cast), asked(world, judge))
    assert started.headers["Location"].startswith(at("features", cast))
    assert client.post(at("features-tag", cast), asked(world, judge)).status_code == 422
    assert 'class="job"' in client.get(at("features", cast)).content.decode()
    jobs.run(Job.objects.get(kind="tag").pk)
    assert "40 tagged" in client.get(at("features", cast)).content.decode()
    describe(client, cast)
    page = client.get(at("features", cast)).content.decode()
    for words in ("60 instances are described", "Expertise level", "at least 100 different prompts", "too few tagged"):
        assert words in page
    kept = {"task": cast.task.public_id, "shown": ["tagged:language", "tag:hard"], "counts": ["tag:hard"]}
    assert client.post(at("features-columns", cast), kept).status_code == 302
    assert TaskFeatures.objects.get().left_out == ["tagged:language"]
    calls = client.get(at("judge", cast)).content.decode()
    assert "expertise_level" in calls


def test_a_wish_that_makes_no_sense_says_so_on_the_page(world: World, browser: Callable[..., Any]) -> None:
    judge = simulated_judge(world.cast)
    client = browser(world.cast.manager)
    wishes: list[dict[str, Any]] = [{"dimensions": []}, {"dimensions": ["x"]}, {"count": "0"}, {"judge": "x"}]
    for wrong in wishes:
        for method in (client.get, client.post):
            page = method(at("features-tag", world.cast), asked(world, judge, **wrong))
            assert page.status_code == 422, wrong
    assert not Job.objects.exists()


def test_tagging_over_rest(world: World, api: Callable[..., Any]) -> None:
    cast = world.cast
    judge = simulated_judge(cast)
    client, path = api(cast.manager), f"{rest(cast)}tagging/"
    body = {"judge": str(judge.public_id), "dimensions": ["expertise_level", "language"], "count": 40}
    told = client.send("POST", f"{path}estimate/", body).json()
    assert told["instances"] == 40
    assert told["most_micros"] > 0
    key = {"Idempotency-Key": "t"}
    made = client.send("POST", path, body, **key)
    assert made.status_code == 202
    assert client.send("POST", path, body, **key).json()["id"] == made.json()["id"]
    assert client.send("POST", path, body).status_code == 409
    jobs.run(Job.objects.get(kind="tag").pk)
    shown = {one["name"]: one for one in client.send("GET", path).json()["dimensions"]}
    assert (shown["language"]["tagged"], shown["language"]["judge"]) == (40, str(judge.public_id))
    assert "english" in shown["language"]["options"]
    assert shown["open_endedness"]["judge"] is None
    assert client.send("POST", path, body | {"dimensions": ["x"]}).status_code == 422


def test_outsiders_and_annotators_tag_nothing(
    world: World, browser: Callable[..., Any], api: Callable[..., Any]
) -> None:
    cast = world.cast
    judge = simulated_judge(cast)
    elsewhere = people.create_project("Elsewhere", owner=cast.outsider)
    body = {"judge": str(judge.public_id), "dimensions": ["language"]}
    for who, status in ((cast.annotator, 403), (cast.outsider, 404)):
        assert browser(who).get(at("features-tag", cast), asked(world, judge)).status_code == status
        assert browser(who).post(at("features-tag", cast), asked(world, judge)).status_code == status
        assert api(who).send("POST", f"{rest(cast)}tagging/", body).status_code == status
        assert api(who).send("POST", f"{rest(cast)}tagging/estimate/", body).status_code == status
    # neither a judge nor a task of another project
    own = tasks.create_task(elsewhere, "Own", cast.task.questions, actor=cast.outsider)
    path = f"projects/{elsewhere.public_id}/tasks/{own.public_id}/features/tagging/"
    assert api(cast.outsider).send("POST", path, body).status_code == 404
    page = reverse("features-tag", args=[elsewhere.public_id])
    foreign = asked(world, judge, task=own.public_id)
    assert browser(cast.outsider).post(page, foreign).status_code == 422
    assert not Job.objects.exists()
    assert not DescriptiveTag.objects.exists()


def test_the_page_asks_as_many_queries_for_many_columns_as_for_few(
    world: World, browser: Callable[..., Any], django_assert_max_num_queries: Any
) -> None:
    client = browser(world.cast.manager)
    describe(client, world.cast)
    for number, instance in enumerate(world.instances):
        instance.meta = {f"field-{k}": (number + k) % 3 for k in range(20)}
    Instance.objects.bulk_update(world.instances, ["meta"])
    describe(client, world.cast)
    client.get(at("features", world.cast))
    with django_assert_max_num_queries(16):
        client.get(at("features", world.cast))
