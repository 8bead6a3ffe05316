"""How a judge is configured. Whatever reaches the endpoint is part of `prompt_version`, and so of the cache key."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

BackendName = Literal["openai", "transformers", "simulated", "panel"]
PromptShape = Literal[
    "pairwise", "self-reference", "reference", "principles", "rating", "aspect-rating", "ranking", "critique", "choice",
    "follow-up",
]  # fmt: skip
Swap = Literal["none", "random", "both"]
Order = Literal["ab", "ba"]

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Price = Annotated[Decimal, Field(ge=0, max_digits=14, decimal_places=6)]

PAIR_SHAPES: frozenset[PromptShape] = frozenset({"pairwise", "self-reference", "reference", "principles"})
"""Shapes whose reply decides between two completions, in one order."""
ONCE_SHAPES: frozenset[PromptShape] = frozenset({"critique", "follow-up"})
"""Shapes that are asked once: texts cannot be averaged, and likelihoods of one completion know no order."""
ALONE_SHAPES: frozenset[PromptShape] = frozenset({"rating", "aspect-rating", "critique"})
"""Shapes that can look at each completion in a call of its own."""

DEFAULT_RUBRIC = (
    "Prefer the completion that follows the instructions, is correct, honest about what it does not know, and helps "
    "the user. Do not reward length, confidence or formatting for their own sake."
)

# instruction following, honesty, truthfulness and helpfulness, as UltraFeedback rates them (arXiv:2310.01377)
DEFAULT_ASPECTS = ("instruction following", "honesty", "truthfulness", "helpfulness")
# written principles under which a judge decides, as in SALMON (arXiv:2310.05910)
DEFAULT_PRINCIPLES = (
    "The completion says nothing that is false or that it could not know.",
    "The completion does what was asked, all of it and nothing else.",
    "The completion helps with nothing that would hurt people.",
    "The completion is as short as the question allows.",
    "The completion is clear to somebody who does not know the subject.",
)
# what a content and a disappointed person would say next (follow-up likelihood, arXiv:2409.13948)
POSITIVE_FOLLOWUPS = (
    "Thank you, that is exactly what I needed.",
    "That helps a lot, thanks.",
    "Great, now I understand.",
)
NEGATIVE_FOLLOWUPS = ("That is not what I asked for.", "No, that is wrong.", "That does not help me at all.")


class SimulatedNoise(BaseModel):
    """How far the simulated pool departs from its own opinion (AlpacaFarm flips labels at p = .25)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flip: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.25
    length_bias: Annotated[float, Field(ge=-3.0, le=3.0)] = 0.5
    position_bias: Annotated[float, Field(ge=-3.0, le=3.0)] = 0.3
    abstain: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0


class JudgeConfig(BaseModel):
    """One version of one judge. Prices are per million tokens, in the project's currency.

    ``aspects`` are looked at one by one, or rated by the shape ``aspect-rating``; ``alone`` rates each completion in a
    call of its own. Of ``principles``, ``principles_drawn`` are drawn for each instance. ``reference_field`` names the
    metadata that holds a reference answer. ``examples`` is how many reviewers' decisions on similar prompts are shown.
    ``members`` are the judges of a panel, by public id. Where a smaller share of samples or members than
    ``least_agreement`` agrees, a person is asked.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=120)]
    version: Annotated[int, Field(ge=1)] = 1
    backend: BackendName = "simulated"
    model: Annotated[str, Field(max_length=200)] = "simulated-pool"
    base_url: Annotated[str, Field(max_length=500)] = ""
    shape: PromptShape = "pairwise"
    rubric: Annotated[str, Field(max_length=8000)] = DEFAULT_RUBRIC
    persona: Annotated[str, Field(max_length=2000)] = ""
    aspects: Annotated[tuple[str, ...], Field(max_length=8)] = ()
    alone: bool = False
    principles: Annotated[tuple[str, ...], Field(max_length=20)] = DEFAULT_PRINCIPLES
    principles_drawn: Annotated[int, Field(ge=1, le=20)] = 3
    reference_field: Annotated[str, Field(max_length=80)] = "reference"
    positive_followups: Annotated[tuple[str, ...], Field(min_length=1, max_length=12)] = POSITIVE_FOLLOWUPS
    negative_followups: Annotated[tuple[str, ...], Field(min_length=1, max_length=12)] = NEGATIVE_FOLLOWUPS
    examples: Annotated[int, Field(ge=0, le=8)] = 0
    members: Annotated[tuple[str, ...], Field(max_length=7)] = ()
    least_agreement: Annotated[float, Field(ge=0.0, le=1.0)] = 0.6
    allow_ties: bool = True
    tie_band: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.1
    swap: Swap = "both"
    samples: Annotated[int, Field(ge=1, le=16)] = 1
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] = 0.0
    top_logprobs: Annotated[int, Field(ge=0, le=20)] = 0
    max_tokens: Annotated[int, Field(ge=16, le=16384)] = 512
    p_slightly: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.7
    p_clearly: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.9
    price_in: Price = Decimal(0)
    price_out: Price = Decimal(0)
    budget_cap: Annotated[Decimal, Field(ge=0)] | None = None
    noise: SimulatedNoise = SimulatedNoise()
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    deadline: Annotated[float, Field(gt=0.0, le=600.0)] = 60.0
    connect_timeout: Annotated[float, Field(gt=0.0, le=60.0)] = 5.0
    max_tries: Annotated[int, Field(ge=1, le=10)] = 4
    max_reply_bytes: Annotated[int, Field(ge=1024, le=4 * 1024 * 1024)] = 256 * 1024

    @field_validator("aspects")
    @classmethod
    def _aspects_are_named(cls, aspects: tuple[str, ...]) -> tuple[str, ...]:
        if any(not aspect.strip() or len(aspect) > 200 for aspect in aspects):
            raise ValueError("Each aspect needs a name of at most 200 characters.")
        if len({aspect.strip().casefold() for aspect in aspects}) < len(aspects):
            raise ValueError("Two aspects have the same name.")
        return aspects

    @field_validator("principles", "positive_followups", "negative_followups")
    @classmethod
    def _sentences_are_said(cls, sentences: tuple[str, ...]) -> tuple[str, ...]:
        if any(not sentence.strip() or len(sentence) > 500 for sentence in sentences):
            raise ValueError("Each line needs words, at most 500 characters.")
        return sentences

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.backend == "openai" and not self.base_url:
            raise ValueError("An OpenAI-compatible judge needs a base URL.")
        if self.p_clearly < self.p_slightly:
            raise ValueError("A clear preference must be at least as probable as a slight one.")
        if self.samples > 1 and self.temperature == 0.0 and self.backend in ("openai", "transformers"):
            raise ValueError("Several samples at temperature 0 would buy the same reply again.")
        if (self.backend == "panel") != bool(self.members) or len(set(self.members)) != len(self.members):
            raise ValueError("A panel, and nothing else, has members, each once.")
        if self.backend == "panel" and len(self.members) < 2:
            raise ValueError("A panel needs at least two members.")
        if self.shape == "follow-up" and self.backend != "transformers":
            raise ValueError("The likelihood of follow-ups needs a local model.")
        if self.shape == "principles" and not self.principles:
            raise ValueError("Write at least one principle.")
        if self.examples and self.shape not in PAIR_SHAPES:
            raise ValueError("Only a judge that decides between two completions is shown reviewers' decisions.")
        return self

    @property
    def prompt_version(self) -> str:
        """16 hexadecimal digits over every field that can change a reply or its reading. Prices and limits cannot."""
        readers = {"name", "version", "price_in", "price_out", "budget_cap", "swap", "tie_band", "least_agreement"}
        limits = {"deadline", "connect_timeout", "max_tries", "max_reply_bytes", "samples"}
        fields = self.model_dump(mode="json", exclude=readers | limits)
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def orders_for(config: JudgeConfig, instance_key: str) -> tuple[Order, ...]:
    """The side orders in which an instance is shown: (`ab`), one drawn by the instance's key and the seed, or both.

    `ab` is the stored order of all completions, `ba` its reverse. What is asked once, or of one completion alone, has
    no second order.
    """
    once = config.shape in ONCE_SHAPES or (config.alone and config.shape in ALONE_SHAPES)
    if config.swap == "none" or once:
        return ("ab",)
    if config.swap == "both":
        return ("ab", "ba")
    digest = hashlib.sha256(f"order:{config.seed}:{instance_key}".encode()).digest()
    return ("ab",) if digest[0] & 1 else ("ba",)
