"""From refinements to pairs: a completion that somebody edited is worse than what they made of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from feedback.questions import Question


class Critic(NamedTuple):
    """One annotation: who made it, the kind of annotator, and the answers by question."""

    annotator: int
    source: str
    answers: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refinement:
    """``text`` is what ``annotators`` made of completion ``index``; ``source`` is ``human`` or ``judge``."""

    index: int
    text: str
    source: str
    annotators: tuple[int, ...]


def asks_refinement(questions: Sequence[Question]) -> bool:
    """Whether any question can be answered with a refinement."""
    return any(question.kind == "critique" and question.ask_refinement for question in questions)


def refinements(
    questions: Sequence[Question], critics: Sequence[Critic], completions: Sequence[str], wanted: str
) -> list[Refinement]:
    """Each different refinement of an instance once, by completion and then in the order of ``critics``.

    One that equals its completion or is blank is none. ``wanted`` is ``human``, ``judge``, or ``any``: people's where
    a person refined the instance, otherwise the judges'.
    """
    found: dict[str, dict[tuple[int, str], list[int]]] = {"human": {}, "judge": {}}
    for critic in critics:
        made = found["judge" if critic.source == "judge" else "human"]
        for key in _told(questions, critic.answers, completions):
            made.setdefault(key, []).append(critic.annotator)
    source = ("human" if found["human"] else "judge") if wanted == "any" else wanted
    pairs = sorted(found[source].items(), key=lambda pair: pair[0][0])
    return [Refinement(index, text, source, tuple(annotators)) for (index, text), annotators in pairs]


def _told(
    questions: Sequence[Question], answers: Mapping[str, Any], completions: Sequence[str]
) -> list[tuple[int, str]]:
    told: dict[tuple[int, str], None] = {}
    for question in questions:
        answer = answers.get(question.name) if question.kind == "critique" else None
        texts = answer.get("refinements", []) if isinstance(answer, Mapping) else []
        pairs = enumerate(zip(texts, completions, strict=False))
        told |= {(index, text): None for index, (text, was) in pairs if text and text.strip() and text != was}
    return list(told)
