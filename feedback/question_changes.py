"""What a change of a task's questions means for answers that were given to the earlier ones.

Answers name their question and nothing else, so an answer lives on under the question of the same name, as long as it
still fits it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from feedback.answers import check_answer
from feedback.content import Shown
from feedback.questions import InvalidAnswer, Question

# how and when a question is put to people; an answer fits or not whatever these say
WORDING = frozenset({"title", "description", "required", "when"})


def same_form(one: Question, other: Question) -> bool:
    """Whether every answer to ``one`` is an answer to ``other``: they differ in wording at most."""
    return one.kind == other.kind and one.model_dump(exclude=set(WORDING)) == other.model_dump(exclude=set(WORDING))


def still_fits(before: Question | None, after: Question, answer: object, shown: Shown) -> bool:
    """Whether an answer to ``before`` (``None``: nobody knows any more) may stand as one to ``after``."""
    if before and same_form(before, after):
        return True
    try:
        check_answer(after, answer, shown)
    except InvalidAnswer:
        return False
    return before is None or before.kind == after.kind


def carry_over(
    before: Sequence[Question],
    after: Sequence[Question],
    answers: Mapping[str, Any],
    shown: Shown,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """``answers`` in two parts: those that fit the questions of ``after``, and those that have no place there."""
    old, new = ({question.name: question for question in questions} for questions in (before, after))
    kept = {
        name: answer
        for name, answer in answers.items()
        if name in new and still_fits(old.get(name), new[name], answer, shown)
    }
    return kept, {name: answer for name, answer in answers.items() if name not in kept}
