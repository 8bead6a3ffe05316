"""Tasks on pages: the builder of the preference question, raw questions, guideline, money, open and close."""

from __future__ import annotations

from typing import Any

import pytest
from django.urls import reverse

from annotate.forms.fields import plain_amount
from annotate.forms.tasks import PRESETS, preset_values
from feedback.models import Instance, Task
from feedback.services import budget, tasks
from tests.conftest import QUESTIONS, Cast, make_instances

FORM = {
    "name": "New task",
    "ask_preference": "on",
    "title": "Which is better?",
    "steps": "7",
    "allow_both_bad": "on",
    "aspects": "helpful\n\n  truthful \n",
    "ask_confidence": "on",
    "reasons": "clearer\nshorter",
    "guideline": "Prefer the *true* one.",
    "overlap": "3",
    "lease_minutes": "20",
    "human_price_micros": "0.25",
    "budget_micros": "100",
}
CHOICE = '[{"kind": "choice", "name": "topic", "title": "Topic?", "options": ["a", "b"]}]'


def create(cast: Cast, browser: Any, **change: str) -> Any:
    return browser(cast.manager).post(reverse("task-create", args=[cast.project.public_id]), FORM | change)


def page(cast: Cast, name: str, task: Task | None = None) -> str:
    return reverse(name, args=[cast.project.public_id, (task or cast.task).public_id])


def test_the_builder_makes_the_question_it_shows(cast: Cast, browser: Any) -> None:
    assert create(cast, browser).status_code == 302
    task = Task.objects.get(name="New task")
    question = task.questions[0]
    assert (question["kind"], question["steps"], question["name"]) == ("preference", 7, "overall")
    assert (question["aspects"], question["reasons"]) == (["helpful", "truthful"], ["clearer", "shorter"])
    assert (question["allow_both_bad"], question["allow_cannot_judge"]) == (True, False)
    assert (task.overlap, task.lease_minutes, task.human_price_micros) == (3, 20, 250_000)
    assert task.guideline
    assert task.guideline.text == "Prefer the *true* one."
    assert budget.budget_of(task).cap_micros == 100_000_000


def test_questions_of_other_kinds_come_as_json(cast: Cast, browser: Any) -> None:
    assert create(cast, browser, more_questions=CHOICE).status_code == 302
    assert [question["kind"] for question in Task.objects.get(name="New task").questions] == ["preference", "choice"]


def test_a_task_may_ask_no_preference(cast: Cast, browser: Any) -> None:
    assert create(cast, browser, ask_preference="", title="", more_questions=CHOICE).status_code == 302
    assert [question["kind"] for question in Task.objects.get(name="New task").questions] == ["choice"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": ""}, "required"),
        ({"name": "Which is better"}, "already has a task"),
        ({"title": ""}, "Write the question"),
        ({"steps": "4"}, "Select a valid choice"),
        ({"overlap": "0"}, "greater than or equal to 1"),
        ({"overlap": "101"}, "less than or equal to 100"),
        ({"lease_minutes": "x"}, "whole number"),
        ({"human_price_micros": "-1"}, "greater than or equal to 0"),
        ({"budget_micros": "NaN"}, "Enter a number"),
        ({"aspects": "\n".join(f"a{n}" for n in range(9))}, "at most 8"),
        ({"more_questions": "{}"}, "must be a list"),
        ({"more_questions": "[" * 100_000}, "This "),
        ({"more_questions": '[{"kind": "choice", "kind": "span"}]'}, "twice"),
        ({"more_questions": '[{"kind": "riddle"}]'}, "riddle"),
        ({"more_questions": CHOICE.replace("topic", "overall")}, "two questions have this name"),
        ({"more_questions": '[{"kind": "choice", "name": "t", "title": "\\ud800", "options": ["a", "b"]}]'}, "This "),
        ({"ask_preference": "", "title": ""}, "at least one question"),
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


@pytest.mark.parametrize("preset", [*PRESETS, "made-up"])
def test_each_preset_fills_the_form(cast: Cast, browser: Any, preset: str) -> None:
    url = reverse("task-create", args=[cast.project.public_id])
    response = browser(cast.manager).get(url, {"preset": preset})
    assert response.status_code == 200
    assert preset_values(preset)["title"] in response.content.decode()


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


def test_changed_questions_raise_their_version(cast: Cast, browser: Any) -> None:
    edit(cast, browser, steps="9")
    cast.task.refresh_from_db()
    assert (cast.task.questions_version, cast.task.questions[0]["steps"]) == (2, 9)


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
