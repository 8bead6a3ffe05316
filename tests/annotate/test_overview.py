"""The dashboard: its figures, its one suggestion, and that it stays cheap."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.urls import reverse
from django.utils import timezone

from annotate.money import money
from annotate.steps import State, next_step, steps_of
from feedback.models import Annotation, Annotator, Budget, Instance
from feedback.services import people, quality, queue, tasks
from tests.conftest import QUESTIONS, Cast, make_instances


def url(cast: Cast) -> str:
    return reverse("overview", args=[cast.project.public_id])


def say(task: Any, instance: Any, annotator: Any, value: str, source: str = "human") -> None:
    Annotation.objects.create(
        task=task, instance=instance, annotator=annotator, source=source, answers={"overall": {"value": value}}
    )


@pytest.fixture
def voted(cast: Cast) -> Cast:
    """Three people and a judge on two instances: hand-countable agreement."""
    first, second = Instance.objects.order_by("pk")[:2]
    voices = [Annotator.objects.create(project=cast.project, kind="human", name=f"p{n}") for n in range(3)]
    judge = Annotator.objects.create(project=cast.project, kind="judge", name="the judge")
    for voice, value in zip(voices, ["a-is-better", "a-is-clearly-better", "b-is-better"], strict=True):
        say(cast.task, first, voice, value)
    for voice, value in zip(voices, ["tie", "both-bad", "cannot-judge"], strict=True):
        say(cast.task, second, voice, value)
    say(cast.task, first, judge, "a-is-slightly-better", "judge")
    say(cast.task, second, judge, "b-is-slightly-better", "judge")
    return cast


def test_agreement_is_counted_by_hand(voted: Cast) -> None:
    # instance 1: A A B → 1 of 3 pairs; instance 2: neither, neither (cannot-judge is no vote) → 1 of 1
    # with the judge: A on A A B → 2 of 3, B on neither neither → 0 of 2
    human, judge = quality.agreement_of(voted.task)
    assert (human.who, human.pairs, human.value) == (("people", "people"), 4, 2 / 4)
    assert (judge.who, judge.pairs, judge.value) == (("people", "the judge"), 5, 2 / 5)
    assert 0 <= human.low <= human.value <= human.high <= 1


def test_each_judge_is_compared_by_itself(voted: Cast) -> None:
    other = Annotator.objects.create(project=voted.project, kind="judge", name="another judge")
    say(voted.task, Instance.objects.order_by("pk")[0], other, "b-is-better", "judge")
    found = {agreement.who[1]: (agreement.value, agreement.pairs) for agreement in quality.agreement_of(voted.task)}
    assert found == {"people": (2 / 4, 4), "the judge": (2 / 5, 5), "another judge": (1 / 3, 3)}


def test_agreement_is_fresh_after_another_annotation(voted: Cast) -> None:
    assert quality.agreement_of(voted.task)[0].pairs == 4
    third = Instance.objects.order_by("pk")[2]
    for name in ("p0", "p1"):
        say(voted.task, third, Annotator.objects.get(name=name), "tie")
    assert quality.agreement_of(voted.task)[0].pairs == 5


def test_no_agreement_without_two_annotations_of_one_instance(cast: Cast) -> None:
    assert quality.agreement_of(cast.task) == []


def test_progress_counts_what_is_done_open_and_lent(cast: Cast) -> None:
    assignment = queue.next_assignment(cast.task, cast.annotator)
    queue.submit(assignment, submission_id=uuid4(), answers={"overall": {"value": "tie"}}, active_ms=0)
    queue.next_assignment(cast.task, cast.annotator)
    progress = quality.progress_of([cast.task])[cast.task.pk]
    assert (progress.instances, progress.human, progress.open_slots, progress.lent, progress.goal) == (5, 1, 3, 1, 5)
    assert progress.days[-1] == 1
    assert progress.per_day == pytest.approx(1 / 7)
    assert progress.days_left == pytest.approx(28)


def test_old_and_recorded_annotations_make_no_rate(cast: Cast) -> None:
    voice = Annotator.objects.create(project=cast.project, kind="human", name="p")
    one, two = Instance.objects.all()[:2]
    say(cast.task, one, voice, "tie")
    say(cast.task, two, voice, "tie")
    Annotation.objects.filter(instance=one).update(recorded=True)
    Annotation.objects.filter(instance=two).update(submitted_at=timezone.now() - timedelta(days=8))
    progress = quality.progress_of([cast.task])[cast.task.pk]
    assert (progress.human, progress.recorded, progress.per_day, progress.days_left) == (2, 1, 0, None)


def test_the_page_shows_people_judge_money_and_agreement(voted: Cast, browser: Any) -> None:
    Budget.objects.update(cap_micros=10_000_000, spent_micros=2_500_000, reserved_micros=500_000)
    response = browser(voted.viewer).get(url(voted))
    body = response.content.decode()
    assert response.status_code == 200
    for words in ("the judge", "$2.50", "$0.50", "$7.00", "0.500", "0.400"):
        assert words in body


def test_a_new_project_is_led_through_the_loop(db: None, browser: Any) -> None:
    from tests.conftest import make_user

    owner = make_user("new")
    project = people.create_project("Empty", owner=owner)
    response = browser(owner).get(reverse("overview", args=[project.public_id]))
    assert response.context["next"].key == "tasks"
    assert [step.done for step in response.context["steps"]] == [False] * 7
    assert "The loop" in response.content.decode()


NOTHING = {"tasks": 0, "open_tasks": 0, "instances": 0, "by_people": 0, "by_judges": 0}
NOTHING |= {"plans": 0, "versions": 0, "trained": 0}


@pytest.mark.parametrize(
    ("there", "key"),
    [
        ({}, "tasks"),
        ({"tasks": 1}, "instances"),
        ({"tasks": 1, "instances": 9}, "open"),
        ({"tasks": 1, "instances": 9, "open_tasks": 1}, "label"),
        ({"tasks": 1, "instances": 9, "open_tasks": 1, "by_people": 3}, "by_judges"),
        ({"tasks": 1, "instances": 9, "open_tasks": 1, "by_people": 3, "by_judges": 9}, "plans"),
        ({"tasks": 1, "instances": 9, "open_tasks": 1, "by_people": 3, "by_judges": 9, "plans": 1}, "versions"),
        (dict.fromkeys(NOTHING, 1) | {"trained": 0}, "trained"),
        (dict.fromkeys(NOTHING, 1), "again"),
    ],
)
def test_the_suggestion_is_the_first_thing_missing(cast: Cast, there: dict[str, int], key: str) -> None:
    state = State(**(NOTHING | there))
    assert next_step(cast.project, state, steps_of(cast.project, state)).key == key


def test_the_number_of_queries_does_not_grow_with_tasks(
    voted: Cast, browser: Any, django_assert_max_num_queries: Any
) -> None:
    for n in range(8):
        more = tasks.create_task(voted.project, f"task {n}", QUESTIONS, actor=voted.owner)
        make_instances(more, 2)
    client = browser(voted.viewer)
    with django_assert_max_num_queries(36):
        assert client.get(url(voted)).status_code == 200


@pytest.mark.parametrize(
    ("micros", "currency", "words"),
    [
        (1_234_500_000, "USD", "$1,234.50"),
        (0, "EUR", "€0.00"),
        (12_000_000, "CHF", "12.00 CHF"),
        (1_234, "USD", "$0.0012"),
        (140, "USD", "$0.000140"),
    ],
)
def test_money_reads_like_money(micros: int, currency: str, words: str) -> None:
    assert money(micros, currency) == words
