"""A pool of 13 simulated annotators after AlpacaFarm (Dubois et al. 2023): different tastes, biases and a label flip.

It costs nothing, needs no network and repeats exactly: everything is drawn from the seed, the instance and the call.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from feedback.questions import Scale, SpanQuestion
from routing.judge.backends import JudgeRequest, Reply, Usage
from routing.judge.config import PAIR_SHAPES, PromptShape
from routing.judge.prompts import principles_for, render_messages
from routing.judge.schemas import label_of
from routing.judge.tagging import MOST_OPTIONS, Dimension

WORD = re.compile(r"[^\W_]+")
STRUCTURE = re.compile(r"^(?:\s*[-*•]|\s*\d+[.)]|#+ |```)", re.MULTILINE)
REFUSAL = re.compile(r"\b(?:I(?:'m| am) (?:sorry|unable)|I (?:cannot|can't|won't)|as an AI)\b", re.IGNORECASE)
TIE_MARGIN = 0.1
CLEAR_MARGIN = 1.0
FEW_OPTIONS, WORDS_PER_OPTION = 8, 20


@dataclass(frozen=True)
class Persona:
    """A simulated annotator's taste. Weights apply to differences of traits; `sharpness` scales the margin."""

    name: str
    relevance: float
    structure: float
    detail: float
    brevity: float
    refusal: float
    sharpness: float
    position: float


PERSONAS: tuple[Persona, ...] = (
    Persona("careful generalist", 2.0, 0.5, 0.5, 0.0, 1.5, 1.0, 0.0),
    Persona("strict instructor", 3.0, 0.2, 0.3, 0.3, 2.0, 1.4, 0.1),
    Persona("lover of lists", 1.0, 1.5, 0.5, 0.0, 1.0, 1.0, 0.2),
    Persona("fact checker", 1.5, 0.2, 1.5, 0.0, 0.5, 1.2, 0.0),
    Persona("hurried reader", 1.0, 0.3, 0.1, 1.0, 1.0, 0.8, 0.6),
    Persona("patient reader", 1.5, 0.4, 1.0, -0.5, 1.0, 0.9, -0.2),
    Persona("engineer", 1.5, 0.8, 1.2, 0.3, 1.5, 1.1, 0.0),
    Persona("teacher", 2.0, 1.0, 0.8, -0.2, 1.0, 1.0, 0.1),
    Persona("minimalist", 1.5, -0.3, 0.2, 1.5, 1.0, 1.0, 0.0),
    Persona("safety reviewer", 1.5, 0.2, 0.3, 0.0, -1.5, 1.0, 0.0),
    Persona("first impression", 0.8, 0.5, 0.3, 0.0, 0.8, 0.6, 1.2),
    Persona("contrarian", 0.8, 0.0, -0.3, 0.3, 0.5, 0.6, -0.6),
    Persona("average crowd worker", 1.2, 0.5, 0.5, -0.3, 1.0, 0.7, 0.3),
)


@dataclass(frozen=True)
class _Traits:
    relevance: float
    structure: float
    detail: float
    log_length: float
    refusal: float


class SimulatedBackend:
    """Answers in the configured shape without a model.

    `margins` maps an instance key to a known preference of a over b (in logits), which then replaces the texts' traits,
    so a simulation can give the pool something true to be noisy about.
    """

    def __init__(self, margins: Mapping[str, float] | None = None) -> None:
        self._margins = dict(margins or {})

    def complete(self, request: JudgeRequest) -> Reply:
        """The drawn annotator's reply, as JSON text in the schema of the request (or a refusal, if so configured)."""
        config = request.config
        who = persona_for(config.seed, request.instance_key, request.sample)
        rng = _rng(config.seed, request.instance_key, request.sample, request.order)
        usage = _usage(request)
        if rng.random() < config.noise.abstain:
            return Reply("I am sorry, I cannot compare these.", usage, refused=True)
        if request.dimension is not None:
            return Reply(json.dumps(_tagged(request.dimension, render_messages(request.material.prompt))), usage)
        flipped = rng.random() < config.noise.flip
        if config.shape in PAIR_SHAPES:
            margin = self._margin(who, request) * (-1.0 if flipped else 1.0) + 0.3 * rng.gauss(0.0, 1.0)
            return Reply(json.dumps(_decision(margin, who, request)), usage)
        side = -1.0 if flipped else 1.0
        scores = [side * score + 0.3 * rng.gauss(0.0, 1.0) for score in self._scores(who, request)]
        return Reply(json.dumps(_OTHERS[config.shape](scores, who, request, rng)), usage)

    def _margin(self, who: Persona, request: JudgeRequest) -> float:
        """How much better the first is than the second, in logits."""
        first, second = self._scores(who, request)
        return first - second

    def _scores(self, who: Persona, request: JudgeRequest) -> list[float]:
        """How good each shown completion seems, in logits around their mean; the bias to the first place included."""
        noise, view = request.config.noise, request.view
        known = self._margins.get(request.instance_key)
        prompt = render_messages(request.material.prompt)
        traits = [_traits(prompt, text) for text in view.texts]
        tastes = [_taste(who, one) for one in traits]
        if known is not None and len(view.places) == 2:
            tastes = [known / 2 if place == 0 else -known / 2 for place in view.places]
        lengths = [noise.length_bias * one.log_length for one in traits]
        scores = [who.sharpness * taste + length for taste, length in zip(tastes, lengths, strict=True)]
        if len(scores) > 1:
            scores[0] += noise.position_bias * (1.0 + who.position)
        mean = sum(scores) / len(scores) if len(scores) > 1 else 0.0
        return [score - mean for score in scores]


def persona_for(seed: int, instance_key: str, sample: int) -> Persona:
    """The annotator drawn for an instance: the same in both orders, another one for another sample."""
    return _rng(seed, instance_key, sample, "persona").choice(PERSONAS)


def _rng(seed: int, instance_key: str, sample: int, part: str) -> Random:
    digest = hashlib.sha256(f"{seed}:{sample}:{part}:{instance_key}".encode("utf-8", "replace")).digest()
    return Random(int.from_bytes(digest[:8], "big"))


def _traits(prompt: str, text: str) -> _Traits:
    asked = {word.lower() for word in WORD.findall(prompt) if len(word) > 3}
    words = WORD.findall(text)
    used = {word.lower() for word in words}
    specifics = sum(word[0].isdigit() or word[0].isupper() for word in words)
    return _Traits(
        relevance=len(asked & used) / max(len(asked), 1),
        structure=math.log1p(len(STRUCTURE.findall(text))),
        detail=specifics / max(len(words), 1),
        log_length=math.log1p(len(words)),
        refusal=float(bool(REFUSAL.search(text))),
    )


def _taste(who: Persona, text: _Traits) -> float:
    return (
        who.relevance * text.relevance
        + who.structure * text.structure
        + who.detail * text.detail
        - who.brevity * text.log_length
        - who.refusal * text.refusal
    )


def _reason(who: Persona) -> str:
    return f"Simulated annotator: {who.name}."


def _decision(margin: float, who: Persona, request: JudgeRequest) -> dict[str, Any]:
    tied = request.config.allow_ties and abs(margin) < TIE_MARGIN
    verdict = "tie" if tied else "first" if margin > 0 else "second"
    decision: dict[str, Any] = {"verdict": verdict, "strength": "clearly" if abs(margin) > CLEAR_MARGIN else "slightly"}
    if request.config.shape == "self-reference":
        texts = {"own_answer": _reason(who), "critique_first": _reason(who), "critique_second": _reason(who)}
        return texts | decision
    count = len(principles_for(request.config, request.material))
    kept = {"principles": {f"principle_{n}": verdict for n in range(1, count + 1)}} if count else {}
    return {"reason": _reason(who)} | kept | decision


def _rating(scores: Sequence[float], who: Persona, request: JudgeRequest, rng: Random) -> dict[str, Any]:
    rated = [{s.name: _on_scale(score, s) for s in request.ask.scales} for score in scores]
    return {"reason": _reason(who)} | {label_of(number): one for number, one in enumerate(rated)}


def _aspect_rating(scores: Sequence[float], who: Persona, request: JudgeRequest, rng: Random) -> dict[str, Any]:
    return {
        label_of(number): {
            scale.name: {"rationale": _reason(who), "rating": _on_scale(score + 0.5 * rng.gauss(0.0, 1.0), scale)}
            for scale in request.ask.scales
        }
        for number, score in enumerate(scores)
    }


def _on_scale(score: float, scale: Scale) -> int:
    """A score of nothing is the middle; each logit is a fifth of the scale."""
    middle, reach = (scale.low + scale.high) / 2, (scale.high - scale.low) / 5
    return round(min(max(middle + reach * score, scale.low), scale.high))


def _ranking(scores: Sequence[float], who: Persona, request: JudgeRequest, rng: Random) -> dict[str, Any]:
    order = sorted(range(len(scores)), key=lambda number: -scores[number])
    return {"reason": _reason(who), "ranking": [[number + 1] for number in order]}


def _critique(scores: Sequence[float], who: Persona, request: JudgeRequest, rng: Random) -> dict[str, Any]:
    ask = request.ask
    reply = {}
    for number, text in enumerate(request.view.texts):
        one: dict[str, Any] = {"critique": f"{_reason(who)} Worth {scores[number]:+.1f}."}
        if ask.critique and ask.critique.ask_refinement:
            one["refinement"] = text
        if ask.span:
            one["marks"] = _marks(text, scores[number], ask.span)
        reply[label_of(number)] = one
    return reply


def _marks(text: str, score: float, question: SpanQuestion) -> list[dict[str, Any]]:
    """One mark in a completion that seems bad: its longest word."""
    words = sorted(WORD.finditer(text), key=lambda match: -len(match[0]))
    if score >= 0 or not words:
        return []
    mark: dict[str, Any] = {"quote": words[0][0], "occurrence": 1, "type": question.types[0].name}
    mark["occurrence"] = 1 + text[: words[0].start()].count(words[0][0])
    mark |= {"subtype": ""} if any(one.subtypes for one in question.types) else {}
    mark |= {"severity": next(iter(question.severities))} if question.severities else {}
    return [mark | {"comment": "Simulated."}]


def _tagged(dimension: Dimension, prompt: str) -> dict[str, Any]:
    """Options that the prompt names in words; else, of few options, the further down the more words it has."""
    words = [word.lower() for word in WORD.findall(prompt)]
    options = list(dimension.options)
    said = [one for one in options if set(one.split()) <= set(words)][:MOST_OPTIONS]
    place = len(options) - 1 if len(options) > FEW_OPTIONS else min(len(words) // WORDS_PER_OPTION, len(options) - 1)
    found = said or [options[place]]
    found = ["none"] if "none" in found else found
    return {"options": found} if dimension.multiple else {"option": found[0]}


def _choice(scores: Sequence[float], who: Persona, request: JudgeRequest, rng: Random) -> dict[str, Any]:
    """Options at random: the same in both orders, as its annotator is."""
    answers: dict[str, Any] = {}
    for question in request.ask.choices:
        own = _rng(request.config.seed, request.instance_key, request.sample, question.name)
        option = own.choice(question.options)
        answers[question.name] = [option] if question.multiple else option
    return {"reason": _reason(who), "answers": answers}


_OTHERS: dict[PromptShape, Callable[[Sequence[float], Persona, JudgeRequest, Random], dict[str, Any]]] = {
    "rating": _rating,
    "aspect-rating": _aspect_rating,
    "ranking": _ranking,
    "critique": _critique,
    "choice": _choice,
}


def _usage(request: JudgeRequest) -> Usage:
    return Usage(request.prompt.sent_bytes // 4, 24)
