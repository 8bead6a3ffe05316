"""Does a performance-prediction model rank mixes of one size? Simulated worlds, held-out mixes, unseen benchmark.

As in the paper, people and the judge labelled every instance, so that a mix can be trained and scored. A model learns
from 300 mixes' accuracies on 6,000 validation pairs; it is tested on other mixes, four budgets of twenty, scored on
40,000 pairs that nothing was fitted on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routing.ppm.evaluation import evaluate_ppm, within_budget_rho
from routing.ppm.mixes import draw_budgets, draw_mixes
from routing.ppm.outlook import MixDesign, fit_outlook
from routing.ppm.pilot import advised_pilot_size, draw_pilot
from routing.ppm.pool import Arm
from routing.ppm.preparation import prepare
from routing.ppm.proxy import ProxyMetric, fit_proxy
from routing.ppm.quality import Votes, side_of
from routing.ppm.regression import MODELS
from routing.ppm.worlds import World, evidence_of, make_world, reward_models, section_accuracy

Floats = NDArray[np.float64]
Tell = Callable[[str], None]

VALIDATION_PAIRS, BENCHMARK_PAIRS = 6000, 40_000
TRAIN_MIXES, MIXES_EACH = 300, 20
TEST_SHARES = (0.10, 0.25, 0.50, 0.75)
ONE_LABEL = Arm("person", "crowd", 1.0)
DEFAULT = "gp"
FIGURES = ("within_budget_rho", "overall_rho", "rmse", "coverage80", "coverage95")


@dataclass(frozen=True)
class PredictionLine:
    """One way to predict mixes: means over worlds, and the standard error of the rank correlation at equal budget."""

    model: str
    within_budget_rho: float
    standard_error: float
    overall_rho: float
    rmse: float
    coverage80: float
    coverage95: float
    worlds: int

    def as_row(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def prediction_lines(worlds: int, size: int, tell: Tell) -> list[PredictionLine]:
    """Every named model, the baseline that knows the budget alone, and what bounds them, over all worlds."""
    known: dict[str, list[dict[str, float]]] = {}
    for seed in range(worlds):
        for name, figures in predict_world(seed, size).items():
            known.setdefault(name, []).append(figures)
        tell(f"Mixes of world {seed + 1} of {worlds}: {DEFAULT} {known[DEFAULT][-1]['within_budget_rho']:.2f}")
    return [_line(name, rows) for name, rows in known.items()]


def _line(name: str, rows: list[dict[str, float]]) -> PredictionLine:
    mean = {figure: float(np.mean([row.get(figure, np.nan) for row in rows])) for figure in FIGURES}
    rhos = np.array([row["within_budget_rho"] for row in rows])
    error = float(rhos.std(ddof=1) / np.sqrt(len(rhos))) if len(rhos) > 1 else float("nan")
    return PredictionLine(model=name, standard_error=error, worlds=len(rows), **mean)


def predict_world(seed: int, size: int = 6000) -> dict[str, dict[str, float]]:
    """The figures of one world by the name of what predicts."""
    world, rng = make_world(seed, size, VALIDATION_PAIRS + BENCHMARK_PAIRS), np.random.default_rng(seed)
    human, again = _people(world, rng), _people(world, rng)
    validation, unseen = np.split(np.arange(len(world.gold_side)), [VALIDATION_PAIRS])
    drawn = draw_pilot(np.ones(size, dtype=bool), advised_pilot_size(size), rng).instances
    votes = Votes(drawn, np.arange(len(drawn)) % 20, human[drawn])
    pilot = prepare(evidence_of(world, votes), ONE_LABEL, rng).pool
    assert pilot.advantage is not None
    side, advantage = side_of(world.judge_p), pilot.advantage.mean
    pairs = (world.gold_x[validation], world.gold_side[validation], world.gold_section[validation])
    metric = ProxyMetric(pairs[0], pairs[1], np.ones(len(validation)), pairs[2])
    design = MixDesign(world.tags, np.ones(size), advantage, fit_proxy(world.x, side, human - side), metric)
    train_budget = draw_budgets(TRAIN_MIXES, size, rng)
    budget = np.repeat([round(share * size) for share in TEST_SHARES], MIXES_EACH)
    train, test = (draw_mixes(world.tags, sizes, rng, advantage) for sizes in (train_budget, budget))

    def trained(masks: NDArray[np.uint8], people: Floats) -> Floats:
        return reward_models(world, np.where(masks == 1, people, side))

    scores = section_accuracy(world, trained(train, human), validation)
    models = trained(test, human)
    actual = section_accuracy(world, models, unseen)
    sampling = float(np.sqrt(scores.mean() * (1.0 - scores.mean()) / len(validation)))
    found: dict[str, dict[str, float]] = {}
    for kind in MODELS:
        mean, sd = fit_outlook(kind, design, train, scores, extra_sd=sampling).predict(test)
        found[kind] = asdict(evaluate_ppm(actual, mean, sd, budget, train_budget, scores))
    alone = found[DEFAULT]
    found["budget alone"] = {
        "within_budget_rho": 0.0,
        "overall_rho": alone["budget_only_rho"],
        "rmse": alone["budget_only_rmse"],
    }

    def ranks(predicted: Floats) -> dict[str, float]:
        return {"within_budget_rho": within_budget_rho(actual, predicted, budget)}

    found["proxy reward model alone"] = ranks(metric.scores(design.models.weights(test)))
    if pilot.outlook is not None:
        found["gp from a pilot of one label each"] = ranks(pilot.outlook.predict(test)[0])
    found["the mix itself, trained and validated"] = ranks(section_accuracy(world, models, validation))
    found["the same mix by other people"] = ranks(section_accuracy(world, trained(test, again), unseen))
    one, other = (section_accuracy(world, models, unseen[part::2]) for part in (0, 1))
    found["one half of the benchmark by the other"] = {"within_budget_rho": within_budget_rho(one, other, budget)}
    return found


def _people(world: World, rng: np.random.Generator) -> Floats:
    return np.where(rng.random(len(world.gold)) >= world.human_flip, world.gold, -world.gold)
