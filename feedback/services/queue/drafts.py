"""Drafts: what is typed, kept by version, so that two tabs never overwrite each other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.db.models import DateTimeField, F, JSONField, QuerySet
from django.utils import timezone

from ...composed import Update, slot
from ...exceptions import DraftConflict, InvalidInput, LeaseLost, WrongState
from ...models import Assignment, AssignmentState
from ...questions import Question
from ...wording import Sentence
from .lending import lease_end


def save_draft(assignment: Assignment, *, version: int, answers: dict[str, Any], active_ms: int) -> int:
    """Store the draft and renew the lease, which ``assignment`` then says; returns the new version.

    Raises DraftConflict when ``version`` is not the stored one, LeaseLost when the assignment is no longer lent.
    An expired assignment keeps the draft too, so that nothing typed is lost.
    """
    check_draft(assignment.parsed_questions, answers)
    expires = lease_end(assignment.task)
    typed = {"key": assignment.pk, "version": version, "draft": answers, "active_ms": active_ms}
    if _save_lent(expires=expires, **typed):
        assignment.lease_expires_at = expires
        return version + 1
    if _save_expired(now=timezone.now(), **typed):
        raise LeaseLost
    current = Assignment.objects.get(pk=assignment.pk)
    if current.state not in (AssignmentState.LENT, AssignmentState.EXPIRED):
        raise WrongState("This assignment has ended.")
    raise DraftConflict(current.draft_version, current.draft)


def _in_state(state: AssignmentState) -> QuerySet[Assignment]:
    return Assignment.objects.filter(pk=slot("key"), draft_version=slot("version"), state=state)


_TYPED: dict[str, Any] = {
    "draft": slot("draft", JSONField),
    "draft_version": F("draft_version") + 1,
    "active_ms": slot("active_ms"),
}
_save_lent = Update(lambda: _in_state(AssignmentState.LENT), lease_expires_at=slot("expires", DateTimeField), **_TYPED)
_save_expired = Update(lambda: _in_state(AssignmentState.EXPIRED), ended_at=slot("now", DateTimeField), **_TYPED)


def check_draft(questions: Sequence[Question], answers: object) -> None:
    """A draft may be incomplete, but holds only known questions and at most 1 MB. Raises InvalidInput."""
    names = {question.name for question in questions}
    if not isinstance(answers, dict) or not set(answers) <= names:
        raise InvalidInput(errors={"answers": Sentence("A draft holds answers to this task's questions only.")})
    if len(json.dumps(answers)) > 1_000_000:
        raise InvalidInput(errors={"answers": Sentence("The draft is larger than 1 MB.")})
