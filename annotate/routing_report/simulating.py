"""Strategies in simulated worlds, where the truth is known: accuracy of a reward model trained on the labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routing.ppm.adaptive import Learner
from routing.ppm.pilot import advised_pilot_size
from routing.ppm.pool import Arm, Budget, Pool
from routing.ppm.preparation import Evidence, Prepared, advantage_of, learner_of, prepare
from routing.ppm.quality import Votes, side_of
from routing.ppm.strategies import BATCH_DEFAULT, ONLINE_DEFAULT, STRATEGIES
from routing.ppm.worlds import World, benchmark, evidence_of, labels_of, make_world, signals_of_world, with_truth
from routing.replay.plan import affordable
from routing.replay.purchase import Purchase

Floats = NDArray[np.float64]
Tell = Callable[[str], None]

BUDGETS = (0.10, 0.25, 0.50, 0.75)
# A plan keeps what people and judge say together (a posterior); the published strategies let people overwrite.
COMBINED = ("adv_topk", "ppm_guided")
UNPILOTED = ("all_judge", "all_human", "disagreement", "uncertainty", "length_gap", "oracle")
RANDOM, RANDOM_DRAWS = "random", 4
ONE_LABEL = Arm("person", "crowd", 1.0)
THREE = Arm("three people", "crowd", 1.0, n_labels=3)
FREE = Arm("judge", "judge", 0.0)
DEFAULTS = (BATCH_DEFAULT, ONLINE_DEFAULT)


@dataclass(frozen=True)
class SimulatedLine:
    """A strategy at a budget over all worlds: score, and points over random with the standard error over worlds.

    `spent`: people's labels, as a share of one for each instance. `worst`: the lowest mean of a world; `below`: in how
    many worlds it lies more than a standard error (over that world's seeds) under random.
    """

    strategy: str
    offered: float
    spent: float
    score: float
    gain: float
    standard_error: float
    worst: float
    below: int
    worlds: int
    seeds: int

    def as_row(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def simulated_lines(
    worlds: int, size: int, budgets: Sequence[float], seeds: int, tell: Tell
) -> tuple[list[SimulatedLine], Floats]:
    """Every strategy in every world, and their scores [worlds, seeds, strategies, budgets, (score, spent)].

    One person's label an instance can be bought; a pilot is paid from the budget. Seeds draw people, pilot and plan.
    """
    names = list(STRATEGIES)
    table = np.zeros((worlds, seeds, len(names), len(budgets), 2))
    for number in range(worlds):
        world = make_world(number, size)
        for seed in range(seeds):
            table[number, seed] = score_strategies(world, 1000 * number + seed, names, budgets)
        gains = gains_of(table)[number].mean(axis=0)
        told = ", ".join(f"{name} {np.round(gains[names.index(name)], 1)}" for name in DEFAULTS)
        tell(f"World {number + 1} of {worlds}, points over random: {told}")
    return [
        _line(name, budget, table[:, :, row, column], gains_of(table)[:, :, row, column])
        for row, name in enumerate(names)
        for column, budget in enumerate(budgets)
    ], table


def gains_of(table: Floats) -> Floats:
    """Points over random of a table of scores [worlds, seeds, strategies, budgets, 2] → without the last axis."""
    random = list(STRATEGIES).index(RANDOM)
    return np.asarray(100.0 * (table[..., 0] - table[:, :, random : random + 1, :, 0]), dtype=np.float64)


def _line(name: str, budget: float, cells: Floats, gains: Floats) -> SimulatedLine:
    worlds, seeds = gains.shape
    by_world = gains.mean(axis=1)
    error = gains.std(axis=1, ddof=1) / np.sqrt(seeds) if seeds > 1 else np.zeros(worlds)
    return SimulatedLine(
        strategy=name,
        offered=budget,
        spent=float(cells[..., 1].mean()),
        score=float(cells[..., 0].mean()),
        gain=float(gains.mean()),
        standard_error=float(by_world.std(ddof=1) / np.sqrt(worlds)) if worlds > 1 else float("nan"),
        worst=float(by_world.min()),
        below=int((by_world < -error - 1e-9).sum()),
        worlds=worlds,
        seeds=seeds,
    )


@dataclass(frozen=True)
class Setting:
    """One world with its people: what three persons say of each instance [3, N], a pool without any label, and in which
    order a pilot draws the instances [N]."""

    world: World
    people: Floats
    bare: Pool
    order: NDArray[np.int64]
    seed: int
    kept: dict[int, Pool] = field(default_factory=dict)

    def piloted(self, labels: int) -> Pool:
        """The pool after the pilot, of one label each, that is advised where money pays for so many labels."""
        size = min(advised_pilot_size(len(self.order), labels), labels)
        if size not in self.kept:
            drawn = np.sort(self.order[:size])
            votes = Votes(drawn, np.arange(size) % 20, self.people[0][drawn])
            evidence = evidence_of(self.world, votes)
            prepared = prepare(evidence, ONE_LABEL, np.random.default_rng(self.seed))
            self.kept[size] = _with_three(prepared, evidence)
        return self.kept[size]


def setting_of(world: World, seed: int, flip: Floats | None = None) -> Setting:
    """Draw people, who err by the world's rates or by `flip` [N], and the order in which a pilot draws instances."""
    rng, size = np.random.default_rng(seed), len(world.gold)
    rate = world.human_flip if flip is None else flip
    people = np.where(rng.random((3, size)) >= rate, world.gold, -world.gold)
    nobody = Votes(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    bare = with_truth(prepare(evidence_of(world, nobody), ONE_LABEL, rng).pool, world)
    return Setting(world, people, bare, rng.permutation(size), seed)


def _with_three(prepared: Prepared, evidence: Evidence) -> Pool:
    pool = prepared.pool
    if prepared.quality.judge is None:
        return pool
    three = advantage_of(evidence, prepared.quality, pool.learner, THREE.n_labels)
    return replace(pool, arm_advantages={THREE.name: three})


def score_strategies(world: World, seed: int, names: Sequence[str], budgets: Sequence[float]) -> Floats:
    """[strategies, budgets, 2]: score, and people's labels as a share of the instances."""
    setting, size = setting_of(world, seed), len(world.gold)
    labels = [affordable(budget, size) for budget in budgets]
    out = np.zeros((len(names), len(budgets), 2))
    for row, name in enumerate(names):
        if name == ONLINE_DEFAULT:
            out[row] = [(benchmark(world, kept), spent) for kept, spent in adaptive_labels(setting, labels, seed)]
            continue
        for column, most in enumerate(labels):
            draws = range(RANDOM_DRAWS if name == RANDOM else 1)
            runs = [planned(setting, name, most, seed + 7919 * draw) for draw in draws]
            out[row, column] = np.mean([(benchmark(world, kept), spent) for kept, spent in runs], axis=0)
    return out


def planned(setting: Setting, name: str, labels: int, seed: int) -> tuple[Floats, float]:
    """(the labels of a strategy's plan [N], people's labels as a share); a pilot's are paid first."""
    world, size = setting.world, len(setting.world.gold)
    if name == "all_human":
        return setting.people[0], 1.0
    pool = setting.bare if name in (*UNPILOTED, RANDOM) else setting.piloted(labels)
    money = float(labels - int(pool.human_done.sum()))
    others = (THREE,) if name == "adv_per_cost" else ()
    plan = STRATEGIES[name].route(pool, Budget(money, FREE, ONE_LABEL, others), np.random.default_rng(seed))
    kept = labels_of(world, plan.human_mask, setting.people[0])
    if name in COMBINED:
        kept = combined(world, plan.human_mask, setting.people[0])
    several = plan.choice == 2
    kept[several] = np.sign(setting.people.sum(axis=0))[several]
    return kept, float(plan.human_mask.sum() + 2 * several.sum()) / size


def combined(world: World, human_mask: NDArray[np.uint8], said: Floats) -> Floats:
    """A mix's labels [N] as they are frozen: 2p − 1 by the posterior of people and judge where a person labelled, the
    judge's side elsewhere."""
    kept, rows = side_of(world.judge_p), np.flatnonzero(human_mask)
    votes = Votes(rows, np.zeros(len(rows), dtype=np.int64), said[rows])
    learner = learner_of(signals_of_world(world), votes, kept.copy())
    kept[rows] = 2.0 * learner.probability[rows] - 1.0
    return kept


def adaptive_labels(setting: Setting, labels: Sequence[int], seed: int) -> list[tuple[Floats, float]]:
    """What the learner keeps after so many labels (ascending), each list of labels going on from the one before.

    What was bought trains the reward model as soft labels 2p − 1, the rest with the judge's verdict: imputed by the
    learner, its errors would all point one way (measured: more labels right, a worse reward model).
    """
    world, rng = setting.world, np.random.default_rng(seed)
    learner = Learner(signals_of_world(world), stays=side_of(world.judge_p))
    doubt = 1.0 - np.abs(2.0 * world.judge_p - 1.0) + ~world.order_consistent
    bought: list[int] = []
    found = []
    for most in labels:
        while len(bought) < most:
            purchase = Purchase([int(side) for side in setting.people[0]], most)
            purchase.bought = list(bought)
            wanted = learner.next_round(purchase.open(), doubt, rng, most=purchase.left).instances
            if not len(wanted):
                break
            learner.learn(wanted, purchase.buy(wanted))
            bought = purchase.bought
        kept = side_of(world.judge_p)
        kept[bought] = 2.0 * learner.probability[bought] - 1.0
        found.append((kept, len(bought) / len(kept)))
    return found
