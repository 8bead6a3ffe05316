"""The losses by the names of the catalogue."""

from collections.abc import Mapping

from training.objectives import (
    attributes,
    listwise,
    pairwise,
    reward,
    spans,
    supervised,
    tokenwise,
    unpaired,
    voting,
)
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
    "t_reg": tokenwise.t_reg,
    "plackett_luce": listwise.plackett_luce,
    "lipo_lambda": listwise.lipo_lambda,
    "pro": listwise.pro,
    "ensemble": reward.ensemble,
    "strength_voting": voting.strength_voting,
    "multi_objective": attributes.multi_objective,
    "fine_grained": spans.fine_grained,
    "pair_pm": reward.pair_preference,
    "sft": supervised.imitation,
    "conditional": supervised.imitation,
    "directional": supervised.imitation,
    "hindsight": supervised.imitation,
    "ilf": supervised.imitation,
}
