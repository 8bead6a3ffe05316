"""How long routing takes: features of a pool, a whole plan, mixes, the Gaussian process, and a million instances.

Run alone: `python bench/routing.py [--quick] [--device cpu]`. Prints one JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
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


def report(figure: str, value: float, goal: float, unit: str = "s", **detail: object) -> None:
    """Print one figure with its goal."""
    line = {"figure": figure, "value": round(value, 3), "unit": unit, "goal": goal, "holds": value <= goal}
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


def whole_plan(evidence: Evidence, mixes: int, strategy: str = "adv_topk") -> None:
    """Everything from evidence to a plan with its predicted metric."""
    prepared = prepare(evidence, PEOPLE, np.random.default_rng(0), mixes=mixes)
    budget = budget_for_share(prepared.pool, 0.25, Budget(0, JUDGE, PEOPLE))
    STRATEGIES[strategy].route(prepared.pool, budget, np.random.default_rng(0))


def bench_plan(figure: str, mixes: int, goal: float, strategy: str = "adv_topk") -> None:
    """A whole plan of 10,000 instances."""
    evidence = evidence_of(10_000)
    wall, cpu = best_of(3, lambda: whole_plan(evidence, mixes, strategy))
    report(figure, wall, goal, tags=TAGS, mixes=mixes, strategy=strategy, cpu_seconds=round(cpu, 3))


def bench_growth(sizes: Sequence[int], mixes: int = 500) -> None:
    """Whole plans of more and more instances, each in a process of its own so that its peak memory is its own."""
    seconds: dict[int, float] = {}
    for size in sizes:
        told = subprocess.run(
            [sys.executable, __file__, "--one-plan", str(size), str(mixes)], capture_output=True, text=True, check=True
        )
        measured = json.loads(told.stdout)
        seconds[size] = measured["seconds"]
        name = {10**6: "1m"}.get(size, f"{size // 1000}k")
        if size == 10**6:
            report("plan_1m_s", measured["seconds"], 60.0, mixes=mixes, cpu_seconds=measured["cpu_seconds"])
            report("plan_1m_peak_mib", measured["peak_mib"], 4096.0, "MiB", before_mib=measured["before_mib"])
        else:
            report(
                f"plan_{name}_alone_s", measured["seconds"], 60.0 * size / 10**6 + 1.0, peak_mib=measured["peak_mib"]
            )
    if len(seconds) > 1:
        first, last = min(seconds), max(seconds)
        factor = (seconds[last] / seconds[first]) / (last / first)
        report("plan_growth", factor, 1.5, "x of linear", instances=f"{first:,} to {last:,}")


def one_plan(size: int, mixes: int) -> None:
    """What `bench_growth` reads of a process: seconds and peak memory of one plan, evidence made beforehand."""
    evidence = evidence_of(size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wall, cpu = best_of(1, lambda: whole_plan(evidence, mixes))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": wall, "cpu_seconds": round(cpu, 2), "peak_mib": peak, "before_mib": round(before)}))


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
    report(f"gp_{points}_s", wall, 2.0, columns=TAGS + 6, cpu_seconds=round(cpu, 3))


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
    parser.add_argument("--quick", action="store_true", help="fewer texts and strategies; the million stays")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"], help="routing always runs on the processor")
    parser.add_argument("--one-plan", nargs=2, type=int, metavar=("SIZE", "MIXES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_plan:
        one_plan(*options.one_plan)
        return
    bench_plan("plan_10k_s", 500, 0.5)
    bench_plan("plan_10k_5000_mixes_s", 5_000, 2.0)
    bench_plan("plan_10k_guided_s", 500, 2.0, "ppm_guided")
    bench_process(1_200)
    bench_growth((10_000, 100_000, 1_000_000))
    bench_proxies(10_000, 500, 0.2)
    bench_slider(10_000)
    bench_features(1_000 if options.quick else 10_000)
    if not options.quick:
        bench_strategies(100_000)


if __name__ == "__main__":
    main()
