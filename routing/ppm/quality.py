"""How often people and the judge are right, learned together from the instances that both labelled.

People: one-coin accuracy per annotator (Dawid & Skene with one parameter each), shrunk to the group by a Beta prior.
Judge: logistic in features of the verdict and the instance. Both by expectation–maximisation on one hidden truth, which
is how a single label per instance can still be weighed: P(judge right | agree) = lh / (lh + (1−l)(1−h)).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from routing.ppm.logistic import LogisticFit, fit_logistic, sigmoid

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EM_ROUNDS = 30
EDGE = 1e-3
EM_TOLERANCE = 1e-3
COIN_ROUNDS = 5
PRIOR_MEAN, PRIOR_PAIRS = 0.8, 10.0
LEAST_EXCESS, MOST_EXCESS = 0.05, 0.95
ANNOTATOR_STRENGTH = 10.0
JUDGE_SPREAD, PEOPLE_SPREAD = 2.0, 1.4
LEAST_PENALTY = 2.0
LEAST_REPEATED = 50
LEAST_SEEN = 0.05
INTERVAL_Z = 1.645
EVEN = 1e-9
MOST_MOVED, BISECTIONS = 8.0, 30


@dataclass(frozen=True)
class Votes:
    """People's labels, one per row: which instance, which annotator (0…A−1), and the side.

    +1 for a, −1 for b, 0 tie.
    """

    instance: Ints
    annotator: Ints
    side: Floats

    def decisive(self) -> Votes:
        """The votes that are not ties; a tie says nothing of who is right."""
        keep = np.abs(self.side) > EVEN
        return Votes(self.instance[keep], self.annotator[keep], np.sign(self.side[keep]))


@dataclass(frozen=True)
class Advantage:
    """P(human label right) − P(judge label right) per instance [N], with a 90% interval and both accuracies."""

    mean: Floats
    lower: Floats
    upper: Floats
    p_human: Floats
    p_judge: Floats


@dataclass(frozen=True)
class LabelQuality:
    """What the pilot taught. `posterior` [N]: P(a better) given judge and people; NaN where nobody gave a side.

    `accuracy` [A]: per annotator. `human_mean`, `human_sd`: of one more label by somebody of the group. `people` is the
    model of human accuracy by features, None where too few instances have several labels to tell people's errors apart.
    """

    judge: LogisticFit | None
    people: LogisticFit | None
    accuracy: Floats
    human_mean: float
    human_sd: float
    posterior: Floats


def side_of(judge_p: Floats) -> Floats:
    """+1 where the judge prefers a, −1 for b, 0 for a tie or no verdict [N]."""
    known = np.where(np.isnan(judge_p), 0.5, judge_p)
    return np.asarray(np.where(np.abs(known - 0.5) < EVEN, 0.0, np.sign(known - 0.5)), dtype=np.float64)


def logit(p: Floats) -> Floats:
    """ln(p / (1−p)) with p kept 1e-3 from the ends."""
    clipped = np.clip(p, EDGE, 1.0 - EDGE)
    return np.asarray(np.log(clipped / (1.0 - clipped)), dtype=np.float64)


def judge_right_given_human(p_judge: Floats, p_human: Floats, agree: NDArray[np.bool_]) -> Floats:
    """P(judge right | one human label): lh/(lh+(1−l)(1−h)) where they agree, l(1−h)/(l(1−h)+(1−l)h) where not."""
    human = np.where(agree, p_human, 1.0 - p_human)
    right = p_judge * human
    return np.asarray(right / (right + (1.0 - p_judge) * (1.0 - human)), dtype=np.float64)


def combine(judge_side: Floats, p_judge: Floats, votes: Votes, accuracy: Floats) -> Floats:
    """P(a better) [N] from the judge's side with accuracy p_judge [N] and people's votes with accuracy [A]; NaN if no
    side.

    Log-odds add up (labels independent given the truth), so one noisy person cannot undo a consistent judge.
    """
    cast = votes.decisive()
    odds = judge_side * logit(p_judge)
    said = np.bincount(cast.instance, minlength=len(judge_side)) + np.abs(judge_side)
    odds = odds + np.bincount(cast.instance, cast.side * logit(accuracy[cast.annotator]), minlength=len(judge_side))
    return np.where(said > 0, sigmoid(odds), np.nan)


def fit_label_quality(judge_p: Floats, features: Floats, votes: Votes) -> LabelQuality:
    """Fit both accuracies. judge_p [N] (NaN: none), features [N, K] finite, votes on the pilot's instances.

    First one accuracy for the judge and one per annotator, from agreement rates; then, people's held fixed, EM for the
    judge's by features. In one go, features flexible enough to follow single votes would credit people with every
    disagreement. Without a single vote beside a verdict, the judge's accuracy stays unknown (`judge` None) and
    people's at the prior.
    """
    cast = votes.decisive()
    side = side_of(judge_p)
    n_annotators = int(votes.annotator.max()) + 1 if len(votes.annotator) else 0
    accuracy, overall = _fit_coins(side, cast, n_annotators)
    judge, p_judge = _fit_judge(side, features, cast, accuracy, overall)
    posterior = combine(side, p_judge, cast, accuracy)
    mean, _ = group_means(side, cast)
    sd = _group_spread(mean, len(cast.side), people_agreement(cast)[1])
    return LabelQuality(judge, _fit_people(features, cast, posterior), accuracy, mean, sd, posterior)


def _fit_coins(side: Floats, cast: Votes, n_annotators: int) -> tuple[Floats, float]:
    """(accuracy per annotator, accuracy of the judge) with the group's means fixed by agreement, see `group_means`.

    Left free, EM would credit whichever single source has the most labels with every disagreement.
    """
    group, overall = group_means(side, cast)
    accuracy = np.full(n_annotators, group)
    p_judge = np.full(len(side), overall)
    for _ in range(COIN_ROUNDS if len(cast.side) else 0):
        truth_a = combine(side, p_judge, cast, accuracy)
        right = np.where(cast.side > 0, truth_a[cast.instance], 1.0 - truth_a[cast.instance])
        accuracy = _shrunk_accuracy(right, cast.annotator, n_annotators, group)
    return accuracy, overall


def group_means(side: Floats, cast: Votes) -> tuple[float, float]:
    """(people's mean accuracy h, the judge's l) from agreement rates: people agree with each other with probability
    h² + (1−h)², with the judge with lh + (1−l)(1−h), labels being independent given the truth.

    The prior counts as PRIOR_PAIRS pairs of people of accuracy PRIOR_MEAN. If even a perfect judge could not agree with
    people of accuracy h as often as this one does, both are taken to be equally good.
    """
    alike, pairs = people_agreement(cast)
    expected = PRIOR_MEAN**2 + (1.0 - PRIOR_MEAN) ** 2
    excess = 2.0 * (alike + PRIOR_PAIRS * expected) / (pairs + PRIOR_PAIRS) - 1.0
    people = math.sqrt(max(excess, LEAST_EXCESS))
    with_judge = side[cast.instance] != 0
    agree = float((cast.side == side[cast.instance])[with_judge].sum())
    judge_excess = max(2.0 * (agree + 1.0) / (float(with_judge.sum()) + 2.0) - 1.0, 0.0)
    if judge_excess > MOST_EXCESS * people:
        people = max(people, math.sqrt(judge_excess))
    return 0.5 + people / 2.0, 0.5 + min(judge_excess / people, MOST_EXCESS) / 2.0


def people_agreement(cast: Votes) -> tuple[float, float]:
    """(agreeing pairs, all pairs) of decisive votes on one instance."""
    if not len(cast.side):
        return 0.0, 0.0
    for_a = np.bincount(cast.instance, cast.side > 0)
    for_b = np.bincount(cast.instance, cast.side < 0)
    alike = for_a * (for_a - 1) / 2 + for_b * (for_b - 1) / 2
    return float(alike.sum()), float((alike + for_a * for_b).sum())


def _fit_judge(
    side: Floats, features: Floats, cast: Votes, accuracy: Floats, overall: float
) -> tuple[LogisticFit | None, Floats]:
    """(model or None, P(judge right) [N]) by EM with people's accuracy fixed."""
    shared = np.unique(cast.instance[side[cast.instance] != 0])
    if not len(shared):
        return None, np.full(len(side), overall)
    rows, sides = features[shared], side[shared]
    by_people = np.bincount(cast.instance, cast.side * logit(accuracy[cast.annotator]), minlength=len(side))[shared]
    p_judge = np.full(len(shared), overall)
    target = sigmoid(logit(p_judge) + sides * by_people)
    penalty = penalty_for(rows.shape[1], JUDGE_SPREAD)
    judge = fit_logistic(rows, target, penalty)
    for _ in range(EM_ROUNDS):
        previous, p_judge = p_judge, judge.probabilities(rows)
        target = sigmoid(logit(p_judge) + sides * by_people)
        judge = fit_logistic(rows, target, penalty, start=judge)
        if np.abs(p_judge - previous).max() < EM_TOLERANCE:
            break
    return _with_missing_information(judge, target, p_judge), judge.probabilities(features)


def _with_missing_information(judge: LogisticFit, target: Floats, p: Floats) -> LogisticFit:
    """Widen the covariance: targets are beliefs, not observations, so only Σ p(1−p) − r(1−r) was seen (Louis 1982)."""
    complete = float((p * (1.0 - p)).sum())
    missing = float((target * (1.0 - target)).sum())
    seen = min(max(1.0 - missing / max(complete, EDGE), LEAST_SEEN), 1.0)
    return replace(judge, covariance=judge.covariance / seen)


def _shrunk_accuracy(right: Floats, annotator: Ints, count: int, group: float) -> Floats:
    """Posterior mean per annotator: the group's mean counts as ANNOTATOR_STRENGTH labels of each."""
    hits = np.bincount(annotator, right, minlength=count)
    cast = np.bincount(annotator, minlength=count)
    return np.asarray((hits + ANNOTATOR_STRENGTH * group) / (cast + ANNOTATOR_STRENGTH), dtype=np.float64)


def _group_spread(group: float, votes: int, pairs: float) -> float:
    """Standard deviation of the group's accuracy: a Beta with as many labels as there are pairs to learn it from."""
    seen = min(pairs, votes) + PRIOR_PAIRS
    return math.sqrt(group * (1.0 - group) / (seen + 1.0))


def _fit_people(features: Floats, cast: Votes, posterior: Floats) -> LogisticFit | None:
    """Where people err, by features; only instances with several votes can tell their errors from the judge's."""
    counts = np.bincount(cast.instance, minlength=len(posterior))
    several = counts[cast.instance] > 1
    if len(np.unique(cast.instance[several])) < LEAST_REPEATED:
        return None
    rows = cast.instance[several]
    right = np.where(cast.side[several] > 0, posterior[rows], 1.0 - posterior[rows])
    return fit_logistic(features[rows], right, penalty_for(features.shape[1], PEOPLE_SPREAD), 1.0 / counts[rows])


def penalty_for(columns: int, spread: float) -> float:
    """The ridge penalty under which all standardised features together move the logit by about `spread`.

    K / spread².
    """
    return max(columns / spread**2, LEAST_PENALTY)


def majority_accuracy(p: Floats, n_labels: int) -> Floats:
    """P(majority of n independent labels right), each right with probability p [N]; an even split counts half."""
    total = np.zeros_like(p)
    for right in range(n_labels // 2 if n_labels % 2 == 0 else n_labels // 2 + 1, n_labels + 1):
        share = 0.5 if 2 * right == n_labels else 1.0
        total = total + share * math.comb(n_labels, right) * p**right * (1.0 - p) ** (n_labels - right)
    return total


def estimate_advantage(
    quality: LabelQuality, judge_p: Floats, features: Floats, n_labels: int = 1, believed: Floats | None = None
) -> Advantage:
    """Advantage of n human labels over the judge for every instance of the pool. Raises ValueError if judge is not
    fitted.

    A tie or a missing verdict is right with probability one half. The interval is ±1.645 sd, human and judge
    independent. `believed` [N] is P(judge right) by a second model; the two are then averaged in logits, since they
    err in different places (a logarithmic opinion pool, Genest & Zidek 1986).
    """
    if quality.judge is None:
        raise ValueError("No instance was labelled by both people and the judge yet.")
    z_judge, s_judge = quality.judge.logits(features)
    if believed is not None:
        z_judge = _pooled(z_judge, believed)
    z_human, s_human = _human_logits(quality, features)
    sided = side_of(judge_p) != 0
    p_judge = np.where(sided, sigmoid(z_judge), 0.5)
    spread_judge = np.where(sided, _spread(z_judge, s_judge, 1), 0.0)
    p_human = majority_accuracy(sigmoid(z_human), n_labels)
    spread = np.hypot(_spread(z_human, s_human, n_labels), spread_judge)
    mean = p_human - p_judge
    return Advantage(mean, mean - spread, mean + spread, p_human, p_judge)


def _pooled(z: Floats, believed: Floats) -> Floats:
    """Mean of logits z [N] and those of `believed` [N], moved so that the mean probability stays that of z: the second
    model tells where the judge errs, the first, which was fitted to its errors, how often.
    """
    if not len(z):
        return z
    mixed, wanted = (z + logit(believed)) / 2.0, float(sigmoid(z).mean())
    low, high = -MOST_MOVED, MOST_MOVED
    for _ in range(BISECTIONS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if sigmoid(mixed + middle).mean() < wanted else (low, middle)
    return np.asarray(mixed + (low + high) / 2.0, dtype=np.float64)


def _human_logits(quality: LabelQuality, features: Floats) -> tuple[Floats, Floats]:
    mean, sd = quality.human_mean, quality.human_sd
    base, noise = float(logit(np.array([mean]))[0]), sd / max(mean * (1.0 - mean), EDGE)
    if quality.people is None:
        return np.full(len(features), base), np.full(len(features), noise)
    z, s = quality.people.logits(features)
    return z, np.hypot(s, noise)


def _spread(z: Floats, sd: Floats, n_labels: int) -> Floats:
    """Half the width of the 90% interval of the probability."""
    high = majority_accuracy(sigmoid(z + INTERVAL_Z * sd), n_labels)
    low = majority_accuracy(sigmoid(z - INTERVAL_Z * sd), n_labels)
    return np.asarray((high - low) / 2.0, dtype=np.float64)
