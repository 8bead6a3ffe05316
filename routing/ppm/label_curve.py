"""How many labels will be right at a budget, as the adaptive learner believes: the line behind its budget slider.

After one more label of accuracy h a pair whose better side has probability q is right with probability max(h, q): a
label overrules the belief where h > q, and changes nothing elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routing.ppm.adaptive import LEAST_WORTH, Learner
from routing.ppm.logistic import sigmoid

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DRAWS = 200
BAND = (2.5, 97.5)


@dataclass(frozen=True)
class LabelPoint:
    """Offered and bought labels, and the share of labels that are right: mean with a 95% band, and random's mean."""

    offered: int
    bought: int
    mean: float
    low: float
    high: float
    random: float


@dataclass(frozen=True)
class LabelCurve:
    """Points by rising budget; all-judge and all-human as the share of right labels of each alone."""

    points: tuple[LabelPoint, ...]
    all_judge: float
    all_human: float


def label_curve(
    learner: Learner,
    judge_p: Floats,
    candidates: Ints,
    counts: Ints,
    rng: np.random.Generator,
    *,
    least_worth: float = LEAST_WORTH,
) -> LabelCurve:
    """At each of `counts` further labels, bought where they are worth most and only where they pay.

    judge_p [N]: P(a better) by the judge alone. The band is over draws of the weights from their posterior: it says how
    far the belief may be off, not what the next draw of people may bring. `random` is random routing at equal spend,
    where a label replaces the verdict.
    """
    p, accuracy = learner.probability, learner.accuracy
    sure = np.maximum(p, 1.0 - p)
    worth = np.maximum(accuracy - sure[candidates], 0.0)
    order = np.argsort(-worth, kind="stable")
    paying = int((worth > least_worth).sum())
    believed = learner.unlabelled_probability
    judge = float(np.where(judge_p == 0.5, 0.5, np.where(judge_p > 0.5, believed, 1.0 - believed)).mean())
    truth = _drawn(learner, rng)
    side = p > 0.5
    right = np.where(side, truth, 1.0 - truth)
    lift = np.maximum(accuracy, sure) - sure
    points, own = [], float(sure.mean())
    for offered in counts:
        bought = min(int(offered), paying)
        chosen = candidates[order[:bought]]
        mean = own + float(lift[chosen].sum()) / len(p)
        drawn = right.mean(axis=1) + (accuracy - right[:, chosen]).sum(axis=1) / len(p)
        spread = np.percentile(drawn, BAND) - drawn.mean()
        share = bought / len(p)
        random = judge + share * (accuracy - judge)
        low, high = np.clip(mean + spread, 0.0, 1.0)
        points.append(LabelPoint(int(offered), bought, mean, float(low), float(high), random))
    return LabelCurve(tuple(points), judge, accuracy)


def _drawn(learner: Learner, rng: np.random.Generator) -> Floats:
    """P(a better) [DRAWS, N] under weights drawn from their posterior; what a pair's completions add is kept."""
    model, x = learner.model, learner.signals.x
    logits = learner.model.belief(x, learner.signals.sharing).mean
    root = np.linalg.cholesky(model.curvature.weights + 1e-12 * np.eye(x.shape[1]))
    moves = rng.standard_normal((DRAWS, x.shape[1])) @ root.T
    return sigmoid(logits[None, :] + (moves @ x.T))
