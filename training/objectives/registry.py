"""The losses by the names of the catalogue."""

from collections.abc import Mapping

from training.objectives import listwise, pairwise, reward, supervised, unpaired
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
    "kto": unpaired.kto,
    "plackett_luce": listwise.plackett_luce,
    "lipo_lambda": listwise.lipo_lambda,
    "pro": listwise.pro,
    "ensemble": reward.ensemble,
    "pair_pm": reward.pair_preference,
    "sft": supervised.imitation,
    "conditional": supervised.imitation,
    "hindsight": supervised.imitation,
    "ilf": supervised.imitation,
}
