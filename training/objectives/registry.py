"""The losses by the names of the catalogue."""

from collections.abc import Mapping

from training.objectives import pairwise, reward
from training.objectives.terms import Function

FUNCTIONS: Mapping[str, Function] = {
    "bt": reward.bradley_terry,
    "dpo": pairwise.dpo,
    "ipo": pairwise.ipo,
    "hinge": pairwise.hinge,
    "robust": pairwise.robust,
    "dpo_norm": pairwise.dpo_norm,
    "simpo": pairwise.simpo,
    "orpo": pairwise.orpo,
}
