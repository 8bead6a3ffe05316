"""Drafts of a task's questions: kept at every change, asked of people only once they are put to use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from ..drafting import Draft, InvalidChange
from ..exceptions import InvalidInput, QuestionsChanged
from ..models import QuestionsDraft, Task, User
from ..text import InvalidText, check_texts
from . import tasks


def draft_of(task: Task) -> QuestionsDraft:
    """The task's draft; where there is none, an unsaved one of version 0 with the questions it asks."""
    kept = QuestionsDraft.objects.filter(task=task).first()
    return kept or QuestionsDraft(task=task, questions=task.questions, version=0)


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
        _keep(task, version, questions, actor)
    return draft_of(task)


def _keep(task: Task, version: int, questions: list[dict[str, Any]], actor: User) -> None:
    changed = {"questions": questions, "updated_by": actor, "updated_at": timezone.now()}
    if version:
        same = QuestionsDraft.objects.filter(task=task, version=version)
        if not same.update(version=F("version") + 1, **changed):
            raise QuestionsChanged
        return
    try:
        with transaction.atomic():
            QuestionsDraft.objects.create(task=task, version=1, **changed)
    except IntegrityError as error:
        raise QuestionsChanged from error


def discard(task: Task) -> None:
    """Forget the draft; the task asks what it asked."""
    QuestionsDraft.objects.filter(task=task).delete()


@transaction.atomic
def put_to_use(task: Task, version: int, asked: int, *, actor: User, accept_misfits: bool = False) -> Task:
    """Ask the questions of the draft from now on. ``asked`` is the questions version whose change was looked at.

    Raises QuestionsChanged when the draft or the task's questions are others by now, InvalidInput, AnswersMisfit.
    """
    now = Task.objects.select_for_update(no_key=True).get(pk=task.pk)
    draft = QuestionsDraft.objects.filter(task=now, version=version).first()
    if draft is None or asked != now.questions_version:
        raise QuestionsChanged
    changed = tasks.edit_task(now, actor=actor, accept_misfits=accept_misfits, questions=draft.questions)
    # a change saved meanwhile stays a draft: then nothing of this is put to use
    if not QuestionsDraft.objects.filter(pk=draft.pk, version=version).delete()[0]:
        raise QuestionsChanged
    return changed
