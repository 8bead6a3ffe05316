"""R20: many workers against one cap. Spent plus reserved never passes it, and no money is lost or made."""

from __future__ import annotations

import random
import threading
from typing import Any

import pytest
from django.db import connection

from feedback.exceptions import BudgetExhausted
from feedback.models import Budget
from feedback.services import budget
from routing.services import judges
from tests.conftest import make_cast
from tests.routing.judging_cast import (
    SIMULATED,
    assert_money_adds_up,
    judge_all,
    set_cap,
    simulated_judge,
    spent_on_calls,
)

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.database]

WORKERS, ROUNDS, CAP = 64, 50, 100_000


def spend(task: Any, seed: int, paid: list[int], refused: list[int]) -> None:
    rng = random.Random(seed)
    try:
        for _ in range(ROUNDS):
            worst = rng.randint(50, 150)
            try:
                budget.reserve(task, worst)
            except BudgetExhausted:
                refused.append(worst)
                continue
            cost = rng.randint(0, worst)
            budget.settle(task, reserved_micros=worst, spent_micros=cost)
            paid.append(cost)
    finally:
        connection.close()


@pytest.mark.slow
def test_64_workers_never_pass_the_cap() -> None:
    task = make_cast(instances=0).task
    set_cap(task, CAP)
    paid: list[int] = []
    refused: list[int] = []
    over: list[Budget] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            row = Budget.objects.get(task=task)
            if row.spent_micros + row.reserved_micros > row.cap_micros:
                over.append(row)
        connection.close()

    watcher = threading.Thread(target=watch)
    watcher.start()
    threads = [threading.Thread(target=spend, args=(task, seed, paid, refused)) for seed in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    watcher.join()
    row = Budget.objects.get(task=task)
    assert not over
    assert (row.reserved_micros, row.spent_micros) == (0, sum(paid))
    assert len(paid) + len(refused) == WORKERS * ROUNDS
    # the cap was really in the way: without it every worker's rounds would have cost about 160,000 in all
    assert row.spent_micros <= CAP


def test_two_judges_share_one_cap_and_stop_at_it() -> None:
    cast = make_cast(instances=30)
    first = simulated_judge(cast)
    second = judges.create_judge(cast.project, "Second", {**SIMULATED, "seed": 3}, actor=cast.owner)
    set_cap(cast.task, 30_000)
    jobs = [judge_all(cast, judge) for judge in (first, second)]
    assert sum(job.result["left"] for job in jobs) > 0
    row = assert_money_adds_up(cast.task)
    assert (row.reserved_micros, row.spent_micros) == (0, spent_on_calls(cast.task))
