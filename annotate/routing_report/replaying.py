"""Every strategy on recorded sets, every label paid: how many labels end up right, against random at equal spend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedback.formats.sources import detect_source
from routing.replay.plan import affordable, replay
from routing.replay.pool import ReplayPool, pool_of
from routing.replay.strategies import PILOTED, STRATEGIES

from .recorded import RecordedSet, recorded_set

Floats = NDArray[np.float64]
Tell = Callable[[str], None]

# The public sets and the judges to route on them, by the name of their format.
JUDGES = {"vicuna80": ("gpt-4",), "mtbench": ("gpt-4",), "llmbar": ("GPT-4 Vanilla", "ChatGPT Vanilla")}
BUDGETS = (0.10, 0.25, 0.50, 0.75, 1.0)
ORACLE = "oracle"
RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A mean with its 95% interval, by bootstrap over prompts."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ReplayLine:
    """A strategy at an offered budget, over all draws and seeds. Gains are against random routing at equal spend."""

    data: str
    judge: str
    panel: bool
    strategy: str
    offered: float
    spent: float
    right: Interval
    gain: Interval
    best_pure: float
    instances: int
    scored: int
    prompts: int

    def as_row(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def cases(folders: Iterable[Path]) -> list[tuple[Path, str, bool]]:
    """(folder, judge, with the other judges' verdicts?) for each set among the folders that this report knows."""
    found = []
    for folder in folders:
        source = detect_source(folder)
        for judge in JUDGES.get(source.name if source else "", ()):
            found += [(folder, judge, panel) for panel in (False, True)]
    return found


@dataclass(frozen=True)
class ReplayCase:
    """A set with the judge that is routed, its pool, and whether the other judges are evidence."""

    known: RecordedSet
    pool: ReplayPool
    judge: str
    panel: bool


def case_of(folder: Path, judge: str, panel: bool) -> ReplayCase | None:
    """Read a set. None for a panel where it has no second judge."""
    known = recorded_set(folder, judge, panel=panel)
    if panel and len({name for row in known.rows for name in row.judges}) < 2:
        return None
    return ReplayCase(known, pool_of(known.rows), judge, panel)


def replay_lines(case: ReplayCase, draws: int, seeds: int, budgets: Sequence[float], tell: Tell) -> list[ReplayLine]:
    """Replay one set with each strategy; those that read no other judge's verdicts only where there are none."""
    lines = []
    for strategy in (*(name for name in STRATEGIES if not (case.panel and name in PILOTED)), ORACLE):
        for budget in budgets:
            lines.append(_line(case.known, case.pool, case.judge, case.panel, strategy, budget, draws, seeds))
        name = f"{case.known.name}, {case.judge}{' and panel' if case.panel else ''}"
        tell(f"{name}: {strategy} " + ", ".join(f"{100 * one.right.value:.1f}" for one in lines[-len(budgets) :]))
    return lines


def _line(
    known: RecordedSet,
    pool: ReplayPool,
    judge: str,
    panel: bool,
    strategy: str,
    budget: float,
    draws: int,
    seeds: int,
) -> ReplayLine:
    prompts = np.unique([row.group for row in known.rows], return_inverse=True)[1]
    right, gain, scored = (np.zeros(pool.size) for _ in range(3))
    spent, pure = [], []
    for draw in range(draws):
        labels, truth = known.draw(draw)
        human, machine = rightness((np.array(labels) + 1) / 2, truth), rightness(pool.judge_p, truth)
        known_truth = truth != 0
        pure.append((human[known_truth].mean(), machine[known_truth].mean()))
        for seed in range(seeds):
            if strategy == ORACLE:
                share, ours = _oracle(human, machine, affordable(budget, pool.size))
            else:
                plan = replay(pool, labels, STRATEGIES[strategy], budget, seed)
                share, ours = plan.spent, rightness(plan.p_a, truth)
            spent.append(share)
            right += np.where(known_truth, ours, 0.0)
            gain += np.where(known_truth, ours - share * human - (1.0 - share) * machine, 0.0)
            scored += known_truth
    return ReplayLine(
        data=known.name,
        judge=judge,
        panel=panel,
        strategy=strategy,
        offered=budget,
        spent=float(np.mean(spent)),
        right=over_prompts(right, scored, prompts),
        gain=over_prompts(gain, scored, prompts),
        best_pure=float(np.mean(pure, axis=0).max()),
        instances=pool.size,
        scored=round(float(scored.sum()) / (draws * seeds)),
        prompts=int(prompts.max()) + 1,
    )


def rightness(p_a: Floats, truth: NDArray[np.int64]) -> Floats:
    """1 where the label names the true side, ½ where it names none, else 0 [N]."""
    return np.where(np.abs(p_a - 0.5) < 1e-12, 0.5, (p_a > 0.5) == (truth > 0)).astype(np.float64)


def _oracle(human: Floats, machine: Floats, most: int) -> tuple[float, Floats]:
    """Buys where the person is right and the judge is not: the ceiling of choosing between the two."""
    order = np.argsort(machine - human, kind="stable")[:most]
    chosen = order[human[order] > machine[order]]
    ours = machine.copy()
    ours[chosen] = human[chosen]
    return len(chosen) / len(human), ours


def over_prompts(total: Floats, count: Floats, prompts: NDArray[np.int64]) -> Interval:
    """Σ total / Σ count over items [N], with percentiles over resampled prompts; all runs of a prompt stay together."""
    sums, counts = np.bincount(prompts, total), np.bincount(prompts, count)
    drawn = np.random.default_rng(0).integers(0, len(sums), (RESAMPLES, len(sums)))
    low, high = np.percentile(sums[drawn].sum(axis=1) / np.maximum(counts[drawn].sum(axis=1), 1.0), [2.5, 97.5])
    return Interval(float(sums.sum() / counts.sum()), float(low), float(high))
