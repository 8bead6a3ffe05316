"""Drafts of questions under several hands: one change of each version counts, the others are told."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from feedback.exceptions import QuestionsChanged
from feedback.models import QuestionsDraft, QuestionsVersion
from feedback.services import drafts
from tests.conftest import Cast, make_cast

HANDS = 8


def at_once(act: Callable[[int], Any]) -> list[str]:
    """What ``act`` said in each of several threads that begin together: "done" or "refused"."""
    barrier = Barrier(HANDS)

    def run(number: int) -> str:
        try:
            barrier.wait(30)
            act(number)
            return "done"
        except QuestionsChanged:
            return "refused"
        finally:
            connection.close()

    with ThreadPoolExecutor(HANDS) as pool:
        return sorted(pool.map(run, range(HANDS)))


def renamed(number: int) -> Any:
    return lambda draft: [{**draft[0], "title": f"By {number}"}]


@pytest.mark.database
@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.django_db(transaction=True)
def test_of_several_changes_of_one_version_one_counts(version: int) -> None:
    cast = make_cast()
    if version:
        drafts.change(cast.task, 0, renamed(99), actor=cast.owner)
    said = at_once(lambda number: drafts.change(cast.task, version, renamed(number), actor=cast.owner))
    assert said == ["done"] + ["refused"] * (HANDS - 1)
    assert QuestionsDraft.objects.get().version == version + 1


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_a_draft_is_put_to_use_once() -> None:
    cast = make_cast()
    drafts.change(cast.task, 0, renamed(1), actor=cast.owner)
    said = at_once(lambda _: drafts.put_to_use(cast.task, 1, 1, actor=cast.owner))
    assert said == ["done"] + ["refused"] * (HANDS - 1)
    assert sorted(QuestionsVersion.objects.values_list("number", flat=True)) == [1, 2]


def test_a_draft_equal_to_what_is_asked_is_not_kept(cast: Cast) -> None:
    drafts.change(cast.task, 0, lambda draft: draft, actor=cast.owner)
    assert not QuestionsDraft.objects.exists()


def test_what_was_looked_at_is_what_is_put_to_use(cast: Cast) -> None:
    drafts.change(cast.task, 0, renamed(1), actor=cast.owner)
    for version, asked in ((0, 1), (2, 1), (1, 2)):
        with pytest.raises(QuestionsChanged):
            drafts.put_to_use(cast.task, version, asked, actor=cast.owner)
    drafts.put_to_use(cast.task, 1, 1, actor=cast.owner)
