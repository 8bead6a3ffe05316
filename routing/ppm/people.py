"""How often each person is right, by person and by slice, judged by what judge and all *other* labels say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routing.ppm.adaptive import Learner
from routing.ppm.quality import ANNOTATOR_STRENGTH

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# A slice's errors are many people's, so one needs more labels than a person to part from the group.
SLICE_STRENGTH = 30.0
LEAST, MOST = 0.51, 0.99
TINY = 1e-6


def label_accuracy(learner: Learner, annotator: Ints, slices: Ints) -> Floats:
    """The accuracy of each of the learner's labels [n] given who said it and the slice of its pair (numbers from 0).

    Of a label on side s = ±1 of a pair whose better side the *other* labels name with margin m = 2·P(a) − 1, the mean
    of s·m is (2h − 1)·m². So a person's share of the group's 2h − 1 is a ratio of sums, in which a belief that is too
    timid cancels; it is shrunk to 1 as if STRENGTH labels more were the group's. A label in its own favour would
    credit whoever labels most (Dawid & Skene's EM does), so none is heard there. Ties teach nothing of it.
    """
    said, margin = 2.0 * learner.said_a - 1.0, 2.0 * learner.others_probability - 1.0
    sided = np.abs(said) > TINY
    agreed, could = np.where(sided, said * margin, 0.0), np.where(sided, margin**2, 0.0)
    ratio = _ratio(agreed, could, annotator, ANNOTATOR_STRENGTH) * _ratio(agreed, could, slices, SLICE_STRENGTH)
    return np.clip(0.5 + (learner.accuracy - 0.5) * ratio, LEAST, MOST)


@dataclass(frozen=True)
class GroupAccuracy:
    """How often one more label of a group is right, for every pair [N], with its standard deviation, and the number of
    labels that it was learned from."""

    mean: Floats
    sd: Floats
    labels: int


def group_accuracy(
    learner: Learner,
    overall: float,
    member: NDArray[np.bool_],
    slices: Ints,
    *,
    expected: float | None = None,
) -> GroupAccuracy:
    """The accuracy of a group of people where the `overall` accuracy of one label is known, by slice [N].

    `member` [n]: which of the learner's labels are the group's. As in :func:`label_accuracy` its share of the overall
    2h − 1 is a ratio of sums, shrunk to the `expected` accuracy (none: everybody's) as if STRENGTH labels said so, and
    each slice's to the group's.
    """
    said, margin = 2.0 * learner.said_a - 1.0, 2.0 * learner.others_probability - 1.0
    sided = np.abs(said) > TINY
    agreed, could = np.where(sided, said * margin, 0.0), np.where(sided, margin**2, 0.0)
    everybody = float(agreed.sum()) / max(float(could.sum()), TINY)
    heard = int((member & sided).sum())
    share = 1.0 if expected is None else (2.0 * expected - 1.0) / max(2.0 * overall - 1.0, TINY)
    by_slice = np.full(int(slices.max()) + 1 if len(slices) else 1, share)
    if heard and everybody > TINY:
        ours = np.where(member, agreed, 0.0), np.where(member, could, 0.0)
        mean_could = float(could[sided].mean())
        prior = ANNOTATOR_STRENGTH * mean_could
        share = (float(ours[0].sum()) / everybody + prior * share) / (float(ours[1].sum()) + prior)
        size, own = len(by_slice), slices[learner.labelled]
        prior = SLICE_STRENGTH * mean_could
        by_slice = (np.bincount(own, ours[0], size) / everybody + prior * share) / (
            np.bincount(own, ours[1], size) + prior
        )
    mean = np.clip(0.5 + (overall - 0.5) * np.maximum(by_slice, 0.0), LEAST, MOST)[slices]
    return GroupAccuracy(mean, np.sqrt(mean * (1.0 - mean) / (heard + ANNOTATOR_STRENGTH)), heard)


def _ratio(agreed: Floats, could: Floats, numbers: Ints, strength: float) -> Floats:
    """Of each label [n] the shrunken (2h − 1) of its number's labels over that of all; 1 where nothing is known."""
    group = float(agreed.sum()) / max(float(could.sum()), TINY)
    if group < TINY:
        return np.ones(len(numbers))
    prior = strength * float(could.mean())
    own = (np.bincount(numbers, agreed) + prior * group) / (np.bincount(numbers, could) + prior)
    return np.asarray(np.maximum(own / group, 0.0)[numbers], dtype=np.float64)
