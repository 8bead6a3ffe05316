"""What a judge is asked, and of what: the task's questions that its shape answers, and an instance's texts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from feedback.questions import (
    ChoiceQuestion,
    CritiqueQuestion,
    PreferenceQuestion,
    Question,
    QuestionBase,
    RankingQuestion,
    RatingQuestion,
    Scale,
    SpanQuestion,
)
from routing.judge.config import ALONE_SHAPES, DEFAULT_ASPECTS, PAIR_SHAPES, JudgeConfig, Order, PromptShape

LOWEST_RATING, HIGHEST_RATING = 1, 10
LOWEST_ASPECT, HIGHEST_ASPECT = 1, 5
MOST_COMPLETIONS = 16

Asked = TypeVar("Asked", bound=QuestionBase)


@dataclass(frozen=True)
class Example:
    """A reviewer's decision on another pair. `verdict` names the completion by stored order: `a`, `b` or `tie`."""

    prompt: str
    a: str
    b: str
    verdict: str
    reason: str


@dataclass(frozen=True)
class Material:
    """An instance as judges see it: prompt (text or chat messages), completions as stored, and what helps to judge."""

    prompt: str | tuple[Mapping[str, str], ...]
    completions: tuple[str, ...]
    reference: str = ""
    examples: tuple[Example, ...] = ()

    def content(self) -> str:
        """SHA-256 (hex) of all of it, each part length-prefixed so that no two instances collide."""
        digest = hashlib.sha256()
        parts = [canonical_prompt(self.prompt), *self.completions]
        if self.reference or self.examples:
            shown = [(e.prompt, e.a, e.b, e.verdict, e.reason) for e in self.examples]
            parts.append("beside:" + json.dumps([self.reference, shown]))
        for part in parts:
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big") + data)
        return digest.hexdigest()


@dataclass(frozen=True)
class View:
    """The completions of one call: `texts` as shown, `places` their indexes in the stored order."""

    texts: tuple[str, ...]
    places: tuple[int, ...]


@dataclass(frozen=True)
class Ask:
    """The questions of a task that a judge answers, and the scales on which it rates."""

    preference: PreferenceQuestion | None = None
    ranking: RankingQuestion | None = None
    rating: RatingQuestion | None = None
    critique: CritiqueQuestion | None = None
    span: SpanQuestion | None = None
    choices: tuple[ChoiceQuestion, ...] = ()
    scales: tuple[Scale, ...] = ()

    def version(self) -> str:
        """SHA-256 (hex) of what of the questions reaches the judge; the same for all tasks that ask a bare pair."""
        models = (*self.scales, self.ranking, self.critique, self.span, *self.choices)
        asked = [one.model_dump() for one in models if one]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


PAIR_ASK = Ask(preference=PreferenceQuestion(kind="preference", name="preference", title="Which is better?"))

# what each shape can answer, and the words for it
ANSWERS: dict[PromptShape, tuple[str, ...]] = {
    **dict.fromkeys(sorted(PAIR_SHAPES), ("preference",)),
    "rating": ("rating", "preference"),
    "aspect-rating": ("rating", "preference"),
    "ranking": ("ranking", "preference"),
    "critique": ("critique", "span"),
    "choice": ("choice",),
    "follow-up": ("preference", "ranking"),
}


def ask_of(config: JudgeConfig, questions: Sequence[Question]) -> Ask:
    """What a judge is asked of a task's instances.

    Of each kind the first question counts that is asked without a condition; of choices all such. A rating judge uses
    the scales of the task's rating, else one from 1 to 10; an aspect is rated on the task's scale of its name, else
    from 1 to 5. Raises ValueError, with a sentence, when the task asks nothing that this shape answers.
    """
    kinds = ANSWERS[config.shape]
    free = [question for question in questions if question.when is None]
    rated = [q for q in free if isinstance(q, RatingQuestion) and q.per == "completion"]
    rating = rated[0] if rated and "rating" in kinds else None
    ask = Ask(
        preference=_first(free, PreferenceQuestion) if "preference" in kinds else None,
        ranking=_first(free, RankingQuestion) if "ranking" in kinds else None,
        rating=rating,
        critique=_first(free, CritiqueQuestion) if "critique" in kinds else None,
        span=_first(free, SpanQuestion) if "span" in kinds else None,
        choices=tuple(q for q in free if isinstance(q, ChoiceQuestion)) if "choice" in kinds else (),
        scales=_scales(config, rating),
    )
    if not any((ask.preference, ask.ranking, ask.rating, ask.critique, ask.span, ask.choices)):
        wanted = " or ".join(kinds)
        raise ValueError(f"This task asks no {wanted} question, so there is nothing for this judge to answer.")
    if ask.rating and not ask.preference and not {s.name for s in ask.scales} & {s.name for s in ask.rating.scales}:
        raise ValueError("None of the judge's aspects is a scale of this task's rating.")
    return ask


def united(asks: Sequence[Ask]) -> Ask:
    """What at least one of several judges is asked: a panel's.

    Raises ValueError, with a sentence, where two rate on one scale from and to other values: no mean of those is true.
    """
    every: dict[str, Scale] = {}
    for scale in (scale for ask in asks for scale in ask.scales):
        known = every.setdefault(scale.name, scale)
        if (known.low, known.high) != (scale.low, scale.high):
            raise ValueError(
                f"The panel's members rate {scale.name} on different ranges: from {known.low} to {known.high} and from "
                f"{scale.low} to {scale.high}. Choose members that rate alike, or give the task a rating question."
            )
    choices = {question.name: question for ask in asks for question in ask.choices}
    return Ask(
        preference=next((ask.preference for ask in asks if ask.preference), None),
        ranking=next((ask.ranking for ask in asks if ask.ranking), None),
        rating=next((ask.rating for ask in asks if ask.rating), None),
        critique=next((ask.critique for ask in asks if ask.critique), None),
        span=next((ask.span for ask in asks if ask.span), None),
        choices=tuple(choices.values()),
        scales=tuple(every.values()),
    )


def _first(questions: Sequence[Question], kind: type[Asked]) -> Asked | None:
    return next((question for question in questions if isinstance(question, kind)), None)


def _scales(config: JudgeConfig, rating: RatingQuestion | None) -> tuple[Scale, ...]:
    known = {_bare(scale.name): scale for scale in rating.scales} if rating else {}
    if config.shape == "rating":
        return tuple(known.values()) or (Scale(name="overall", low=LOWEST_RATING, high=HIGHEST_RATING),)
    if config.shape != "aspect-rating":
        return ()
    aspects = config.aspects or tuple(scale.name for scale in known.values()) or DEFAULT_ASPECTS
    return tuple(
        known.get(_bare(aspect)) or Scale(name=aspect[:60], low=LOWEST_ASPECT, high=HIGHEST_ASPECT)
        for aspect in aspects
    )


def _bare(name: str) -> str:
    return name.strip().casefold().replace("_", " ").replace("-", " ")


def fits(config: JudgeConfig, material: Material) -> bool:
    """Whether a judge of this shape can be asked: a pair where it compares two, a reference where it needs one."""
    count = len(material.completions)
    if not material.prompt or not 1 <= count <= MOST_COMPLETIONS:
        return False
    if config.shape in PAIR_SHAPES and count != 2:
        return False
    if config.shape == "ranking" and count < 2:
        return False
    return config.shape != "reference" or bool(material.reference.strip())


def parts_of(config: JudgeConfig, material: Material) -> tuple[int | None, ...]:
    """The calls that one order and sample take: one for all completions (`None`), or one for each alone."""
    alone = config.alone and config.shape in ALONE_SHAPES
    return tuple(range(len(material.completions))) if alone else (None,)


def view_of(material: Material, order: Order, part: int | None = None) -> View:
    """What one call shows: all completions in an order, or one of them."""
    if part is not None:
        return View((material.completions[part],), (part,))
    places = tuple(range(len(material.completions)))
    shown = places if order == "ab" else places[::-1]
    return View(tuple(material.completions[place] for place in shown), shown)


def canonical_prompt(prompt: str | Sequence[Mapping[str, str]]) -> str:
    """A prompt in one unambiguous spelling, for hashing."""
    return json.dumps(prompt if isinstance(prompt, str) else [dict(m) for m in prompt], sort_keys=True)
