"""The nouns of routing: arms that label, the money for them, the pool to be labelled, and the plan that comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from routing.ppm.adaptive import Learner
from routing.ppm.outlook import Outlook
from routing.ppm.quality import Advantage
from routing.ppm.tag_gain import TagGain

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Money is summed in whole billionths, so that no rounding can ever carry a plan above its budget.
UNITS_PER_MONEY = 1_000_000_000


class NotFittedError(ValueError):
    """The strategy needs something that has not been estimated for this pool yet."""


class Source(IntEnum):
    """Who labels an instance under a plan."""

    NONE = 0
    JUDGE = 1
    HUMAN = 2


@dataclass(frozen=True)
class Arm:
    """A way to label an instance: who, how many labels, what one costs (money), and for how many instances at most."""

    name: str
    kind: Literal["judge", "crowd", "expert"]
    unit_cost: float
    n_labels: int = 1
    capacity: int | None = None

    def __post_init__(self) -> None:
        if not np.isfinite(self.unit_cost) or self.unit_cost < 0 or self.n_labels < 1:
            raise ValueError("An arm needs a cost of at least zero and at least one label.")
        if self.capacity is not None and self.capacity < 0:
            raise ValueError("An arm cannot have a negative capacity.")

    @property
    def source(self) -> Source:
        """Whose label it buys."""
        return Source.JUDGE if self.kind == "judge" else Source.HUMAN

    @property
    def cost(self) -> float:
        """Money for one instance."""
        return self.unit_cost * self.n_labels

    @property
    def cost_units(self) -> int:
        """Money for one instance in billionths, rounded up."""
        return self.n_labels * int(np.ceil(round(self.unit_cost * UNITS_PER_MONEY, 3)))


@dataclass(frozen=True)
class Budget:
    """Money that a plan may still spend, and the arms that it buys from.

    What is already labelled costs nothing again. `others` are more arms, such as a second judge, three of the crowd or
    an expert, for strategies that choose among several. The judge's own capacity is not counted.
    """

    money: float
    judge: Arm
    human: Arm
    others: tuple[Arm, ...] = ()

    def __post_init__(self) -> None:
        if not np.isfinite(self.money) or self.money < 0:
            raise ValueError("A budget cannot be negative or infinite.")
        if len({arm.name for arm in self.arms}) < len(self.arms):
            raise ValueError("Every arm needs a name of its own.")

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All arms in the order in which plans number them: the judge 0, people 1, then the others."""
        return (self.judge, self.human, *self.others)

    @property
    def units(self) -> int:
        """The money in billionths, rounded down."""
        return int(np.floor(round(self.money * UNITS_PER_MONEY, 3)))


@dataclass(frozen=True)
class Pool:
    """N instances as a strategy sees them.

    judge_p [N]: debiased P(a preferred), NaN without a verdict. judged [N]: the judge was already asked (and paid),
    even if it abstained. order_consistent [N]: False where its verdict changed with the sides. human_done [N]:
    people's labels are there. tags [N, F]: 0/1. length_gap [N] ≥ 0, how far the completions' lengths part. The rest is
    estimated from the pilot; `learner` also from every later label; `true_gain` is known in simulations only.
    `arm_advantages`: over the judge, by the name of each further arm. `must` [N]: people label these before anything
    else, whatever the strategy wishes.
    """

    judge_p: Floats
    judged: Bools
    order_consistent: Bools
    human_done: Bools
    tags: NDArray[np.uint8]
    tag_names: tuple[str, ...]
    advantage: Advantage | None = None
    tag_gain: Floats | None = None
    outlook: Outlook | None = None
    true_gain: Floats | None = None
    tag_model: TagGain | None = None
    length_gap: Floats | None = None
    learner: Learner | None = None
    arm_advantages: Mapping[str, Advantage] = field(default_factory=dict)
    must: Bools | None = None

    def __post_init__(self) -> None:
        vectors = (self.judged, self.order_consistent, self.human_done, self.tags)
        if any(len(vector) != len(self.judge_p) for vector in vectors) or self.tags.shape[1] != len(self.tag_names):
            raise ValueError("The columns of a pool must have one length, and every tag column a name.")

    @property
    def size(self) -> int:
        """Number of instances."""
        return len(self.judge_p)

    @property
    def has_verdict(self) -> Bools:
        """Where a judge's label exists [N]."""
        return np.asarray(~np.isnan(self.judge_p))


@dataclass(frozen=True)
class Prediction:
    """Predicted metric of the reward model trained on a mix: mean and standard deviation (0…1 scale)."""

    mean: float
    sd: float


@dataclass(frozen=True)
class Plan:
    """A strategy's answer for a pool under a budget.

    arm [N] as `Source`; choice [N]: the arm's number in the budget's `arms`, −1 for none; score [N] in the strategy's
    own unit; lower [N]: a lower bound on the score (the score itself where the strategy has none); propensity [N]:
    probability, under the strategy, of the arm that was given. `reason_code` [N] indexes `reasons`, sentences for an
    admin in which `{score}` stands for the score in points.
    `now` [N] marks the instances to give to people at once where a strategy labels in rounds: the others are what it
    would choose if nothing were learned from this round. None: all at once.
    """

    strategy: str
    arm: NDArray[np.int8]
    score: Floats
    lower: Floats
    propensity: Floats
    reason_code: NDArray[np.uint8]
    reasons: tuple[str, ...]
    judge_cost: float
    human_cost: float
    unspent: float
    predicted: Prediction | None = None
    notes: tuple[str, ...] = field(default=())
    now: Bools | None = None
    choice: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, dtype=np.int8))

    @property
    def cost(self) -> float:
        """Money that carrying out the plan spends; never above the budget."""
        return self.judge_cost + self.human_cost

    @property
    def human_mask(self) -> NDArray[np.uint8]:
        """1 where people label [N]: the preference mix of the plan."""
        return np.asarray(self.arm == Source.HUMAN, dtype=np.uint8)

    def count(self, source: Source) -> int:
        """How many instances this source labels."""
        return int((self.arm == source).sum())

    def reason(self, index: int) -> str:
        """Why this instance went where it went, as one sentence."""
        points = f"{abs(100.0 * self.score[index]):.0f}"
        return self.reasons[int(self.reason_code[index])].replace("{score}", points)
