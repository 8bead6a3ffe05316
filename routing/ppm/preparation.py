"""From verdicts, people's labels so far and texts' features to a pool that every strategy can route."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routing.features.table import (
    LENGTH_NAMES,
    SIGNED_NAME,
    FeatureSet,
    FeatureTable,
    TagBins,
    continuous,
    fit_bins,
    tag_matrix,
    tag_names,
    yes_or_no,
)
from routing.ppm.adaptive import UNCHANGED, Learner
from routing.ppm.mixes import draw_budgets, draw_mixes
from routing.ppm.outlook import MixDesign, Outlook, fit_outlook
from routing.ppm.pool import Arm, Pool
from routing.ppm.proxy import (
    ProxyMetric,
    ProxyRewardModels,
    expected_delta,
    fit_proxy,
    leave_one_out_margin,
    principal_parts,
    topic_parts,
)
from routing.ppm.quality import (
    Advantage,
    LabelQuality,
    Votes,
    combine,
    estimate_advantage,
    fit_label_quality,
    side_of,
)
from routing.ppm.signals import Signals, Verdicts, signals_of
from routing.ppm.tag_gain import TagGain, fit_tag_gain

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

LEAST_VALIDATION = 20
MOST_VALIDATION = 1000
# Ninety-one weights of tags need no more.
MOST_TAG_MIXES = 1000


@dataclass(frozen=True)
class Evidence:
    """What is known of N instances before routing.

    judge_p [N] debiased P(a), NaN without a verdict; judged [N]; order_consistent [N]; self_consistency [N] or None;
    votes of people; quality_features [N, K] finite (see `judge_features`); tags [N, F] with names, bins fixed on this
    pool; difference [N, d] = φ(a) − φ(b); sections [N], e.g. prompt categories that the metric averages over, or None;
    length_gap [N] and signals of the pairs, for the strategies that need them.
    """

    judge_p: Floats
    judged: Bools
    order_consistent: Bools
    votes: Votes
    quality_features: Floats
    tags: NDArray[np.uint8]
    tag_names: tuple[str, ...]
    difference: NDArray[np.float32]
    sections: Ints | None = None
    length_gap: Floats | None = None
    signals: Signals | None = None


@dataclass(frozen=True)
class Prepared:
    """A pool ready for every strategy, what was learned on the way, and sentences on what could not be learned."""

    pool: Pool
    quality: LabelQuality
    tag_gain: TagGain | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Validation:
    """Two halves of the pilot that no proxy model is trained on: one feeds Φ(s), the other is the target."""

    first: Ints
    second: Ints
    side: Floats
    certainty: Floats


def evidence_from_table(
    judge_p: Floats,
    judged: Bools,
    order_consistent: Bools,
    votes: Votes,
    table: FeatureTable,
    difference: NDArray[np.float32],
    sections: Ints | None = None,
    self_consistency: Floats | None = None,
    bins: TagBins | None = None,
    signals: Signals | None = None,
) -> tuple[Evidence, TagBins]:
    """Evidence of a pool described by `features.describe_pairs`; bins are fitted on it unless given (stored ones).

    Without `signals`, pairs are taken to share neither prompts nor completions.
    """
    edges = fit_bins(table) if bins is None else bins
    tags = tag_matrix(table, edges)
    known_of_judge = judge_features(judge_p, order_consistent, difference, table, self_consistency)
    features = np.column_stack([known_of_judge, topic_parts(tags)])
    names = tag_names(edges, table.names)
    gap = np.abs(table.column(SIGNED_NAME)).astype(np.float64)
    known = signals or signals_alone(judge_p, FeatureSet(table, difference, ""))
    evidence = Evidence(
        judge_p, judged, order_consistent, votes, features, tags, names, difference, sections, gap, known
    )
    return evidence, edges


def signals_alone(judge_p: Floats, features: FeatureSet) -> Signals:
    """The signals of pairs of which each is taken to have a prompt and completions of its own."""
    size = len(judge_p)
    verdict = 2.0 * np.where(np.isnan(judge_p), 0.5, judge_p) - 1.0
    alone = np.arange(size)
    return signals_of(Verdicts(verdict, np.zeros((size, 0))), features, alone, 2 * alone, 2 * alone + 1)


def judge_features(
    judge_p: Floats,
    order_consistent: Bools,
    difference: NDArray[np.float32],
    table: FeatureTable,
    self_consistency: Floats | None = None,
) -> Floats:
    """[N, K] features of a judge's error: `verdict_features`, self-consistency, length gap towards its side (the sign
    must be learned: it reverses between sets), log lengths, similarities, flags and subjects.
    """
    size = len(judge_p)
    own = np.ones(size) if self_consistency is None else np.where(np.isnan(self_consistency), 1.0, self_consistency)
    towards = side_of(judge_p) * table.column(SIGNED_NAME).astype(np.float64)
    columns = [own, towards, np.abs(towards)]
    for name in continuous(table.names):
        values = table.column(name).astype(np.float64)
        columns.append(np.log1p(values) if name in LENGTH_NAMES else values)
    columns += [table.column(name).astype(np.float64) for name in yes_or_no(table.names)]
    return np.column_stack([verdict_features(judge_p, order_consistent, difference), *columns])


def verdict_features(judge_p: Floats, order_consistent: Bools, difference: NDArray[np.float32]) -> Floats:
    """[N, K]: the verdict's margin and its square, an order flip, the judge's agreement with its own other labels, and
    the leading parts of the difference towards its side (a direction in which the judge is pulled astray shows there).
    """
    side = side_of(judge_p)
    margin = np.abs(2.0 * np.where(np.isnan(judge_p), 0.5, judge_p) - 1.0)
    habit = leave_one_out_margin(difference, side)
    towards = side[:, None] * principal_parts(difference)
    return np.column_stack([margin, margin**2, ~order_consistent, habit, towards]).astype(np.float64)


def prepare(
    evidence: Evidence,
    human: Arm,
    rng: np.random.Generator,
    *,
    mixes: int = 500,
    kind: str = "gp",
    tag_kind: str = "linear_ols",
) -> Prepared:
    """Fit label quality, advantage, proxy models, tag gains and the performance-prediction model of a pool.

    `human` is the arm that would be bought. What cannot be fitted yet is None in the pool and told in `notes`;
    strategies that need nothing still route.
    """
    quality = fit_label_quality(evidence.judge_p, evidence.quality_features, evidence.votes)
    side = side_of(evidence.judge_p)
    learner = None if evidence.signals is None else learner_of(evidence.signals, evidence.votes, side)
    if quality.judge is None:
        note = "No instance has both a verdict and a person's label yet: label a pilot first."
        return Prepared(_pool(evidence, learner), quality, None, (note,))
    advantage = advantage_of(evidence, quality, learner, human.n_labels)
    validation = _split_validation(evidence, quality, rng)
    if min(len(validation.first), len(validation.second)) < LEAST_VALIDATION:
        note = f"The pilot has fewer than {2 * LEAST_VALIDATION} decided instances: no metric can be predicted yet."
        return Prepared(_pool(evidence, learner, advantage), quality, None, (note,))
    outlook, gain = _fit_predictions(evidence, advantage, validation, human, rng, mixes, kind, tag_kind)
    return Prepared(_pool(evidence, learner, advantage, gain, outlook), quality, gain, ())


def advantage_of(evidence: Evidence, quality: LabelQuality, learner: Learner | None, n_labels: int = 1) -> Advantage:
    """Advantage of n labels by what the judge's errors and, where there is a learner, what the better sides look like.
    Raises ValueError if the judge is not fitted.
    """
    believed = None
    if learner is not None:
        p = learner.unlabelled_probability
        believed = np.where(evidence.judge_p > 0.5, p, 1.0 - p)
    return estimate_advantage(quality, evidence.judge_p, evidence.quality_features, n_labels, believed)


def _pool(
    evidence: Evidence,
    learner: Learner | None,
    advantage: Advantage | None = None,
    gain: TagGain | None = None,
    outlook: Outlook | None = None,
) -> Pool:
    done = np.zeros(len(evidence.judge_p), dtype=bool)
    done[evidence.votes.instance] = True
    return Pool(
        judge_p=evidence.judge_p,
        judged=evidence.judged,
        order_consistent=evidence.order_consistent,
        human_done=done,
        tags=evidence.tags,
        tag_names=evidence.tag_names,
        advantage=advantage,
        tag_gain=None if gain is None else gain.gain,
        outlook=outlook,
        tag_model=gain,
        length_gap=evidence.length_gap,
        learner=learner,
    )


def learner_of(signals: Signals, votes: Votes, stays: Floats | None = None) -> Learner:
    """A learner that knows every label bought so far, in the order in which they were given.

    `stays` [N]: the judge's side, which a plan keeps of what nobody is asked about.
    """
    learner = Learner(signals, stays=stays)
    said_a = (votes.side + 1.0) / 2.0
    recent = max(len(said_a) - UNCHANGED, 0)
    for rows in (slice(0, recent), slice(recent, None)):
        if len(said_a[rows]):
            learner.learn(votes.instance[rows], said_a[rows])
    return learner


def _split_validation(evidence: Evidence, quality: LabelQuality, rng: np.random.Generator) -> _Validation:
    """People's own posterior decides the better side: with the judge in it, the judge would be graded by itself."""
    size = len(evidence.judge_p)
    posterior = combine(np.zeros(size), np.full(size, 0.5), evidence.votes, quality.accuracy)
    decided = np.flatnonzero(np.abs(np.where(np.isnan(posterior), 0.5, posterior) - 0.5) > 1e-6)
    keep = len(decided) if len(decided) <= 200 else min(max(200, len(decided) // 2), MOST_VALIDATION)
    chosen = rng.permutation(decided)[:keep]
    signed = 2.0 * np.where(np.isnan(posterior), 0.5, posterior) - 1.0
    return _Validation(chosen[: keep // 2], chosen[keep // 2 :], np.sign(signed), np.abs(signed))


def _fit_predictions(
    evidence: Evidence,
    advantage: Advantage,
    validation: _Validation,
    human: Arm,
    rng: np.random.Generator,
    mixes: int,
    kind: str,
    tag_kind: str,
) -> tuple[Outlook, TagGain]:
    models = _proxy_models(evidence, advantage, validation)
    first = _metric(evidence, validation, validation.first)
    target = _metric(evidence, validation, validation.second)
    cost = np.full(len(evidence.judge_p), max(human.cost, 1e-9))
    design = MixDesign(evidence.tags, cost, advantage.mean, models, first)
    guided = draw_mixes(evidence.tags, draw_budgets(mixes, len(cost), rng), rng, advantage.mean)
    weights = models.weights(guided)
    sampling = target.standard_error(weights[0])
    scores = target.scores(weights)
    outlook = fit_outlook(kind, design, guided, scores, extra_sd=sampling, weights=weights, target=target)
    published = draw_mixes(evidence.tags, draw_budgets(min(max(mixes // 2, 3), MOST_TAG_MIXES), len(cost), rng), rng)
    gain = fit_tag_gain(evidence.tags, published, target.scores(models.weights(published)), tag_kind)
    return outlook, gain


def _proxy_models(evidence: Evidence, advantage: Advantage, validation: _Validation) -> ProxyRewardModels:
    """δ is known where people labelled already, expected elsewhere; validation rows are kept out of training."""
    side = side_of(evidence.judge_p)
    expected = expected_delta(side, advantage.p_judge, advantage.p_human)
    delta = np.where(validation.certainty > 0, validation.side - side, expected)
    train = np.ones(len(side), dtype=bool)
    train[validation.first] = False
    train[validation.second] = False
    return fit_proxy(evidence.difference, side, delta, train)


def _metric(evidence: Evidence, validation: _Validation, rows: Ints) -> ProxyMetric:
    x = np.ascontiguousarray(evidence.difference[rows], dtype=np.float32)
    section = np.zeros(len(rows), dtype=np.int64) if evidence.sections is None else evidence.sections[rows]
    return ProxyMetric(x, validation.side[rows], validation.certainty[rows], section)


def explain(pool: Pool, gain: TagGain, index: int, most: int = 5) -> Sequence[tuple[str, float]]:
    """The tags of one instance that contribute most to its predicted gain, largest magnitude first (name, weight)."""
    carried = np.flatnonzero(pool.tags[index])
    order = carried[np.argsort(-np.abs(gain.weights[carried]), kind="stable")][:most]
    return [(pool.tag_names[tag], float(gain.weights[tag])) for tag in order]
