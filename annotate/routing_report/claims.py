"""What the paper claims of routing, measured in simulated worlds: what a plan carries over to, and what it is made of.

C1, C2 and C3 read the other tables; C4, C5, C8 and C10 are measured here. Figures are means over worlds ± standard
error; a claim holds where its interval of 1.96 standard errors lies on the right side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routing.ppm.evaluation import spearman
from routing.ppm.pilot import draw_pilot
from routing.ppm.quality import Advantage, Votes, estimate_advantage, fit_label_quality, side_of
from routing.ppm.strategies import BATCH_DEFAULT, ONLINE_DEFAULT
from routing.ppm.worlds import World, benchmark, evidence_of, labels_of, make_world

from .predicting import DEFAULT, PredictionLine
from .simulating import Setting, SimulatedLine, adaptive_labels, planned, setting_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Tell = Callable[[str], None]

PILOT, SHARE = 1000, 0.25
RANDOM_FEATURES, FEATURE_RIDGE, RANDOM_DRAWS = 256, 0.05, 4
Z95 = 1.96


@dataclass(frozen=True)
class ClaimLine:
    """One figure that speaks for a claim: its mean over worlds, its standard error, and what it must lie above."""

    claim: str
    figure: str
    value: float
    standard_error: float
    above: float
    worlds: int

    @property
    def holds(self) -> str:
        """`yes`, `no`, or `not told apart`."""
        low, high = self.value - Z95 * self.standard_error, self.value + Z95 * self.standard_error
        return "yes" if low > self.above else "no" if high < self.above else "not told apart"

    def as_row(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"holds": self.holds}


def claim_lines(
    worlds: int, size: int, simulated: Sequence[SimulatedLine], predicted: Sequence[PredictionLine], tell: Tell
) -> list[ClaimLine]:
    """All claims, in their order."""
    known: dict[str, list[float]] = {}
    for number in range(worlds):
        world = make_world(number, size)
        for name, value in carried_over(world, number).items():
            known.setdefault(name, []).append(value)
        tell(f"Claims in world {number + 1} of {worlds}")

    def line(claim: str, figure: str, above: float = 0.0) -> ClaimLine:
        values = np.array(known[figure])
        error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
        return ClaimLine(claim, figure, float(values.mean()), error, above, len(values))

    pure = max(one.score for one in simulated if one.strategy in ("all_judge", "all_human"))
    ours = [one for one in simulated if one.strategy == ONLINE_DEFAULT]
    best = max(ours, key=lambda one: one.score)
    model = next(one for one in predicted if one.model == DEFAULT)
    return [
        ClaimLine(
            "C1 a hybrid beats both pure sources",
            f"points of {ONLINE_DEFAULT} at {best.offered:.0%} over the better pure source",
            100.0 * (best.score - pure),
            best.standard_error,
            0.0,
            worlds,
        ),
        *(
            ClaimLine(
                "C2 routed beats random at equal budget",
                f"points of {ONLINE_DEFAULT} at {one.offered:.0%}",
                one.gain,
                one.standard_error,
                0.0,
                worlds,
            )
            for one in ours
        ),
        ClaimLine(
            "C3 a model ranks mixes it never saw",
            f"rank correlation of {DEFAULT} at equal budget",
            model.within_budget_rho,
            model.standard_error,
            0.0,
            worlds,
        ),
        line("C4 a model of one pool routes another", OTHER_POOL),
        line("C5 a plan holds for another reward model", f"{BATCH_DEFAULT}: {OTHER_CLASS}"),
        line("C5 a plan holds for another reward model", f"{ONLINE_DEFAULT}: {OTHER_CLASS}"),
        line("C8 tags tell where people gain", TAGS_FOUND),
        line("C10 experts and lay people route differently", APART),
    ]


OTHER_POOL = "points over random at 25% in a pool of other topics"
OTHER_CLASS = "points over random at 25% with a reward model on random features"
TAGS_FOUND = "rank correlation of the tags' learned and true advantage"
APART = "overlap of two lay plans less that of a lay and an expert plan"


def carried_over(world: World, seed: int) -> dict[str, float]:
    """The figures of one world."""
    setting = setting_of(world, seed)
    return {
        OTHER_POOL: _other_pool(setting, seed),
        **{f"{name}: {OTHER_CLASS}": value for name, value in _other_class(setting, seed).items()},
        TAGS_FOUND: _tags_found(setting, seed),
        APART: _apart(setting, seed),
    }


def _advantage(world: World, people: Floats, rows: Ints) -> Advantage:
    """Over the judge everywhere, learned from one label of each of some rows."""
    evidence = evidence_of(world, Votes(rows, np.arange(len(rows)) % 20, people[rows]))
    quality = fit_label_quality(evidence.judge_p, evidence.quality_features, evidence.votes)
    return estimate_advantage(quality, evidence.judge_p, evidence.quality_features)


def _other_pool(setting: Setting, seed: int) -> float:
    """Learned in a pool of mostly some topics, routed in one of mostly the others; equal spend, no pilot there."""
    world, rng = setting.world, np.random.default_rng(seed)
    first = rng.random(len(world.gold)) < np.where(world.cluster % 4 < 2, 0.85, 0.15)
    here, there = np.flatnonzero(first), np.flatnonzero(~first)
    advantage = _advantage(world, setting.people[0], rng.choice(here, min(PILOT, len(here) // 2), replace=False))
    part = part_of(world, there)
    count = round(SHARE * len(there))
    chosen = np.zeros(len(there), dtype=np.uint8)
    order = np.argsort(-advantage.mean[there], kind="stable")[:count]
    chosen[order[advantage.mean[there][order] > 0]] = 1
    people = setting.people[0][there]
    draws = [_drawn(len(there), int(chosen.sum()), rng) for _ in range(RANDOM_DRAWS)]
    random = np.mean([benchmark(part, labels_of(part, mask, people)) for mask in draws])
    return float(100.0 * (benchmark(part, labels_of(part, chosen, people)) - random))


def part_of(world: World, rows: Ints) -> World:
    """The same world with some of its instances, and its whole benchmark."""
    named = ("x", "cluster", "tags", "gold", "judge_p", "order_consistent", "human_flip")
    return replace(world, **{name: getattr(world, name)[rows] for name in named})


def _drawn(size: int, count: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    mask = np.zeros(size, dtype=np.uint8)
    mask[rng.permutation(size)[:count]] = 1
    return mask


def _other_class(setting: Setting, seed: int) -> dict[str, float]:
    """Plans made for a linear reward model, scored with one on random features."""
    count = round(SHARE * len(setting.world.gold))
    kept = {
        BATCH_DEFAULT: planned(setting, BATCH_DEFAULT, count, seed)[0],
        ONLINE_DEFAULT: adaptive_labels(setting, [count], seed)[0][0],
    }
    random = [planned(setting, "random", count, seed + 1 + draw)[0] for draw in range(RANDOM_DRAWS)]
    scores = random_feature_benchmark(setting.world, np.array([*kept.values(), *random]), seed)
    return {name: float(100.0 * (scores[n] - scores[len(kept) :].mean())) for n, name in enumerate(kept)}


def random_feature_benchmark(world: World, labels: Floats, seed: int) -> Floats:
    """Accuracy on the gold pairs of ridge models on tanh features (odd in x, as sides swap): labels [M, N] → [M]."""
    rng = np.random.default_rng(seed)
    turn = rng.normal(size=(world.x.shape[1], RANDOM_FEATURES)) / np.sqrt(world.x.shape[1])
    inside, outside = (np.column_stack([x, np.tanh(2.0 * x @ turn)]) for x in (world.x, world.gold_x))
    gram = inside.T @ inside + FEATURE_RIDGE * len(inside) * np.eye(inside.shape[1])
    weights = np.linalg.solve(gram, inside.T @ labels.T)
    return np.asarray(((outside @ weights) * world.gold_side[:, None] > 0).mean(axis=0), dtype=np.float64)


def _tags_found(setting: Setting, seed: int) -> float:
    world, rng = setting.world, np.random.default_rng(seed)
    rows = draw_pilot(np.ones(len(world.gold), dtype=bool), PILOT, rng).instances
    learned = _advantage(world, setting.people[0], rows).mean
    truth = 1.0 - world.human_flip - (side_of(world.judge_p) == world.gold)
    carried = world.tags.sum(axis=0)
    return spearman(learned @ world.tags / carried, truth @ world.tags / carried)


def _apart(setting: Setting, seed: int) -> float:
    """Experts err rarely, but in topics of their own; both groups give one label of each of 1,000 instances."""
    world, rng = setting.world, np.random.default_rng(seed)
    own = rng.permutation(np.unique(world.human_flip[np.argsort(world.cluster, kind="stable")]))
    expert_flip = 0.5 * own[world.cluster % len(own)]
    experts = setting_of(world, seed + 1, expert_flip).people[0]
    everywhere = np.ones(len(world.gold), dtype=bool)
    tops = []
    for people in (setting.people[0], setting.people[1], experts):
        advantage = _advantage(world, people, draw_pilot(everywhere, PILOT, rng).instances)
        tops.append(set(np.argsort(-advantage.mean)[: round(SHARE * len(world.gold))]))
    lay, again, expert = tops
    return (len(lay & again) - (len(lay & expert) + len(again & expert)) / 2.0) / len(lay)
