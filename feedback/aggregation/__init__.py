"""Many annotations to one label, and how far annotators agree. Pure numpy on integer arrays."""

from feedback.aggregation.agreement import (
    Alpha,
    PairAgreement,
    cohen_kappa,
    cross_agreement,
    fleiss_kappa,
    krippendorff_alpha,
    pair_agreement,
)
from feedback.aggregation.bradley_terry import BradleyTerry, davidson
from feedback.aggregation.dawid_skene import DawidSkene, dawid_skene
from feedback.aggregation.mace import Mace, mace
from feedback.aggregation.majority import Majority, majority
from feedback.aggregation.votes import NO_LABEL, Votes

__all__ = [
    "NO_LABEL",
    "Alpha",
    "BradleyTerry",
    "DawidSkene",
    "Mace",
    "Majority",
    "PairAgreement",
    "Votes",
    "cohen_kappa",
    "cross_agreement",
    "davidson",
    "dawid_skene",
    "fleiss_kappa",
    "krippendorff_alpha",
    "mace",
    "majority",
    "pair_agreement",
]
