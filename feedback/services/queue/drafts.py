"""Drafts: what is typed, kept by version, so that two tabs never overwrite each other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.db.models import F
from django.utils import timezone

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
    now = timezone.now()
    fields: dict[str, Any] = {"draft": answers, "draft_version": F("draft_version") + 1, "active_ms": active_ms}
    same = Assignment.objects.filter(pk=assignment.pk, draft_version=version)
    expires = lease_end(assignment.task)
    if same.filter(state=AssignmentState.LENT).update(lease_expires_at=expires, **fields):
        assignment.lease_expires_at = expires
        return version + 1
    if same.filter(state=AssignmentState.EXPIRED).update(ended_at=now, **fields):
        raise LeaseLost
    current = Assignment.objects.get(pk=assignment.pk)
    if current.state not in (AssignmentState.LENT, AssignmentState.EXPIRED):
        raise WrongState("This assignment has ended.")
    raise DraftConflict(current.draft_version, current.draft)


def check_draft(questions: Sequence[Question], answers: object) -> None:
    """A draft may be incomplete, but holds only known questions and at most 1 MB. Raises InvalidInput."""
    names = {question.name for question in questions}
    if not isinstance(answers, dict) or not set(answers) <= names:
        raise InvalidInput(errors={"answers": Sentence("A draft holds answers to this task's questions only.")})
    if len(json.dumps(answers)) > 1_000_000:
        raise InvalidInput(errors={"answers": Sentence("The draft is larger than 1 MB.")})
