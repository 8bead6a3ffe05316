"""How long routing takes: features of a pool, a whole plan, mixes, the Gaussian process, and a million instances.

Run alone: `python bench/routing.py [--quick] [--device cpu]`. Prints one JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from routing.features.table import describe_pairs, fit_bins, tag_matrix
from routing.features.texts import PairText
from routing.ppm.allocation import budget_for_share
from routing.ppm.curve import predicted_curve
from routing.ppm.mixes import draw_budgets, draw_mixes
from routing.ppm.pool import Arm, Budget, Pool
from routing.ppm.preparation import Evidence, prepare
from routing.ppm.proxy import fit_proxy
from routing.ppm.quality import Advantage, Votes
from routing.ppm.regression import fit_model
from routing.ppm.strategies import STRATEGIES

TAGS, DIM, FEATURES = 90, 256, 40
JUDGE, PEOPLE = Arm("judge", "judge", 0.01), Arm("people", "crowd", 0.3)


def report(figure: str, seconds: float, goal: float, **detail: object) -> None:
    """Print one figure with its goal."""
    line = {"figure": figure, "value": round(seconds, 3), "unit": "s", "goal": goal, "holds": seconds <= goal}
    print(json.dumps(line | {"detail": detail}), flush=True)


def best_of(times: int, work: Callable[[], object]) -> tuple[float, float]:
    """(wall seconds, processor seconds) of the fastest of several runs."""
    runs = []
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        runs.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(runs)


def evidence_of(size: int, seed: int = 0) -> Evidence:
    """A random pool with a pilot of 500 instances, two labels each."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size, DIM)).astype(np.float32)
    judge_p = rng.random(size)
    pilot = np.repeat(rng.choice(size, 500, replace=False), 2)
    votes = Votes(pilot, np.arange(1000) % 20, rng.choice([-1.0, 1.0], 1000))
    features = rng.normal(size=(size, FEATURES))
    tags = (rng.random((size, TAGS)) < 0.15).astype(np.uint8)
    names = tuple(f"tag_{number}" for number in range(TAGS))
    return Evidence(judge_p, np.ones(size, bool), rng.random(size) < 0.8, votes, features, tags, names, x)


def bench_features(size: int) -> None:
    """Features, embeddings and tags of random prose."""
    rng = Random(0)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(5000)]

    def prose(low: int, high: int) -> str:
        return " ".join(rng.choices(words, k=rng.randint(low, high)))

    pairs = [PairText(prose(5, 80), prose(20, 280), prose(20, 280)) for _ in range(size)]

    def work() -> None:
        table = describe_pairs(pairs).table
        tag_matrix(table, fit_bins(table))

    wall, cpu = best_of(1, work)
    report(f"features_{size}", wall, 6.0 * size / 10_000, words_per_completion=150, cpu_seconds=round(cpu, 3))


def bench_plan(size: int, mixes: int, goal: float) -> None:
    """Everything from evidence to a plan with its predicted metric."""
    evidence = evidence_of(size)

    def work() -> None:
        prepared = prepare(evidence, PEOPLE, np.random.default_rng(0), mixes=mixes)
        budget = budget_for_share(prepared.pool, 0.25, Budget(0, JUDGE, PEOPLE))
        STRATEGIES["adv_topk"].route(prepared.pool, budget, np.random.default_rng(0))

    wall, cpu = best_of(3 if size <= 10_000 else 1, work)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    report(f"plan_{size}_{mixes}_mixes", wall, goal, tags=TAGS, cpu_seconds=round(cpu, 3), peak_gib=round(peak, 2))


def bench_proxies(size: int, mixes: int, goal: float) -> None:
    """Proxy reward models of many mixes at once."""
    evidence, rng = evidence_of(size), np.random.default_rng(0)
    models = fit_proxy(evidence.difference, np.sign(evidence.judge_p - 0.5), rng.normal(size=size))
    masks = draw_mixes(evidence.tags, draw_budgets(mixes, size, rng), rng)
    wall, cpu = best_of(3, lambda: models.weights(masks))
    report(f"proxies_{size}_{mixes}", wall, goal, dim=DIM, cpu_seconds=round(cpu, 3))


def bench_process(points: int) -> None:
    """Fit and query a Gaussian process."""
    rng = np.random.default_rng(0)
    phi, y = rng.normal(size=(points, TAGS + 6)), rng.normal(size=points)
    wall, cpu = best_of(3, lambda: fit_model("gp", phi, y).predict(phi[:100]))
    report(f"gp_{points}", wall, 2.0, columns=TAGS + 6, cpu_seconds=round(cpu, 3))


def bench_slider(size: int) -> None:
    """The 21 positions of the budget slider for one strategy."""
    pool: Pool = prepare(evidence_of(size), PEOPLE, np.random.default_rng(0), mixes=200).pool
    wall, cpu = best_of(3, lambda: predicted_curve(pool, Budget(0, JUDGE, PEOPLE), STRATEGIES["adv_topk"], 0))
    report(f"curve_{size}", wall, 1.0, positions=21, cpu_seconds=round(cpu, 3))


def bench_strategies(size: int) -> None:
    """Each strategy's plan alone, everything fitted already."""
    rng = np.random.default_rng(0)
    mean = rng.normal(size=size)
    advantage = Advantage(mean, mean, mean, mean, mean)
    tags = np.zeros((size, 1), dtype=np.uint8)
    nobody = np.zeros(size, dtype=bool)
    pool = Pool(rng.random(size), ~nobody, ~nobody, nobody, tags, ("t",), advantage, mean, None, mean)
    budget = budget_for_share(pool, 0.25, Budget(0, JUDGE, PEOPLE))
    for name, strategy in STRATEGIES.items():
        wall, _ = best_of(3, lambda route=strategy.route: route(pool, budget, np.random.default_rng(0)))  # type: ignore[misc]
        report(f"route_{name}_{size}", wall, 1e-5 * size)


def main() -> None:
    """Run the quick benches, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="skip the million instances")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="routing always runs on the processor")
    quick = parser.parse_args().quick
    bench_features(2_000 if quick else 10_000)
    bench_plan(10_000, 500, 0.5)
    bench_plan(10_000, 5_000, 2.0)
    bench_proxies(10_000, 500, 0.2)
    bench_process(1_200)
    bench_slider(10_000)
    bench_strategies(100_000)
    if not quick:
        bench_plan(1_000_000, 500, 60.0)


if __name__ == "__main__":
    main()
