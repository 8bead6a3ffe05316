"""The list of instances and the page of one."""

from __future__ import annotations

import html
import re
from collections import Counter
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from feedback.models import Annotation, Annotator, AuditEvent, Instance
from feedback.services import people, searching
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
    assert ids('?q=größe+"x"') == ["i2"]
    assert ids("?q=Second+4") == ["i4"]
    assert ids("?by=human") == ["i0"]
    assert ids("?by=judge") == ["i1"]
    assert ids("?by=both") == []
    assert ids("?state=unannotated") == ["i2", "i3", "i4"]
    searching.index()
    assert ids("?q=Question+3") == ["i3"]
    assert ids('?q=größe+"x"') == ["i2"]
    assert ids("?q=Second+4") == ["i4"]
    assert ids("?q=i1") == ["i1"]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?state=nothing", "Choose one of"),
        ("?colour=red", "There is no filter of this name"),
        ("?q=%00", "control character"),
        ("?q=%ED%A0%80&by=x", "Choose one of"),
        ("?sort=-password", "Sort by one of"),
        ("?annotator=me", "not the id of an annotator"),
        ("?after=nonsense", "not an instance of this task"),
        ("?prompt__startswith=a", "There is no filter of this name"),
    ],
)
def test_what_cannot_be_looked_for_is_said(cast: Cast, query: str, said: str) -> None:
    response = logged_in(cast.viewer).get(reverse("instances", args=[cast.project.public_id]) + query)
    assert response.status_code == 400
    assert said in response.content.decode()


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


def test_pages_follow_each_other_in_any_order(cast: Cast) -> None:
    cast.task.instances.all().delete()
    rows = make_instances(cast.task, 110)
    for n, row in enumerate(rows):
        row.priority = n % 3
        row.save(update_fields=["priority"])
    expected = [row.external_id for row in sorted(rows, key=lambda row: (-row.priority, -row.pk))]
    client, address = logged_in(cast.viewer), reverse("instances", args=[cast.project.public_id])
    context = client.get(address, {"sort": "-priority"}).context
    seen = [one["instance"].external_id for one in context["rows"]]
    while context["next_url"]:
        context = client.get(address + context["next_url"]).context
        seen += [one["instance"].external_id for one in context["rows"]]
    assert seen == expected
    back = client.get(address + context["previous_url"]).context
    assert [one["instance"].external_id for one in back["rows"]] == expected[50:100]


@pytest.mark.parametrize("narrowed", ["", "&source=books"], ids=["all", "narrowed"])
@pytest.mark.parametrize("sort", ["people", "-people", "judges", "-judges"])
def test_instances_are_put_in_the_order_of_their_annotations(cast: Cast, sort: str, narrowed: str) -> None:
    cast.task.instances.all().delete()
    rows = make_instances(cast.task, 60)
    Instance.objects.filter(pk__in=[row.pk for row in rows[2:]]).update(source="books")
    for n, row in enumerate(rows):
        for who in ("ann", "bob", "cleo")[: n % 4]:
            say(cast, row, "tie", who)
        if n % 3:
            say(cast, row, "tie", "gpt", "judge")
    cast.task.annotations.filter(instance=rows[3], annotator__name="ann").update(
        state="withdrawn", withdrawn_at=timezone.now()
    )
    live = Counter(cast.task.annotations.filter(state="submitted").values_list("instance_id", "source"))
    source, sign = "judge" if "judges" in sort else "human", -1 if sort.startswith("-") else 1
    wanted = rows[2:] if narrowed else rows
    expected = [r.pk for r in sorted(wanted, key=lambda row: (sign * live[row.pk, source], sign * row.pk))]
    client, address = logged_in(cast.viewer), reverse("instances", args=[cast.project.public_id])
    with CaptureQueriesContext(connection) as asked:
        context = client.get(f"{address}?task={cast.task.public_id}&sort={sort}{narrowed}").context
        sorting = [query["sql"] for query in asked.captured_queries]
    seen = [one["instance"].pk for one in context["rows"]]
    assert seen == expected[:50]
    following = client.get(address + context["next_url"]).context
    assert [one["instance"].pk for one in following["rows"]] == expected[50:]
    back = client.get(address + following["previous_url"]).context
    assert [one["instance"].pk for one in back["rows"]] == expected[:50]
    alone = client.get(
        f"{reverse('instance', args=[cast.project.public_id, rows[5].public_id])}?{back['query']}"
    ).context
    beside = [alone[name] and alone[name].pk for name in ("previous", "next")]
    place = expected.index(rows[5].pk)
    assert beside == [expected[place - 1] if place else None, expected[place + 1]]
    [sorting] = [sql for sql in sorting if "GROUP BY" in sql and "LIMIT 51" in sql]
    assert sorting.count("SELECT") == 1  # counted in one pass, not instance by instance


def test_disagreement_is_found(cast: Cast) -> None:
    first, second, third, fourth, _ = cast.task.instances.order_by("pk")
    say(cast, first, "a-is-clearly-better", "ann")
    say(cast, first, "a-is-slightly-better", "bob")
    say(cast, second, "a-is-clearly-better", "ann")
    say(cast, second, "tie", "bob")
    say(cast, second, "cannot-judge", "cleo")
    for who, value in (("ann", "tie"), ("bob", "tie"), ("cleo", "both-bad"), ("dan", "b-is-clearly-better")):
        say(cast, third, value, who)
    say(cast, third, "tie", "gpt", "judge")
    say(cast, first, "b-is-clearly-better", "gpt", "judge")
    say(cast, fourth, "b-is-clearly-better", "gpt", "judge")
    client = logged_in(cast.viewer)

    def ids(kind: str) -> list[str]:
        page = client.get(reverse("instances", args=[cast.project.public_id]), {"disagreement": kind})
        return [row["instance"].external_id for row in page.context["rows"]]

    assert ids("people") == ["i1", "i2"]
    assert ids("low-agreement") == ["i1"]
    assert ids("judge") == ["i0"]


def test_metadata_models_and_languages_are_found(cast: Cast) -> None:
    first, second, third, *_ = cast.task.instances.order_by("pk")
    for row, meta in ((first, {"tags": ["math", "hard"], "turn": 2}), (second, {}), (third, {"turn": "2"})):
        row.meta = meta
        row.save(update_fields=["meta"])
    cast.task.instances.filter(pk=second.pk).update(lang="de-at")
    third.completions = [{"content": "x", "model": 'na"me'}, {"content": "y", "model": None}]
    third.save(update_fields=["completions"])

    def ids(**query: str) -> list[str]:
        page = logged_in(cast.viewer).get(reverse("instances", args=[cast.project.public_id]), query)
        return [row["instance"].external_id for row in page.context["rows"]]

    assert ids(**{"meta.tags": "math"}) == ["i0"]
    assert ids(**{"meta.tags": "mat"}) == []
    assert ids(**{"meta.turn": "2"}) == ["i0", "i2"]
    assert ids(language="de") == ["i1"]
    assert ids(model='na"me') == ["i2"]
    assert ids(external_id="i3") == ["i3"]


def test_ticked_instances_are_changed_together(cast: Cast) -> None:
    first, second, third, *_ = cast.task.instances.order_by("pk")
    address = reverse("instances-change", args=[cast.project.public_id])
    both = [str(first.public_id), str(second.public_id)]
    client = logged_in(cast.reviewer)

    def change(action: str, *ids: str) -> Any:
        return client.post(address, {"action": action, "instance": ids or both, "back": "task=x&q=<b>"})

    assert change("raise-priority").url.endswith("?task=x&q=%3Cb%3E")
    change("send-to-people")
    change("remove")
    first.refresh_from_db()
    assert (first.priority, first.open_slots) == (10, 2)
    assert first.removed_at is not None
    change("restore", both[0])
    assert list(cast.task.instances.filter(removed_at=None).order_by("pk").values_list("pk", flat=True))[:2] == [
        first.pk,
        third.pk,
    ]
    assert AuditEvent.objects.filter(action="instances.remove", details__ids=sorted(both)).count() == 1
    assert change("explode").status_code == 422
    assert change("remove", "7").status_code == 422
    other = make_instances(
        people.create_project("Other", owner=cast.outsider).tasks.create(
            name="t", questions=cast.task.questions, created_by=cast.outsider
        ),
        1,
    )[0]
    assert change("remove", str(other.public_id)).status_code == 422
    other.refresh_from_db()
    assert other.removed_at is None


def test_the_list_asks_the_database_the_same_number_of_times(cast: Cast, django_assert_max_num_queries: Any) -> None:
    for one in cast.task.instances.all():
        say(cast, one, "tie", "ann")
    client = logged_in(cast.viewer)
    listing(cast, client)
    with django_assert_max_num_queries(11):
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


def test_metadata_is_shown_as_it_came(cast: Cast) -> None:
    first = cast.task.instances.order_by("pk")[0]
    first.meta = {"kept": True, "replies": [{"lang": "ar", "of": None}], "name": "it's"}
    first.save(update_fields=["meta"])
    address = reverse("instance", args=[cast.project.public_id, first.public_id])
    page = logged_in(cast.manager).get(address).content.decode()
    shown = [html.unescape(one) for one in re.findall(r"<dt>(?:kept|replies|name)</dt><dd>(.*?)</dd>", page)]
    assert shown == ["true", '[{"lang": "ar", "of": null}]', "it's"]


@pytest.mark.parametrize("query", ["meta.x=-01", "meta.x=1.", "meta.x=.5", "meta.x=٣", "meta.x=0.5"])
def test_metadata_that_is_nearly_a_number_is_looked_for_as_text(cast: Cast, browser: Any, query: str) -> None:
    url = reverse("instances", args=[cast.project.public_id])
    assert browser(cast.reviewer).get(f"{url}?{query}").status_code == 200


@pytest.mark.parametrize("key", ["-1", "3", "99999999999999999999"])
def test_a_key_of_metadata_that_is_a_whole_number_is_refused(cast: Cast, browser: Any, key: str) -> None:
    url = reverse("instances", args=[cast.project.public_id])
    assert browser(cast.reviewer).get(f"{url}?meta.{key}=1").status_code == 400
