"""Adaptive advantage: buy labels in rounds, learn from each what people would say elsewhere, stop when none pays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from routing.ppm.preference_model import Belief, PreferenceModel, accuracy_of, fit_preferences, with_label
from routing.ppm.signals import Signals

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FIRST_LEAST, FIRST_SHARE = 25, 0.02
ROUND_SHARE, EXPLORED = 0.03, 0.05
FIRST_ACCURACY = 0.8
# Rule of three (Hanley & Lippman-Hand 1983): if none of 60 labels changed a side, fewer than 5% would.
UNCHANGED = 60
# A label that adds less than this to the chance of being right does not pay.
LEAST_WORTH = 0.02


class Learner:
    """What is believed of N pairs after each round of labels.

    A label of a pair is worth h − max(p, 1−p), people's accuracy over that of the belief: what it adds to being right.
    """

    def __init__(self, signals: Signals) -> None:
        self.signals = signals
        self.accuracy = FIRST_ACCURACY
        self.labelled = np.zeros(0, dtype=np.int64)
        self.said_a = np.zeros(0)
        self.unchanged = 0
        self._model: PreferenceModel | None = None
        self._refit()

    def learn(self, instances: Ints, said_a: Floats) -> None:
        """One round's labels [n]: 1 a better, ½ tie, 0 b better. People's accuracy is estimated anew, too."""
        before = self._belief.probability[instances]
        changed = (with_label(before, said_a, self.accuracy) > 0.5) != (before > 0.5)
        self.unchanged = 0 if changed.any() else self.unchanged + len(instances)
        self.labelled = np.concatenate([self.labelled, instances])
        self.said_a = np.concatenate([self.said_a, said_a])
        self._refit()
        self.accuracy = accuracy_of(self._others(), self.said_a)

    @property
    def probability(self) -> Floats:
        """P(a better) [N]: of a labelled pair the posterior of its own label and all else, elsewhere of all else."""
        p = self._belief.probability
        if len(self.labelled):
            p[self.labelled] = with_label(self._others().probability, self.said_a, self.accuracy)
        return p

    @property
    def worth(self) -> Floats:
        """What one label of each pair that has none adds to the chance of being right there [N]; may be negative."""
        p = self._belief.probability
        return np.asarray(self.accuracy - np.maximum(p, 1.0 - p), dtype=np.float64)

    def next_round(self, unlabelled: Ints, doubt: Floats, rng: np.random.Generator) -> Ints:
        """The pairs to label next; none when no label pays any more or the last ones changed nothing.

        At first max(25, 2% of N) by the judge's own doubt [N], then 3% of N by worth, 5% of them drawn at random.
        """
        size = len(doubt)
        if not len(self.labelled):
            first = max(FIRST_LEAST, int(FIRST_SHARE * size))
            return unlabelled[np.argsort(-doubt[unlabelled], kind="stable")][:first]
        worth = self.worth[unlabelled]
        order = np.argsort(-(worth + 1e-6 * rng.random(len(worth))), kind="stable")
        paying = unlabelled[order][worth[order] > LEAST_WORTH]
        if not len(paying) or self.unchanged >= UNCHANGED:
            return paying[:0]
        count = max(1, int(ROUND_SHARE * size))
        explored = round(EXPLORED * count)
        best = paying[: count - explored]
        rest = rng.permutation(np.setdiff1d(unlabelled, best))
        return np.concatenate([best, rest[: min(explored, count - len(best))]])

    def _refit(self) -> None:
        x, sharing, rows = self.signals.x, self.signals.sharing, self.labelled
        self._model = fit_preferences(
            x[rows], sharing.rows(rows), self.said_a, self.signals.prior, self.accuracy, self._model
        )
        self._belief = self._model.belief(x, sharing)

    def _others(self) -> Belief:
        assert self._model is not None
        return self._model.without_own(Belief(self._belief.mean[self.labelled], self._belief.variance[self.labelled]))
