"""Pools small enough to check by hand, with everything that any strategy asks for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from routing.ppm.adaptive import Learner
from routing.ppm.mixes import draw_budgets, draw_mixes
from routing.ppm.outlook import MixDesign, Outlook, fit_outlook
from routing.ppm.pool import Arm, Budget, Plan, Pool
from routing.ppm.preference_model import Prior, sharing_of
from routing.ppm.proxy import ProxyMetric, fit_proxy
from routing.ppm.quality import Advantage
from routing.ppm.signals import Signals
from routing.ppm.strategies import STRATEGIES
from routing.ppm.tag_gain import fit_tag_gain

JUDGE = Arm("judge", "judge", 0.01)
PEOPLE = Arm("crowd", "crowd", 0.3)


def pool_of(size: int = 40, seed: int = 0, judged: float = 1.0, done: float = 0.0, silent: float = 0.0) -> Pool:
    """Random verdicts, advantages, tags and truths; a share judged, some of it silent, and some labelled by people."""
    rng = np.random.default_rng(seed)
    asked = rng.random(size) < judged
    p = np.where(asked & (rng.random(size) >= silent), rng.random(size), np.nan)
    mean = rng.normal(0.05, 0.2, size)
    advantage = Advantage(mean, mean - 0.1, mean + 0.1, np.full(size, 0.8), 0.8 - mean)
    tags = (rng.random((size, 3)) < 0.4).astype(np.uint8)
    gain, truth = rng.normal(size=size), rng.normal(size=size)
    consistent, people = rng.random(size) < 0.7, rng.random(size) < done
    pool = Pool(p, asked, consistent, people, tags, ("a", "b", "c"), advantage, gain, None, truth)
    masks = draw_mixes(tags, draw_budgets(12, size, rng), rng)
    model = fit_tag_gain(tags, masks, masks.mean(axis=1) + 0.1 * rng.normal(size=12))
    return replace(pool, tag_model=model, length_gap=rng.random(size), learner=learner_of(p), outlook=outlook_of(pool))


def outlook_of(pool: Pool) -> Outlook:
    """A prediction that likes people where their advantage is."""
    assert pool.advantage is not None
    rng, size = np.random.default_rng(0), pool.size
    x = rng.normal(size=(size, 4)).astype(np.float32)
    metric = ProxyMetric(x[:3], np.ones(3), np.ones(3), np.zeros(3, dtype=np.int64))
    models = fit_proxy(x, np.ones(size), np.zeros(size))
    design = MixDesign(pool.tags, np.ones(size), pool.advantage.mean, models, metric)
    masks = draw_mixes(pool.tags, draw_budgets(30, size, rng), rng, pool.advantage.mean)
    return fit_outlook("gp", design, masks, 0.6 + masks @ pool.advantage.mean / size)


def learner_of(judge_p: np.ndarray) -> Learner:
    """A learner that knows the verdicts alone."""
    verdict = 2.0 * np.where(np.isnan(judge_p), 0.5, judge_p) - 1.0
    alone = np.arange(len(judge_p))
    prior = Prior(np.array([0.8]), np.array([0.7]), 1.0)
    return Learner(Signals(("verdict",), verdict[:, None], prior, sharing_of(alone, alone, alone)))


def routed(name: str, pool: Pool, money: float, seed: int = 0, human: Arm = PEOPLE, judge: Arm = JUDGE) -> Plan:
    """The strategy's plan."""
    return STRATEGIES[name].route(pool, Budget(money, judge, human), np.random.default_rng(seed))
