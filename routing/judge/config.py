"""How a judge is configured. Whatever reaches the endpoint is part of `prompt_version`, and so of the cache key."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

BackendName = Literal["openai", "simulated"]
PromptShape = Literal["pairwise", "rating"]
Swap = Literal["none", "random", "both"]
Order = Literal["ab", "ba"]

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Price = Annotated[Decimal, Field(ge=0, max_digits=14, decimal_places=6)]

DEFAULT_RUBRIC = (
    "Prefer the completion that follows the instructions, is correct, honest about what it does not know, and helps "
    "the user. Do not reward length, confidence or formatting for their own sake."
)


class SimulatedNoise(BaseModel):
    """How far the simulated pool departs from its own opinion (AlpacaFarm flips labels at p = .25)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    flip: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.25
    length_bias: Annotated[float, Field(ge=-3.0, le=3.0)] = 0.5
    position_bias: Annotated[float, Field(ge=-3.0, le=3.0)] = 0.3
    abstain: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0


class JudgeConfig(BaseModel):
    """One version of one judge. Prices are per million tokens, in the project's currency."""

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
        return aspects

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.backend == "openai" and not self.base_url:
            raise ValueError("An OpenAI-compatible judge needs a base URL.")
        if self.p_clearly < self.p_slightly:
            raise ValueError("A clear preference must be at least as probable as a slight one.")
        if self.samples > 1 and self.temperature == 0.0 and self.backend == "openai":
            raise ValueError("Several samples at temperature 0 would buy the same reply again.")
        return self

    @property
    def prompt_version(self) -> str:
        """16 hexadecimal digits over every field that can change a reply or its reading. Prices and limits cannot."""
        readers = {"name", "version", "price_in", "price_out", "budget_cap", "swap", "tie_band"}
        limits = {"deadline", "connect_timeout", "max_tries", "max_reply_bytes", "samples"}
        fields = self.model_dump(mode="json", exclude=readers | limits)
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:16]


def orders_for(config: JudgeConfig, instance_key: str) -> tuple[Order, ...]:
    """The side orders in which an instance is shown: (`ab`), one drawn by the instance's key and the seed, or both."""
    if config.swap == "both":
        return ("ab", "ba")
    if config.swap == "none":
        return ("ab",)
    digest = hashlib.sha256(f"order:{config.seed}:{instance_key}".encode()).digest()
    return ("ab",) if digest[0] & 1 else ("ba",)
