"""Strategies in simulated worlds, where the truth is known: accuracy of a reward model trained on the labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routing.ppm.adaptive import Learner
from routing.ppm.pilot import advised_pilot_size, draw_pilot
from routing.ppm.pool import Arm, Budget, Pool
from routing.ppm.preparation import prepare
from routing.ppm.quality import Votes, side_of
from routing.ppm.strategies import STRATEGIES
from routing.ppm.worlds import World, benchmark, evidence_of, labels_of, make_world, signals_of_world, with_truth
from routing.replay.plan import affordable
from routing.replay.purchase import Purchase

Floats = NDArray[np.float64]
Tell = Callable[[str], None]

BUDGETS = (0.10, 0.25, 0.50, 0.75)
ADAPTIVE = "adaptive_advantage"
PILOTED = ("adv_topk", "hyper_topk")
RANDOM_DRAWS = 4
ONE_LABEL = Arm("person", "crowd", 1.0)
FREE = Arm("judge", "judge", 0.0)


@dataclass(frozen=True)
class SimulatedLine:
    """A strategy at a budget over all worlds: score, and points over random with the standard error over worlds."""

    strategy: str
    offered: float
    spent: float
    score: float
    gain: float
    standard_error: float
    worlds: int

    def as_row(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def simulated_lines(worlds: int, size: int, budgets: Sequence[float], tell: Tell) -> list[SimulatedLine]:
    """Every strategy in every world. One person's label an instance can be bought; a pilot is paid from the budget."""
    names = ["random", "all_judge", "all_human", "disagreement", *PILOTED, ADAPTIVE, "oracle"]
    table = np.zeros((worlds, len(names), len(budgets), 2))
    for seed in range(worlds):
        table[seed] = _one_world(make_world(seed, size), seed, names, budgets)
        gains = 100 * (table[seed, :, :, 0] - table[seed, :1, :, 0])
        tell(f"World {seed + 1} of {worlds}: {ADAPTIVE} over random {np.round(gains[names.index(ADAPTIVE)], 1)}")
    gain = 100 * (table[..., 0] - table[:, :1, :, 0])
    return [
        SimulatedLine(
            strategy=name,
            offered=budget,
            spent=float(table[:, row, column, 1].mean()),
            score=float(table[:, row, column, 0].mean()),
            gain=float(gain[:, row, column].mean()),
            standard_error=float(gain[:, row, column].std(ddof=1) / np.sqrt(worlds)) if worlds > 1 else float("nan"),
            worlds=worlds,
        )
        for row, name in enumerate(names)
        for column, budget in enumerate(budgets)
    ]


def _one_world(world: World, seed: int, names: Sequence[str], budgets: Sequence[float]) -> Floats:
    """[strategies, budgets, 2]: score and share of the instances bought."""
    rng = np.random.default_rng(seed)
    size = len(world.gold)
    human = np.where(rng.random(size) >= world.human_flip, world.gold, -world.gold)
    nobody = Votes(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    bare = with_truth(prepare(evidence_of(world, nobody), ONE_LABEL, rng).pool, world)
    drawn = draw_pilot(np.ones(size, dtype=bool), advised_pilot_size(size), rng).instances
    piloted = prepare(evidence_of(world, Votes(drawn, np.arange(len(drawn)) % 20, human[drawn])), ONE_LABEL, rng).pool
    out = np.zeros((len(names), len(budgets), 2))
    for column, budget in enumerate(budgets):
        labels = affordable(budget, size)
        for row, name in enumerate(names):
            if name == ADAPTIVE:
                out[row, column] = _adaptive(world, human, labels, seed)
            elif name == "all_human":
                out[row, column] = benchmark(world, human), 1.0
            elif name in PILOTED:
                money = max(labels - len(drawn), 0)
                out[row, column] = _planned(world, human, piloted, name, money, seed)
            else:
                draws = RANDOM_DRAWS if name == "random" else 1
                runs = [_planned(world, human, bare, name, labels, seed + 1000 * draw) for draw in range(draws)]
                out[row, column] = np.mean(runs, axis=0)
    return out


def _planned(world: World, human: Floats, pool: Pool, name: str, money: int, seed: int) -> tuple[float, float]:
    plan = STRATEGIES[name].route(pool, Budget(float(money), FREE, ONE_LABEL), np.random.default_rng(seed))
    return benchmark(world, labels_of(world, plan.human_mask, human)), float(plan.human_mask.mean())


def _adaptive(world: World, human: Floats, labels: int, seed: int) -> tuple[float, float]:
    """What was bought trains the reward model as soft labels 2p − 1, the rest with the judge's verdict: imputed by the
    learner, its errors would all point one way (measured: more labels right, a worse reward model).
    """
    learner, rng = Learner(signals_of_world(world)), np.random.default_rng(seed)
    purchase = Purchase([int(side) for side in human], labels)
    doubt = 1.0 - np.abs(2.0 * world.judge_p - 1.0) + ~world.order_consistent
    while purchase.left:
        wanted = learner.next_round(purchase.open(), doubt, rng).instances[: purchase.left]
        if not len(wanted):
            break
        learner.learn(wanted, purchase.buy(wanted))
    labels_kept = side_of(world.judge_p)
    labels_kept[purchase.bought] = 2.0 * learner.probability[purchase.bought] - 1.0
    return benchmark(world, labels_kept), len(purchase.bought) / len(human)
