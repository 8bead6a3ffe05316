"""Simulated worlds with a judge and people that err in known places: where routing can be measured against the truth.

Synthetic by construction; a strategy that wins here still has to show it on real labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from routing.ppm.logistic import sigmoid
from routing.ppm.pool import Pool
from routing.ppm.preference_model import Prior, sharing_of
from routing.ppm.preparation import Evidence, verdict_features
from routing.ppm.proxy import topic_parts
from routing.ppm.quality import Votes, logit, side_of
from routing.ppm.signals import Signals

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DIM, CLUSTERS, TAGS = 48, 12, 90
GOLD_PAIRS, SECTIONS = 6000, 4
CLUSTER_SPREAD, TAG_RATE = 0.35, 0.08
POSITION_NOISE = 0.6
RIDGE = 0.02
LENGTH = 1
X_WEIGHT, TAG_WEIGHT = 0.2, 0.1


@dataclass(frozen=True)
class World:
    """N instances: x [N, d], cluster [N], tags [N, F], gold [N] ±1, judge_p [N], order_consistent [N], human_flip [N].

    gold_x [G, d], gold_side [G], gold_section [G] are the benchmark that no strategy may see.
    """

    x: NDArray[np.float32]
    cluster: Ints
    tags: NDArray[np.uint8]
    gold: Floats
    judge_p: Floats
    order_consistent: NDArray[np.bool_]
    human_flip: Floats
    gold_x: NDArray[np.float32]
    gold_side: Floats
    gold_section: Ints


def make_world(seed: int, size: int = 6000, gold_pairs: int = GOLD_PAIRS) -> World:
    """Draw a world: non-linear gold preferences, a judge biased in about 45% of clusters, people noisy in about 40%.

    gold = sign(xθ + .6·tanh(2x₀x₁) + .4x₂·(±1 by cluster parity)); judge score = xθ + β_c·x·bias + .35·N(0,1), p =
    σ(2.5 score); human flip rate by cluster.
    """
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=DIM) / np.sqrt(DIM)
    bias = rng.normal(size=DIM) / np.sqrt(DIM)
    centers = CLUSTER_SPREAD * rng.normal(size=(CLUSTERS, DIM))
    rates = np.where(rng.random((CLUSTERS, TAGS)) < 0.15, 0.6, TAG_RATE)
    biased = rng.random(CLUSTERS) < 0.45
    beta = np.where(biased, rng.uniform(0.8, 2.2, CLUSTERS), rng.uniform(0.0, 0.25, CLUSTERS))
    noisy = rng.random(CLUSTERS) < 0.4
    flips = np.where(noisy, rng.uniform(0.28, 0.42, CLUSTERS), rng.uniform(0.05, 0.18, CLUSTERS))
    x, cluster = _draw(centers, size, rng)
    gold_x, gold_cluster = _draw(centers, gold_pairs, rng)
    score = x @ theta + beta[cluster] * (x @ bias) + 0.35 * rng.normal(size=size)
    wobble = POSITION_NOISE * np.abs(rng.normal(size=size))
    return World(
        x=x.astype(np.float32),
        cluster=cluster,
        tags=(rng.random((size, TAGS)) < rates[cluster]).astype(np.uint8),
        gold=_gold(x, cluster, theta),
        judge_p=sigmoid(2.5 * score),
        order_consistent=2.5 * np.abs(score) > wobble,
        human_flip=flips[cluster],
        gold_x=gold_x.astype(np.float32),
        gold_side=_gold(gold_x, gold_cluster, theta),
        gold_section=rng.integers(0, SECTIONS, gold_pairs),
    )


def _draw(centers: Floats, size: int, rng: np.random.Generator) -> tuple[Floats, Ints]:
    cluster = rng.integers(0, len(centers), size)
    return centers[cluster] + rng.normal(size=(size, DIM)), cluster


def _gold(x: Floats, cluster: Ints, theta: Floats) -> Floats:
    parity = np.where(cluster % 2 == 0, 1.0, -1.0)
    score = x @ theta + 0.6 * np.tanh(2.0 * x[:, 0] * x[:, 1]) + 0.4 * x[:, 2] * parity
    return np.where(score >= 0, 1.0, -1.0)


def draw_votes(world: World, instances: Ints, n_labels: int, rng: np.random.Generator, annotators: int = 20) -> Votes:
    """n labels of different simulated people for each instance; each is right with probability 1 − flip rate."""
    rows = np.repeat(instances, n_labels)
    first = rng.integers(0, annotators, len(instances))
    who = (first[:, None] + np.arange(n_labels)[None, :]).ravel() % annotators
    right = rng.random(len(rows)) >= world.human_flip[rows]
    return Votes(rows, who.astype(np.int64), np.where(right, world.gold[rows], -world.gold[rows]))


def evidence_of(world: World, votes: Votes) -> Evidence:
    """What a router may see of the world: verdicts, votes, tags and features; not the gold, clusters or flip rates.

    There are no texts: one coordinate of x stands for the length gap; it pulls the judge as the world's bias does.
    """
    about = verdict_features(world.judge_p, world.order_consistent, world.x)
    features = np.column_stack([about, topic_parts(world.tags)])
    names = tuple(f"tag_{number}" for number in range(world.tags.shape[1]))
    judged = np.ones(len(world.gold), dtype=bool)
    return Evidence(
        judge_p=world.judge_p,
        judged=judged,
        order_consistent=world.order_consistent,
        votes=votes,
        quality_features=features,
        tags=world.tags,
        tag_names=names,
        difference=world.x,
        length_gap=np.abs(world.x[:, LENGTH]).astype(np.float64),
        signals=signals_of_world(world),
    )


def signals_of_world(world: World) -> Signals:
    """What speaks for a in each pair of the world: the verdict, how sure it is, its worth by tag, and x itself."""
    side = side_of(world.judge_p)
    sure = logit(world.judge_p)
    columns = [side, sure / np.sqrt(np.mean(sure**2)), side * world.order_consistent]
    x = np.column_stack([*columns, world.x.astype(np.float64), side[:, None] * world.tags])
    sd = np.array([0.7, 0.7, 0.4, *([X_WEIGHT] * DIM), *([TAG_WEIGHT] * world.tags.shape[1])])
    mean = np.zeros(x.shape[1])
    mean[0] = 0.8
    names = ("verdict", "sureness", "consistent", *(f"x_{n}" for n in range(DIM)))
    names += tuple(f"verdict_by_tag_{n}" for n in range(world.tags.shape[1]))
    alone = np.arange(len(side))
    return Signals(names, x, Prior(mean, sd, 1.0), sharing_of(alone, alone, alone))


def with_truth(pool: Pool, world: World) -> Pool:
    """The pool plus what only the oracle may know: P(person right) − [judge right] for every instance."""
    judge_right = (side_of(world.judge_p) == world.gold).astype(np.float64)
    return replace(pool, true_gain=1.0 - world.human_flip - judge_right)


def labels_of(world: World, human_mask: NDArray[np.uint8], human_side: Floats) -> Floats:
    """The labels of a mix [N]: people's side where the mask is 1, the judge's elsewhere."""
    return np.where(human_mask == 1, human_side, side_of(world.judge_p))


def benchmark(world: World, labels: Floats) -> float:
    """Mean over sections of the accuracy, on the world's gold pairs, of a ridge reward model trained on the labels."""
    return float(section_accuracy(world, reward_models(world, labels[None, :]), np.arange(len(world.gold_side)))[0])


def reward_models(world: World, labels: Floats) -> Floats:
    """Ridge reward models, one per row of labels [M, N] in [−1, 1] → weights [M, d]."""
    x = world.x.astype(np.float64)
    penalty = RIDGE * len(x) * np.eye(x.shape[1])
    return np.asarray(np.linalg.solve(x.T @ x + penalty, x.T @ labels.T).T, dtype=np.float64)


def section_accuracy(world: World, weights: Floats, rows: Ints) -> Floats:
    """Mean over sections of each model's accuracy on some of the gold pairs: weights [M, d] → [M]."""
    section = world.gold_section[rows]
    right = (world.gold_x[rows] @ weights.T) * world.gold_side[rows, None] > 0
    return np.asarray(np.mean([right[section == n].mean(axis=0) for n in range(SECTIONS)], axis=0), dtype=np.float64)
