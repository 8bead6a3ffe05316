"""Tasks on pages: presets to start from, guideline, money, open and close. (What they ask: test_builder.py)"""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from annotate.forms.fields import plain_amount
from feedback import presets
from feedback.exceptions import Unsuited
from feedback.models import Instance, Membership, Task
from feedback.services import budget, people, queue, tasks
from tests.conftest import QUESTIONS, Cast, make_instances

FORM = {
    "name": "New task",
    "guideline": "Prefer the *true* one.",
    "overlap": "3",
    "lease_minutes": "20",
    "human_price_micros": "0.25",
    "budget_micros": "100",
}


def create(cast: Cast, browser: Any, preset: str = "", **change: str) -> Any:
    url = reverse("task-create", args=[cast.project.public_id])
    return browser(cast.manager).post(f"{url}?preset={preset}", FORM | change)


def page(cast: Cast, name: str, task: Task | None = None) -> str:
    return reverse(name, args=[cast.project.public_id, (task or cast.task).public_id])


def test_a_new_task_takes_its_form_and_leads_to_its_questions(cast: Cast, browser: Any) -> None:
    response = create(cast, browser)
    task = Task.objects.get(name="New task")
    assert response.status_code == 302
    assert response.url == page(cast, "task-questions", task)
    assert (task.overlap, task.lease_minutes, task.human_price_micros) == (3, 20, 250_000)
    assert task.guideline
    assert task.guideline.text == "Prefer the *true* one."
    assert budget.budget_of(task).cap_micros == 100_000_000


@pytest.mark.parametrize("preset", presets.NAMES)
def test_a_task_asks_what_its_preset_asks(cast: Cast, browser: Any, preset: str) -> None:
    assert create(cast, browser, preset).status_code == 302
    assert Task.objects.get(name="New task").questions == presets.preset(preset).stored_questions()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": ""}, "required"),
        ({"name": "Which is better"}, "already has a task"),
        ({"overlap": "0"}, "greater than or equal to 1"),
        ({"overlap": "101"}, "less than or equal to 100"),
        ({"lease_minutes": "x"}, "whole number"),
        ({"human_price_micros": "-1"}, "greater than or equal to 0"),
        ({"budget_micros": "NaN"}, "Enter a number"),
        ({"guideline": "x\u0000"}, "Null characters"),
    ],
)
def test_a_bad_form_is_a_422_in_words_and_stores_nothing(
    cast: Cast, browser: Any, change: dict[str, str], words: str
) -> None:
    response = create(cast, browser, **change)
    assert response.status_code == 422
    assert words in response.content.decode().replace("&#x27;", "'")
    assert Task.objects.count() == 1


@pytest.mark.parametrize("preset", [*presets.NAMES, "made-up"])
def test_each_preset_fills_the_form(cast: Cast, browser: Any, preset: str) -> None:
    url = reverse("task-create", args=[cast.project.public_id])
    response = browser(cast.manager).get(url, {"preset": preset})
    chosen = preset if preset in presets.NAMES else "five-steps"
    assert response.context["form"]["guideline"].value() == presets.preset(chosen).guideline


def test_the_edit_form_shows_what_is_stored_and_saving_it_unchanged_changes_nothing(cast: Cast, browser: Any) -> None:
    client = browser(cast.manager)
    form = client.get(page(cast, "task-edit")).context["form"]
    values = {name: form[name].value() for name in form.fields}
    data = {name: "on" if value is True else value for name, value in values.items() if value not in (False, None)}
    assert client.post(page(cast, "task-edit"), data).status_code == 302
    before, after = cast.task, Task.objects.get(pk=cast.task.pk)
    assert after.questions == before.questions
    assert after.questions_version == before.questions_version
    assert after.guideline_id == before.guideline_id
    assert after.human_price_micros == before.human_price_micros


def edit(cast: Cast, browser: Any, **change: str) -> Any:
    client = browser(cast.manager)
    form = client.get(page(cast, "task-edit")).context["form"]
    values = {name: form[name].value() for name in form.fields}
    data = {name: "on" if value is True else value for name, value in values.items() if value not in (False, None)}
    return client.post(page(cast, "task-edit"), data | change)


def test_a_new_guideline_is_a_new_version(cast: Cast, browser: Any) -> None:
    edit(cast, browser, guideline="Prefer the short one.")
    assert [version.number for version in cast.task.guidelines.order_by("number")] == [1, 2]


def test_a_cap_below_what_is_spent_is_refused_whole(cast: Cast, browser: Any) -> None:
    budget.set_cap(cast.task, 10_000_000, actor=cast.owner)
    budget.reserve(cast.task, 5_000_000)
    response = edit(cast, browser, budget_micros="1", name="Renamed")
    assert response.status_code == 422
    assert "already spent" in response.content.decode()
    cast.task.refresh_from_db()
    assert cast.task.name == "Which is better"


def test_saving_an_unchanged_overlap_does_not_reopen_instances(cast: Cast, browser: Any) -> None:
    Instance.objects.update(open_slots=0)
    edit(cast, browser, name="Renamed")
    assert not Instance.objects.filter(open_slots__gt=0).exists()
    edit(cast, browser, overlap="2")
    assert Instance.objects.filter(open_slots=2).count() == 5


def test_the_queue_gives_a_task_to_who_reads_and_can_what_its_form_asks(cast: Cast, browser: Any) -> None:
    assert edit(cast, browser, languages="German, pt_BR", skills="Law").status_code == 302
    cast.task.refresh_from_db()
    assert (cast.task.languages, cast.task.skills) == (["de", "pt-br"], ["law"])
    shown = browser(cast.viewer).get(page(cast, "task")).content.decode()
    assert "Brazilian Portuguese, German, law" in shown
    member = Membership.objects.get(user=cast.annotator)
    people.set_abilities(member, languages=["de"], skills=["law"], actor=cast.manager)
    with pytest.raises(Unsuited, match="pt-br"):
        queue.next_assignment(cast.task, cast.annotator)
    people.set_abilities(member, languages=["de", "pt"], actor=cast.manager)
    assert queue.next_assignment(cast.task, cast.annotator).task_id == cast.task.pk
    edit(cast, browser, languages="", skills="")
    cast.task.refresh_from_db()
    assert (cast.task.languages, cast.task.skills) == ([], [])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"languages": "Klingonese"}, "each by its name or a code"),
        ({"skills": "x" * 41}, "the limit is 40"),
        ({"skills": "a\x00b"}, "Null characters"),
    ],
)
def test_a_language_or_skill_that_cannot_be_is_refused(
    cast: Cast, browser: Any, change: dict[str, str], words: str
) -> None:
    response = edit(cast, browser, **change)
    assert response.status_code == 422
    assert words in response.content.decode()
    cast.task.refresh_from_db()
    assert (cast.task.languages, cast.task.skills) == ([], [])


def test_a_task_opens_only_with_instances(cast: Cast, browser: Any) -> None:
    empty = tasks.create_task(cast.project, "empty", QUESTIONS, actor=cast.owner)
    client = browser(cast.manager)
    client.post(page(cast, "task-open", empty))
    empty.refresh_from_db()
    assert empty.state == "draft"
    assert "Import instances" in client.get(page(cast, "task", empty)).content.decode()
    make_instances(empty, 1)
    client.post(page(cast, "task-open", empty))
    empty.refresh_from_db()
    assert empty.state == "open"
    client.post(page(cast, "task-close", empty))
    empty.refresh_from_db()
    assert empty.state == "closed"


def test_a_viewer_sees_a_task_without_its_actions(cast: Cast, browser: Any) -> None:
    body = browser(cast.viewer).get(page(cast, "task")).content.decode()
    assert page(cast, "task-edit") not in body
    assert page(cast, "task-close") not in body


def test_the_list_asks_a_fixed_number_of_queries(cast: Cast, browser: Any, django_assert_max_num_queries: Any) -> None:
    for n in range(12):
        make_instances(tasks.create_task(cast.project, f"t{n}", QUESTIONS, actor=cast.owner), 1)
    client = browser(cast.viewer)
    with django_assert_max_num_queries(12):
        assert client.get(reverse("tasks", args=[cast.project.public_id])).status_code == 200


@pytest.mark.parametrize(("micros", "plain"), [(500_000, "0.50"), (0, "0.00"), (1, "0.000001"), (12_000_000, "12.00")])
def test_amounts_in_forms_are_plain_decimals(micros: int, plain: str) -> None:
    assert plain_amount(micros) == plain
