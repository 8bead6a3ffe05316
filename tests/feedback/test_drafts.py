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
from feedback.services import drafts, tasks
from tests.conftest import QUESTIONS, Cast, make_cast

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
    assert QuestionsDraft.objects.get().changes is None


def test_what_was_looked_at_is_what_is_put_to_use(cast: Cast) -> None:
    drafts.change(cast.task, 0, renamed(1), actor=cast.owner)
    for version, asked in ((0, 1), (2, 1), (1, 2)):
        with pytest.raises(QuestionsChanged):
            drafts.put_to_use(cast.task, version, asked, actor=cast.owner)
    drafts.put_to_use(cast.task, 1, 1, actor=cast.owner)


def test_versions_go_on_after_a_draft_was_discarded_or_used(cast: Cast) -> None:
    drafts.change(cast.task, 0, renamed(1), actor=cast.owner)
    drafts.discard(cast.task, 1, actor=cast.owner)
    cleared = drafts.draft_of(cast.task)
    assert (cleared.version, cleared.changes, cleared.questions) == (2, None, cast.task.questions)
    drafts.change(cast.task, 2, renamed(2), actor=cast.owner)
    drafts.put_to_use(cast.task, 3, 1, actor=cast.owner)
    assert drafts.draft_of(cast.task).version == 4
    for act in (
        lambda version: drafts.change(cast.task, version, renamed(3), actor=cast.owner),
        lambda version: drafts.discard(cast.task, version, actor=cast.owner),
        lambda version: drafts.put_to_use(cast.task, version, 2, actor=cast.owner),
    ):
        for version in range(4):
            with pytest.raises(QuestionsChanged):
                act(version)


def test_a_draft_changed_while_it_is_put_to_use_is_asked_of_nobody(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    drafts.change(cast.task, 0, renamed(1), actor=cast.owner)
    edit = tasks.edit_task

    def edit_while_somebody_saves(*args: Any, **fields: Any) -> Any:
        drafts.change(cast.task, 1, renamed(2), actor=cast.owner)
        return edit(*args, **fields)

    monkeypatch.setattr(tasks, "edit_task", edit_while_somebody_saves)
    with pytest.raises(QuestionsChanged):
        drafts.put_to_use(cast.task, 1, 1, actor=cast.owner)
    cast.task.refresh_from_db()
    assert cast.task.questions_version == 1


@pytest.mark.database
@pytest.mark.django_db(transaction=True)
def test_of_a_save_a_discard_and_a_use_at_once_one_counts() -> None:
    cast = make_cast()
    drafts.change(cast.task, 0, renamed(1), actor=cast.owner)
    ways = (
        lambda: drafts.put_to_use(cast.task, 1, 1, actor=cast.owner),
        lambda: drafts.change(cast.task, 1, renamed(2), actor=cast.owner),
        lambda: drafts.discard(cast.task, 1, actor=cast.owner),
    )
    said = at_once(lambda number: ways[number % 3]())
    assert said == ["done"] + ["refused"] * (HANDS - 1)
    draft = drafts.draft_of(cast.task)
    cast.task.refresh_from_db()
    assert draft.version == 2
    asked = cast.task.questions[0]["title"]
    assert (draft.questions[0]["title"], asked) in {("By 2", QUESTIONS[0]["title"]), (asked, asked)}
