"""Judging and planning from the shell."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from feedback.models import AnnotationRequest
from tests.conftest import Cast
from tests.routing.judging_cast import set_cap, simulated_judge
from tests.routing.planning_cast import make_world

pytestmark = pytest.mark.django_db(transaction=True)


def run(*args: Any, **options: Any) -> str:
    out = StringIO()
    call_command(*map(str, args), stdout=out, **options)
    return out.getvalue()


def test_a_judge_is_run_from_the_shell(cast: Cast) -> None:
    set_cap(cast.task, 10_000_000)
    judge = simulated_judge(cast)
    assert "2 judged." in run("run_judge", judge.public_id, cast.task.public_id, "--random", "2")
    assert "3 judged." in run("run_judge", judge.public_id, cast.task.public_id)


def test_a_plan_is_made_and_applied_from_the_shell() -> None:
    world = make_world(size=60, votes=30)
    task, judge = world.cast.task.public_id, world.judge.public_id
    told = run("make_plan", task, "disagreement", "2.50", judge, "--apply")
    assert "35 to people, 25 to the judge" in told
    assert "2.50 reserved" in told
    assert AnnotationRequest.objects.filter(source="human", state="open").count() == 5


@pytest.mark.parametrize("budget", ["x", "NaN", "Infinity", "-1"])
def test_an_amount_that_is_none_is_refused(budget: str) -> None:
    world = make_world(size=10, votes=0)
    with pytest.raises(CommandError):
        run("make_plan", world.cast.task.public_id, "random", "--", budget, world.judge.public_id)


def test_an_unknown_judge_is_refused(cast: Cast) -> None:
    with pytest.raises(CommandError):
        run("run_judge", cast.task.public_id, cast.task.public_id)
