"""The list of instances and the page of one."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from feedback.models import Annotation, Annotator
from feedback.services import people
from tests.conftest import Cast, make_cast, make_instances

pytestmark = pytest.mark.django_db


def logged_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def say(cast: Cast, instance: Any, value: str, who: str, source: str = "human", **details: Any) -> Annotation:
    annotator = Annotator.objects.get_or_create(project=cast.project, kind=source, name=who, user=None)[0]
    return Annotation.objects.create(
        task=cast.task,
        instance=instance,
        annotator=annotator,
        source=source,
        answers={"overall": {"value": value}},
        details=details,
        order=[1, 0],
    )


def listing(cast: Cast, client: Client, query: str = "") -> str:
    return client.get(reverse("instances", args=[cast.project.public_id]) + query).content.decode()


def test_filters_find_by_text_state_and_who_annotated(cast: Cast) -> None:
    first, second, third, *_ = cast.task.instances.order_by("pk")
    say(cast, first, "tie", "ann")
    say(cast, second, "tie", "gpt", "judge")
    cast.task.instances.filter(pk=third.pk).update(prompt=[{"role": "user", "content": 'Größe "x"?'}])
    client = logged_in(cast.viewer)

    def ids(query: str) -> list[str]:
        page = listing(cast, client, query)
        return [one.external_id for one in cast.task.instances.order_by("pk") if str(one.public_id) in page]

    assert ids("?q=Question+3") == ["i3"]
    assert ids('?q=Größe+"x') == ["i2"]
    assert ids("?q=Second+4") == ["i4"]
    assert ids("?by=human") == ["i0"]
    assert ids("?by=judge") == ["i1"]
    assert ids("?by=both") == []
    assert ids("?state=unannotated") == ["i2", "i3", "i4"]
    assert ids("?state=nothing") == []
    assert ids("?q=%00") == []
    assert ids("?q=%ED%A0%80&by=x") == []


def test_pages_follow_each_other_both_ways(cast: Cast) -> None:
    cast.task.instances.all().delete()
    rows = make_instances(cast.task, 120)
    client = logged_in(cast.viewer)

    def shown(page: str) -> list[int]:
        return [n for n, row in enumerate(rows) if str(row.public_id) in page.split("</table>")[0]]

    first = listing(cast, client)
    assert shown(first) == list(range(50))
    second = listing(cast, client, f"?after={rows[49].public_id}")
    assert shown(second) == list(range(50, 100))
    assert 'rel="prev"' in second
    assert 'rel="next"' in second
    back = listing(cast, client, f"?before={rows[50].public_id}")
    assert shown(back) == list(range(50))
    assert 'rel="prev"' not in back
    assert shown(listing(cast, client, "?after=nonsense")) == list(range(50))


def test_the_list_asks_the_database_the_same_number_of_times(cast: Cast, django_assert_max_num_queries: Any) -> None:
    for one in cast.task.instances.all():
        say(cast, one, "tie", "ann")
    client = logged_in(cast.viewer)
    listing(cast, client)
    with django_assert_max_num_queries(10):
        listing(cast, client)


def test_the_page_of_an_instance_shows_all_that_was_said(cast: Cast) -> None:
    first = cast.task.instances.order_by("pk")[0]
    human = say(cast, first, "a-is-clearly-better", "Ann Smith")
    orders = {"ab": "a-is-clearly-better", "ba": "tie"}
    say(cast, first, "a-is-slightly-better", "gpt", "judge", p_a=0.67, orders=orders, order_consistent=False)
    address = reverse("instance", args=[cast.project.public_id, first.public_id])
    page = logged_in(cast.reviewer).get(address).content.decode()
    for words in (
        "Ann Smith",
        "A is clearly better",
        "B then A",
        "P(A is better) 0.67",
        "changed with the order",
        "m1",
    ):
        assert words in page
    seen_by_viewer = logged_in(cast.viewer).get(address).content.decode()
    assert "Ann Smith" not in seen_by_viewer
    assert human.annotator.pseudonym in seen_by_viewer


def test_hostile_text_stays_text(cast: Cast) -> None:
    first = cast.task.instances.order_by("pk")[0]
    nasty = "<script>alert(1)</script><img src=x onerror=alert(1)> [x](javascript:alert(1))"
    first.prompt = [{"role": "user", "content": nasty}]
    first.completions = [{"content": nasty, "model": nasty}, {"content": "ok", "model": None}]
    first.meta = {"<b>": nasty}
    first.save()
    say(cast, first, "tie", nasty, "judge", rationale=nasty)
    for address in (
        reverse("instance", args=[cast.project.public_id, first.public_id]),
        reverse("instances", args=[cast.project.public_id]),
    ):
        page = logged_in(cast.owner).get(address).content.decode()
        assert "<script>alert" not in page
        assert "<img" not in page.split("<main")[1]
        assert 'href="javascript' not in page


def test_outsiders_and_annotators_do_not_see_instances(cast: Cast) -> None:
    first = cast.task.instances.order_by("pk")[0]
    other = people.create_project("Other", owner=cast.outsider)
    for user, status in ((cast.outsider, 404), (cast.annotator, 403)):
        client = logged_in(user)
        assert client.get(reverse("instances", args=[cast.project.public_id])).status_code == status
        assert client.get(reverse("instance", args=[cast.project.public_id, first.public_id])).status_code == status
    foreign = reverse("instance", args=[other.public_id, first.public_id])
    assert logged_in(cast.outsider).get(foreign).status_code == 404


def test_an_empty_project_leads_to_the_import(db: None) -> None:
    cast = make_cast(instances=0)
    assert "Import instances" in listing(cast, logged_in(cast.manager))
    assert "imports/new" not in listing(cast, logged_in(cast.viewer))
