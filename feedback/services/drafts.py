"""Drafts of a task's questions: kept at every change, asked of people only once they are put to use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from ..drafting import Draft, InvalidChange
from ..exceptions import InvalidInput, QuestionsChanged
from ..models import QuestionsDraft, Task, User
from ..text import InvalidText, check_texts
from . import tasks


def draft_of(task: Task) -> QuestionsDraft:
    """The task's draft; where nobody drafted anything, it shows the questions that the task asks."""
    draft = QuestionsDraft.objects.get(task=task)
    draft.task = task
    return draft


def change(task: Task, version: int, how: Callable[[Draft], Draft], *, actor: User) -> QuestionsDraft:
    """Change the draft that was last seen at ``version`` and keep it, right or not.

    Raises QuestionsChanged when it is at another version by now, InvalidInput.
    """
    draft = draft_of(task)
    if draft.version != version:
        raise QuestionsChanged
    try:
        questions = how(draft.questions)
        check_texts(questions)
    except InvalidChange as error:
        raise InvalidInput(str(error)) from error
    except InvalidText as error:
        raise InvalidInput(f"The text {error.reason}.") from error
    if questions != draft.questions:
        _write(task, version, changes=questions, updated_by=actor)
    return draft_of(task)


def _write(task: Task, version: int, **fields: Any) -> None:
    """Write the draft, if it is still at ``version``. Raises QuestionsChanged."""
    same = QuestionsDraft.objects.filter(task=task, version=version)
    if not same.update(version=F("version") + 1, updated_at=timezone.now(), **fields):
        raise QuestionsChanged


def discard(task: Task, version: int, *, actor: User) -> None:
    """Forget the draft that was last seen at ``version``; the task asks what it asked. Raises QuestionsChanged."""
    _write(task, version, changes=None, updated_by=actor)


@transaction.atomic
def put_to_use(task: Task, version: int, asked: int, *, actor: User, accept_misfits: bool = False) -> Task:
    """Ask the questions of the draft from now on. ``asked`` is the questions version whose change was looked at.

    Raises QuestionsChanged when the draft or the task's questions are others by now, InvalidInput, AnswersMisfit.
    """
    now = Task.objects.select_for_update(no_key=True).get(pk=task.pk)
    draft = draft_of(now)
    if draft.changes is None or (version, asked) != (draft.version, now.questions_version):
        raise QuestionsChanged
    changed = tasks.edit_task(now, actor=actor, accept_misfits=accept_misfits, questions=draft.changes)
    discard(now, version, actor=actor)  # a change saved meanwhile stays a draft: then nothing of this is put to use
    return changed
