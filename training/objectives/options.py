"""The numbers that objectives read: what each means, its range, and what it is unless a run says otherwise."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ObjectiveOptions(BaseModel):
    """All options of all objectives; `catalogue.Objective.options` says which of them an objective reads."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    beta: float = Field(
        0.1,
        gt=0,
        le=100,
        title="Beta",
        description="How strongly the model is held back: smaller moves further from the reference policy. For ORPO "
        "the weight of its odds ratio.",
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, title="Label smoothing", description="The share of labels that you expect to be wrong."
    )
    margin_scale: float = Field(
        0.0,
        ge=0,
        le=100,
        title="Margin scale",
        description="How far apart the scores of a pair must be, per step of its strength.",
    )
    centring: float = Field(
        0.0, ge=0, le=100, title="Centring", description="How strongly scores are kept near zero; 0.01 is usual."
    )
    target_margin: float = Field(
        1.0,
        ge=0,
        le=100,
        title="Target margin",
        description="How far the chosen completion's reward must lead.",
    )
    desirable_weight: float = Field(
        1.0, ge=0, le=100, title="Weight of good", description="How much a completion labelled good counts."
    )
    undesirable_weight: float = Field(
        1.0, ge=0, le=100, title="Weight of bad", description="How much a completion labelled bad counts."
    )
    sft_weight: float = Field(
        0.05,
        ge=0,
        le=100,
        title="Weight of imitation",
        description="How much imitating the best completion counts beside the ranking.",
    )
    heads: int = Field(
        4,
        ge=2,
        le=64,
        title="Heads",
        description="How many reward models share the base model, each with its own head.",
    )
    bootstrap: Literal["prompts", "none"] = Field(
        "prompts",
        title="Bootstrap",
        description="Whether each head learns from its own draw of the prompts, with replacement.",
    )
    combine: Literal["mean", "worst", "uncertainty"] = Field(
        "mean",
        title="Combination",
        description="What the heads' scores make together: their mean, the lowest of them, or their mean less their "
        "variance.",
    )
    uncertainty_weight: float = Field(
        1.0,
        ge=0,
        le=1000,
        title="Weight of uncertainty",
        description="With the combination uncertainty: how much the variance of the heads takes away.",
    )


OPTION_NAMES = tuple(ObjectiveOptions.model_fields)
