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
    ridge_penalty: float = Field(
        1.0,
        gt=0,
        le=1e6,
        title="Ridge penalty",
        description="How strongly the weights that turn a completion's state into its attributes are held near zero.",
    )
    gate_width: int = Field(
        64, ge=1, le=8192, title="Width of the gate", description="Units of the network that weighs the attributes."
    )
    gate_steps: int = Field(
        300,
        ge=0,
        le=100_000,
        title="Updates of the gate",
        description="How often the gate sees all pairs, after the attributes are learned. With 0 all attributes count "
        "alike.",
    )
    verbosity: Literal["removed", "kept"] = Field(
        "removed",
        title="Verbosity",
        description="Whether what goes with mere length is taken out of each attribute before they are weighed.",
    )
    directions: int = Field(
        4,
        ge=1,
        le=64,
        title="Directions",
        description="How many directions are drawn for each prompt; for each, the completion that reaches furthest in "
        "it is imitated.",
    )
    segment: Literal["sentence", "clause"] = Field(
        "sentence", title="Segments", description="What a completion is cut into before each piece is judged."
    )
    unmarked: Literal["clean", "skip"] = Field(
        "clean",
        title="Unmarked completions",
        description="Whether a completion in which nobody marked anything is taken as free of errors, or left out as "
        "not judged.",
    )
    type_weights: str = Field(
        "",
        max_length=2000,
        title="Weights of error types",
        description="How much each type takes from the reward, such as “Irrelevant = 2, Redundant = 0.5”; a type that "
        "is not named counts 1.",
    )
    completeness_weight: float = Field(
        1.0, ge=0, le=1000, title="Weight of completeness", description="How much completeness adds to the reward."
    )
    rounds: int = Field(
        2,
        ge=1,
        le=16,
        title="Rounds of votes",
        description="How often the prompts are halved; a reward model of each half votes on the other. A round costs "
        "about as much as the run itself.",
    )
    flip_share: float = Field(
        0.1,
        ge=0,
        le=0.5,
        title="Share to turn round",
        description="The share of labels with the most votes against them, which are turned round.",
    )
    soften_share: float = Field(
        0.1,
        ge=0,
        le=1,
        title="Share to soften",
        description="The share of labels next in doubt, which are taken as only as sure as the votes are.",
    )
    vote_margin: float = Field(
        0.5,
        ge=0,
        le=100,
        title="Margin by votes",
        description="How far apart the scores of a sure pair must be, for each unit that the votes put between them.",
    )
    contrast_weight: float = Field(
        0.1,
        ge=0,
        le=100,
        title="Weight of contrast",
        description="How much telling pairs apart counts beside the preferences. 0 saves a forward pass.",
    )
    temperature: float = Field(
        0.05,
        gt=0,
        le=100,
        title="Temperature of contrast",
        description="Lower asks for a sharper distinction of pairs.",
    )
    token_weight: float = Field(
        0.25,
        ge=0,
        le=100,
        title="Weight of token rewards",
        description="How much the rewards of single tokens count beside the preference between whole completions.",
    )


OPTION_NAMES = tuple(ObjectiveOptions.model_fields)
