"""Who says what a member reads and can do: the People page, the own page, REST; and what the queue then says."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from feedback.models import AuditEvent, Instance, Membership
from feedback.services import people, tasks
from tests.conftest import QUESTIONS, Cast, make_instances

LANGUAGES = "/account/languages/"


def member(cast: Cast) -> Membership:
    return Membership.objects.get(user=cast.annotator, project=cast.project)


def keep(cast: Cast, client: Any, languages: str, **more: str) -> Any:
    url = reverse("languages-keep", args=[cast.project.public_id])
    return client.post(url, {"languages": languages, **more})


def say(cast: Cast, client: Any, **body: str) -> Any:
    return client.post(reverse("member-abilities", args=[cast.project.public_id, cast.annotator.public_id]), body)


def test_a_manager_names_languages_and_skills(cast: Cast, browser: Any) -> None:
    client = browser(cast.manager)
    assert say(cast, client, languages="German, pt-BR", skills="Law, internal  medicine").status_code == 302
    assert (member(cast).languages, member(cast).skills) == (["de", "pt-br"], ["internal medicine", "law"])
    page = client.get(reverse("people", args=[cast.project.public_id])).content.decode()
    assert "Brazilian Portuguese, German · internal medicine, law" in page
    assert AuditEvent.objects.get(action="member.abilities").actor_id == cast.manager.pk


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"languages": "de, Klingonese"}, "each by its name or a code"),
        ({"languages": ",".join(f"a{chr(97 + n)}" for n in range(21))}, "at most 20 languages"),
        ({"skills": "x" * 41}, "the limit is 40"),
        ({"skills": "a\u0000b"}, "control character|Null characters"),
    ],
)
def test_what_cannot_be_named_is_refused_beside_its_field(
    cast: Cast, browser: Any, body: dict[str, str], words: str
) -> None:
    response = say(cast, browser(cast.manager), **({"languages": "", "skills": ""} | body))
    assert response.status_code == 422
    page = response.content.decode()
    assert any(each in page for each in words.split("|"))
    assert page.count("<details open>") == 1
    assert (member(cast).languages, member(cast).skills) == ([], [])


def test_only_managers_name_skills_and_nobody_elsewhere(cast: Cast, browser: Any) -> None:
    for who, status in ((cast.reviewer, 403), (cast.annotator, 403), (cast.outsider, 404)):
        assert say(cast, browser(who), skills="law").status_code == status
    other = people.create_project("Elsewhere", owner=cast.outsider)
    url = reverse("member-abilities", args=[other.public_id, cast.annotator.public_id])
    assert browser(cast.outsider).post(url, {"skills": "law"}).status_code == 404
    assert member(cast).skills == []


def test_a_person_names_their_languages_and_no_skill(cast: Cast, browser: Any) -> None:
    client = browser(cast.annotator)
    assert keep(cast, client, "Deutsch، العربية", skills="law").url == LANGUAGES
    assert (member(cast).languages, member(cast).skills) == (["ar", "de"], [])
    assert "ar, de" in client.get(LANGUAGES).content.decode()
    refused = keep(cast, client, "<b>x</b>")
    assert refused.status_code == 422
    assert "&lt;b&gt;x" in refused.content.decode()
    assert member(cast).languages == ["ar", "de"]


def test_nobody_names_languages_in_a_project_they_do_not_label_in(cast: Cast, browser: Any) -> None:
    assert keep(cast, browser(cast.outsider), "de").status_code == 404
    assert keep(cast, browser(cast.viewer), "de").status_code == 403
    assert browser(cast.viewer).get(LANGUAGES).context["rows"] == []
    assert not Membership.objects.exclude(languages=[]).exists()


def test_rest_sets_what_is_sent_and_leaves_the_rest(cast: Cast, api: Any) -> None:
    one = f"projects/{cast.project.public_id}/members/{cast.annotator.public_id}/"
    client = api(cast.manager)
    assert client.send("PATCH", f"{one}abilities/", {"languages": ["pt_BR"], "skills": ["law"]}).status_code == 200
    told = client.send("PATCH", f"{one}abilities/", {"languages": []}).json()
    assert (told["languages"], told["skills"]) == ([], ["law"])
    assert client.send("GET", one).json() == told
    for body, field in (
        ({"languages": ["German"]}, "languages"),
        ({"skills": ["a,b"]}, "skills"),
        ({"skills": "law"}, "skills"),
        ({"skills": ["x"] * 41}, "skills"),
        ({"role": "owner"}, "role"),
    ):
        response = client.send("PATCH", f"{one}abilities/", body)
        assert response.status_code == 422, body
        assert any(name.startswith(field) for name in response.json()["errors"]), response.json()
    assert member(cast).skills == ["law"]
    assert api(cast.outsider).send("PATCH", f"{one}abilities/", {"skills": ["tax"]}).status_code == 404


def test_the_finished_page_says_what_is_left_for_others(cast: Cast, browser: Any) -> None:
    Instance.objects.filter(task=cast.task).update(lang="de")
    first = cast.task.instances.order_by("pk")[0]
    Instance.objects.filter(pk=first.pk).update(lang="", skill="<i>law")
    client = browser(cast.annotator)
    keep(cast, client, "en")
    page = client.get(reverse("work", args=[cast.task.public_id])).content.decode()
    assert "5 instances left need German or the skill \u2068&lt;i&gt;law\u2069, which you did not name." in page
    assert f'href="{LANGUAGES}"' in page
    assert "5 more need a language or skill that you did not name" in client.get("/label/").content.decode()
    keep(cast, client, "")
    assert 'id="work-data"' in client.get(reverse("work", args=[cast.task.public_id])).content.decode()


def test_the_queue_page_counts_what_is_left_for_others_in_a_fixed_number_of_queries(
    cast: Cast, browser: Any, django_assert_max_num_queries: Any
) -> None:
    for n in range(8):
        more = tasks.create_task(cast.project, f"task {n}", QUESTIONS, actor=cast.owner)
        make_instances(more, 2)
        tasks.open_task(more, actor=cast.owner)
    Instance.objects.update(skill="law")
    client = browser(cast.annotator)
    client.get(reverse("queue"))
    with django_assert_max_num_queries(14):
        rows = client.get(reverse("queue")).context["tasks"]
    assert sorted(row["unnamed"] for row in rows) == [2] * 8 + [5]
