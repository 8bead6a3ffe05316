"""Adaptive advantage: buy labels in rounds, learn from each what people would say elsewhere, stop when none pays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routing.ppm.logistic import sigmoid
from routing.ppm.preference_model import (
    Belief,
    PreferenceModel,
    accuracy_of,
    fit_preferences,
    with_label,
    with_labels,
)
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
INTERVAL_Z = 1.645


@dataclass(frozen=True)
class Round:
    """The pairs to label next; those not chosen by worth were `drawn` and come last. `chance` [N]: each pair's
    probability of being among them, before it was decided how many are drawn. `ended` says why there is none."""

    instances: Ints
    drawn: Ints
    chance: Floats
    ended: str = ""

    @property
    def propensity(self) -> Floats:
        """The chance of each of these [n]."""
        return self.chance[self.instances]


@dataclass(frozen=True)
class Progress:
    """What a learner has to be told beside its labels to go on where it was: people's accuracy as estimated now and as
    the belief was fitted with, and how many of the last labels changed no side."""

    accuracy: float = FIRST_ACCURACY
    fitted_with: float = FIRST_ACCURACY
    unchanged: int = 0


class Learner:
    """What is believed of N pairs after each round of labels.

    A label of a pair is worth h − max(p, 1−p), people's accuracy over that of the belief: what it adds to being right.
    Where a mix of sources is wanted and not the belief, `stays` [N] is the side that is kept of a pair that nobody is
    asked about (1, −1, 0 for none): a label is then worth h − P(that side is right), and changes what it contradicts.
    """

    def __init__(self, signals: Signals, progress: Progress | None = None, stays: Floats | None = None) -> None:
        before = progress or Progress()
        self._stays = stays
        self.signals = signals
        self.accuracy, self._fitted_with = before.accuracy, before.fitted_with
        self.labelled = np.zeros(0, dtype=np.int64)
        self.said_a = np.zeros(0)
        self.unchanged = before.unchanged
        self._refit()

    @property
    def progress(self) -> Progress:
        """What, with the labels so far, makes this learner anew."""
        return Progress(self.accuracy, self._fitted_with, self.unchanged)

    @property
    def model(self) -> PreferenceModel:
        """The fit behind the belief."""
        return self._model

    def know(self, instances: Ints, said_a: Floats) -> None:
        """Labels [n] of earlier rounds, when a learner is made anew: nobody's accuracy is estimated from them again."""
        self.labelled = np.concatenate([self.labelled, instances])
        self.said_a = np.concatenate([self.said_a, said_a])
        self._refit()

    def learn(self, instances: Ints, said_a: Floats) -> None:
        """One round's labels [n]: 1 a better, ½ tie, 0 b better; several of one pair are several people's.

        People's accuracy is estimated anew, too.
        """
        before = self.probability[instances]
        after, kept = with_label(before, said_a, self.accuracy), before
        if self._stays is not None:
            kept = np.where(np.isin(instances, self.labelled), before, (1.0 + self._stays[instances]) / 2.0)
        self.unchanged = 0 if ((after > 0.5) != (kept > 0.5)).any() else self.unchanged + len(instances)
        self._fitted_with = self.accuracy
        self.know(instances, said_a)
        _, owner, others = self._others()
        self.accuracy = accuracy_of(Belief(others.mean[owner], others.variance[owner]), self.said_a)

    @property
    def probability(self) -> Floats:
        """P(a better) [N]: of a labelled pair the posterior of its own labels and all else, elsewhere of all else."""
        return self.weighed(np.full(len(self.said_a), self.accuracy))

    def weighed(self, accuracy: Floats) -> Floats:
        """The same [N] where each label has an accuracy of its own [n]: that of the person, say."""
        p = self._belief.probability
        if len(self.labelled):
            pairs, owner, others = self._others()
            p[pairs] = with_labels(others.probability, owner, self.said_a, accuracy)
        return p

    @property
    def unlabelled_probability(self) -> Floats:
        """P(a better) [N] as the model has it, a pair's own label only as one of many."""
        return self._belief.probability

    @property
    def others_probability(self) -> Floats:
        """P(a better) of each label's pair [n] as the labels of all other pairs have it."""
        _, owner, others = self._others()
        return others.probability[owner]

    @property
    def worth(self) -> Floats:
        """What one more label of each pair adds to the chance of being right there [N]; may be negative."""
        p = self.probability
        right = np.maximum(p, 1.0 - p)
        if self._stays is not None:
            right = np.where(self._stays == 0, 0.5, np.where(self._stays > 0, p, 1.0 - p))
            right[self.labelled] = np.maximum(p, 1.0 - p)[self.labelled]
        return np.asarray(self.accuracy - right, dtype=np.float64)

    def worth_bounds(self) -> tuple[Floats, Floats]:
        """90% interval of `worth` [N]: the logit's own uncertainty, which `worth` averages out."""
        mean, sd = np.abs(self._belief.mean), np.sqrt(self._belief.variance)
        surest = sigmoid(mean + INTERVAL_Z * sd)
        least = sigmoid(np.maximum(mean - INTERVAL_Z * sd, 0.0))
        return self.accuracy - surest, self.accuracy - least

    def next_round(
        self,
        candidates: Ints,
        doubt: Floats,
        rng: np.random.Generator,
        *,
        most: int | None = None,
        explored: float = EXPLORED,
        least_worth: float = LEAST_WORTH,
        whole: bool = True,
    ) -> Round:
        """At first max(25, 2% of N) by the judge's own doubt [N], then 3% of N by worth, a share `explored` at random.

        None when no label pays any more or the last ones changed nothing. At most `most`, which is what the money pays.
        A pair that has labels may be a candidate, too: one more label of it is worth what its posterior leaves open.
        The share at random is rounded to whole pairs; unless `whole`, what is left of it draws one more as often as it
        says, so that the smallest rounds explore, too.
        Raises ValueError unless 0 ≤ explored ≤ 1.
        """
        if not 0.0 <= explored <= 1.0:
            raise ValueError("The share that is drawn at random lies between 0 and 1.")
        size, none = len(doubt), candidates[:0]
        if not len(self.labelled):
            first = max(FIRST_LEAST, int(FIRST_SHARE * size))
            chosen = candidates[np.argsort(-doubt[candidates], kind="stable")][:first][:most]
            ended = "" if len(candidates) else "nothing is left to label"
            return Round(chosen, none, _chance(size, chosen, none, 0, None), ended)
        worth = self.worth[candidates]
        order = np.argsort(-(worth + 1e-6 * rng.random(len(worth))), kind="stable")
        paying = candidates[order][worth[order] > least_worth]
        if not len(paying) or self.unchanged >= UNCHANGED:
            why = f"the last {self.unchanged} labels changed no side" if len(paying) else "no further label pays"
            return Round(none, none, np.zeros(size), why)
        count = max(1, int(ROUND_SHARE * size))
        share = explored * count
        least = round(share) if whole else int(share)
        oftener = 0.0 if whole else share - least
        at_random = least + int(oftener > 0.0 and rng.random() < oftener)
        best, rest = _parted(paying, candidates, count - at_random)
        drawn = rng.permutation(rest)[:at_random]
        chance = _chance(size, *_parted(paying, candidates, count - least), least, most)
        if oftener:
            more = _chance(size, *_parted(paying, candidates, count - least - 1), least + 1, most)
            chance = (1.0 - oftener) * chance + oftener * more
        best, drawn = best[:most], drawn[: None if most is None else max(most - len(best), 0)]
        return Round(np.concatenate([best, drawn]), drawn, chance)

    def _refit(self) -> None:
        x, sharing, rows = self.signals.x, self.signals.sharing, self.labelled
        self._model = fit_preferences(
            x[rows],
            sharing.rows(rows),
            self.said_a,
            self.signals.prior,
            self._fitted_with,
            getattr(self, "_model", None),
        )
        self._belief = self._model.belief(x, sharing)

    def _others(self) -> tuple[Ints, Ints, Belief]:
        """(labelled pairs [L], each label's place among them [n], what the labels of other pairs say of each [L])."""
        pairs, owner = np.unique(self.labelled, return_inverse=True)
        return (
            pairs,
            owner,
            self._model.without_own(Belief(self._belief.mean[pairs], self._belief.variance[pairs]), owner),
        )


def _parted(paying: Ints, candidates: Ints, by_worth: int) -> tuple[Ints, Ints]:
    """(those chosen by worth, the candidates that are left to draw from)."""
    best = paying[:by_worth]
    return best, np.setdiff1d(candidates, best)


def _chance(size: int, best: Ints, rest: Ints, at_random: int, most: int | None) -> Floats:
    """Each pair's probability [N] of being in a round of these, `at_random` of the rest, and at most `most` in all."""
    places = at_random if most is None else min(at_random, max(most - len(best), 0))
    chance = np.zeros(size)
    chance[rest] = min(places, len(rest)) / max(len(rest), 1)
    chance[best[:most]] = 1.0
    return chance
