"""A pool of 13 simulated annotators after AlpacaFarm (Dubois et al. 2023): different tastes, biases and a label flip.

It costs nothing, needs no network and repeats exactly: everything is drawn from the seed, the instance and the call.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from routing.judge.backends import JudgeRequest, Reply, Usage
from routing.judge.prompts import HIGHEST_RATING, LOWEST_RATING

WORD = re.compile(r"[^\W_]+")
STRUCTURE = re.compile(r"^(?:\s*[-*•]|\s*\d+[.)]|#+ |```)", re.MULTILINE)
REFUSAL = re.compile(r"\b(?:I(?:'m| am) (?:sorry|unable)|I (?:cannot|can't|won't)|as an AI)\b", re.IGNORECASE)
TIE_MARGIN = 0.1
CLEAR_MARGIN = 1.0


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
        margin = self._margin(who, request)
        if rng.random() < config.noise.flip:
            margin = -margin
        margin += 0.3 * rng.gauss(0.0, 1.0)
        return Reply(_answer(margin, who, request), usage)

    def _margin(self, who: Persona, request: JudgeRequest) -> float:
        noise = request.config.noise
        first, second = _traits(request.prompt_text, request.first), _traits(request.prompt_text, request.second)
        length = first.log_length - second.log_length
        known = self._margins.get(request.instance_key)
        if known is None:
            taste = _taste(who, first, second)
        else:
            taste = known if request.order == "ab" else -known
        bias = noise.length_bias * length + noise.position_bias * (1.0 + who.position)
        return who.sharpness * taste + bias


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


def _taste(who: Persona, first: _Traits, second: _Traits) -> float:
    return (
        who.relevance * (first.relevance - second.relevance)
        + who.structure * (first.structure - second.structure)
        + who.detail * (first.detail - second.detail)
        - who.brevity * (first.log_length - second.log_length)
        - who.refusal * (first.refusal - second.refusal)
    )


def _answer(margin: float, who: Persona, request: JudgeRequest) -> str:
    reason = f"Simulated annotator: {who.name}."
    if request.config.shape == "rating":
        middle = (LOWEST_RATING + HIGHEST_RATING) / 2
        ratings = [round(min(max(middle + side * margin, LOWEST_RATING), HIGHEST_RATING)) for side in (1.0, -1.0)]
        return json.dumps({"reason": reason, "first": ratings[0], "second": ratings[1]})
    tied = request.config.allow_ties and abs(margin) < TIE_MARGIN
    verdict = "tie" if tied else "first" if margin > 0 else "second"
    strength = "clearly" if abs(margin) > CLEAR_MARGIN else "slightly"
    return json.dumps({"reason": reason, "verdict": verdict, "strength": strength})


def _usage(request: JudgeRequest) -> Usage:
    return Usage(request.prompt.sent_bytes // 4, 24)
