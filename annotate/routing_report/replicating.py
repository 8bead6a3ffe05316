"""Before any claim about mixes on real text: do the mixes' own scores replicate from half of the prompts to half?

Reward models are ridge on hashed embeddings, trained on mixes of equal size; each is scored on two halves of held-out
prompts. Where the halves do not rank the mixes alike, no model of mixes can be judged there, and none is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routing.features.table import fit_bins, tag_matrix
from routing.ppm.evaluation import within_budget_rho
from routing.ppm.mixes import draw_mixes
from routing.ppm.outlook import MixDesign, fit_outlook
from routing.ppm.proxy import ProxyMetric, fit_proxy
from routing.replay.pool import ReplayPool

from .recorded import RecordedSet

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SHARES, MIXES_EACH = (0.25, 0.50, 0.75), 30
TRAIN_SHARE = 0.5
RESAMPLES = 200


@dataclass(frozen=True)
class ReplicationLine:
    """Rank correlation, at equal budget, between two halves' scores of the same mixes; then a model's, if at all.

    `low` and `high`: the middle 95% of random halvings. `skill`: of `gp` learned on one half and tested on other mixes
    on the other half; None where the scores do not replicate.
    """

    data: str
    judge: str
    replication: float
    low: float
    high: float
    skill: float | None
    mixes: int

    def as_row(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def replication_line(known: RecordedSet, pool: ReplayPool, judge: str, seed: int = 0) -> ReplicationLine:
    """Measure one set: half of its prompts train, the other half scores."""
    rng = np.random.default_rng(seed)
    labels, truth = known.draw(seed)
    prompts = np.unique([row.group for row in known.rows], return_inverse=True)[1]
    shuffled = rng.permutation(int(prompts.max()) + 1)
    cut = round(TRAIN_SHARE * len(shuffled))
    train = np.isin(prompts, shuffled[:cut])
    x = pool.features.difference
    side, people = pool.verdict, np.array(labels, dtype=np.float64)
    rows = np.flatnonzero(train)
    tags = tag_matrix(pool.features.table, fit_bins(pool.features.table))[rows]
    models = fit_proxy(x[rows], side[rows], (people - side)[rows])
    budget = np.repeat([round(share * len(rows)) for share in SHARES], MIXES_EACH)
    masks = draw_mixes(tags, budget, rng)
    weights = models.weights(masks)

    def halves() -> tuple[Ints, Ints]:
        drawn = rng.permutation(shuffled[cut:])
        scored = truth != 0
        one, other = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
        return np.flatnonzero(np.isin(prompts, one) & scored), np.flatnonzero(np.isin(prompts, other) & scored)

    def scores(half: Ints, models_: NDArray[np.float32]) -> Floats:
        return np.asarray(((x[half] @ models_.T) * truth[half, None] > 0).mean(axis=0), dtype=np.float64)

    rhos = []
    for _ in range(RESAMPLES):
        one, other = halves()
        rhos.append(within_budget_rho(scores(one, weights), scores(other, weights), budget))
    low, high = (float(value) for value in np.percentile(rhos, [2.5, 97.5]))
    skill = None
    if low > 0:
        one, other = halves()
        metric = ProxyMetric(x[one], truth[one].astype(float), np.ones(len(one)), np.zeros(len(one), dtype=np.int64))
        design = MixDesign(tags, np.ones(len(rows)), (people != side)[rows].astype(float), models, metric)
        learned = draw_mixes(tags, budget, rng)
        outlook = fit_outlook("gp", design, learned, scores(one, models.weights(learned)))
        skill = within_budget_rho(scores(other, weights), outlook.predict(masks)[0], budget)
    return ReplicationLine(known.name, judge, float(np.mean(rhos)), low, high, skill, len(masks))
