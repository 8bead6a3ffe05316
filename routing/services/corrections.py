"""Reviewers' decisions as examples for a judge: those on the prompts that are most like the one at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedback.models import Adjudication, AdjudicationState, Instance, Task
from feedback.questions import PreferenceQuestion, strength
from routing.features.embedding import FORMAT_DIMS, hashed_embedding
from routing.judge.asking import Example

MOST_READ = 1000
DIMENSIONS = 256 + FORMAT_DIMS
TASKS_KEPT = 4


@dataclass(frozen=True)
class _Prompts:
    """Prompts that are the same when their hashes are."""

    hashes: tuple[str, ...]
    texts: tuple[str, ...] = field(compare=False)


@lru_cache(maxsize=TASKS_KEPT)
def _embedded(prompts: _Prompts) -> NDArray[np.float32]:
    """Kept from one reading of a task's decisions to the next."""
    return hashed_embedding(list(prompts.texts), DIMENSIONS)


class Corrections:
    """The standing decisions of a task on pairs, read once. A decision never speaks of its own prompt."""

    def __init__(self, task: Task) -> None:
        self._task = task

    @cached_property
    def _known(self) -> list[tuple[str, Example]]:
        """(prompt hash, example) of each decision that prefers a side or says tie, newest first."""
        asked = self._task.preference_question
        if not isinstance(asked, PreferenceQuestion):
            return []
        standing = Adjudication.objects.filter(instance__task=self._task, state=AdjudicationState.STANDING)
        rows = standing.select_related("instance", "annotation").order_by("-pk")[:MOST_READ]
        found = ((row.instance, _verdict(row.annotation.answers, asked), row.reason) for row in rows)
        return [
            (instance.prompt_hash, Example(_prompt(instance), *_pair(instance), verdict=verdict, reason=reason))
            for instance, verdict, reason in found
            if verdict and len(instance.completions) == 2
        ]

    @cached_property
    def _prompts(self) -> _Prompts:
        return _Prompts(*zip(*((name, example.prompt) for name, example in self._known), strict=True))

    def nearest(self, instance: Instance, count: int) -> tuple[Example, ...]:
        """At most ``count`` decisions on other prompts, the most similar prompt first."""
        known = self._known
        if not known:
            return ()
        own = hashed_embedding([_prompt(instance)], DIMENSIONS)[0]
        likeness = _embedded(self._prompts)[:, :-FORMAT_DIMS] @ own[:-FORMAT_DIMS]
        order = [int(row) for row in np.argsort(-likeness, kind="stable")]
        others = [row for row in order if known[row][0] != instance.prompt_hash]
        return tuple(known[row][1] for row in others[:count])


def _prompt(instance: Instance) -> str:
    return "\n\n".join(instance.prompt_texts())


def _pair(instance: Instance) -> tuple[str, str]:
    first, second = instance.completion_texts()
    return first, second


def _verdict(answers: Mapping[str, Any], asked: PreferenceQuestion) -> str:
    """``a``, ``b`` or ``tie``; empty when the decision says nothing of the order, or answers older questions."""
    value = answers.get(asked.name, {}).get("value")
    if value not in asked.values():
        return ""
    signed = strength(value, asked.steps)
    if signed is None:
        return ""
    return "tie" if signed == 0 else "a" if signed < 0 else "b"
