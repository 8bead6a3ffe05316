"""From a preference mix to what it will score: the design vector Φ(s), and the fitted model on top of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from routing.ppm.proxy import ProxyMetric, ProxyRewardModels, masked_sums
from routing.ppm.regression import FittedModel, fit_model, rows_used

Floats = NDArray[np.float64]
Masks = NDArray[np.uint8]
Singles = NDArray[np.float32]

SUMMARY_NAMES = ("human_share", "cost_share", "advantage", "positive_advantage", "squared_advantage", "proxy")


@dataclass(frozen=True)
class MixDesign:
    """What Φ(s) is made of.

    Tags [N, F] with bins fixed on the pool, human cost [N], mean advantage [N], proxy models.
    """

    tags: Masks
    cost: Floats
    advantage: Floats
    models: ProxyRewardModels
    metric: ProxyMetric

    def matrix(self, masks: Masks, weights: Singles | None = None) -> Floats:
        """Φ [M, F + 6] of masks [M, N]: [Zᵀs/N, |s|/N, cost share, Σadv/N, Σadv₊/N, Σadv²/N, U_proxy(s)].

        `weights` [M, d]: the masks' proxy models where they are known already.
        """
        size = max(len(self.tags), 1)
        total = max(float(self.cost.sum()), 1e-12)
        adv = self.advantage
        extra = np.column_stack([np.ones(len(adv)), self.cost, adv, np.maximum(adv, 0.0), adv**2]).astype(np.float32)
        counts = masked_sums(masks, np.concatenate([self.tags.astype(np.float32), extra], axis=1))
        scale = np.full(counts.shape[1], 1.0 / size)
        scale[self.tags.shape[1] + 1] = 1.0 / total
        models = self.models.weights(masks) if weights is None else weights
        return np.column_stack([counts * scale, self.metric.scores(models)])


@dataclass(frozen=True)
class Outlook:
    """A fitted performance-prediction model with its design.

    `extra_sd` is error common to all mixes (validation sampling); `target` the pairs that proxies were scored on, None
    where real runs were.
    """

    kind: str
    design: MixDesign
    model: FittedModel
    points: int
    extra_sd: float = 0.0
    shift: float = 0.0
    slope: float = 1.0
    target: ProxyMetric | None = None

    def predict(self, masks: Masks) -> tuple[Floats, Floats]:
        """(mean [M], sd [M]) of the metric for masks [M, N]."""
        mean, sd = self.model.predict(self.design.matrix(masks))
        return self.shift + self.slope * mean, np.hypot(self.slope * sd, self.extra_sd)

    def gains_over(self, masks: Masks, other: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """(mean [M], sd [M]) of how far masks [M, N] score above another mix [N]: the model's error, and that of the
        validation pairs, which a model fitted on their scores cannot know of."""
        weights = self.design.models.weights(np.concatenate([other[None, :], masks]))
        mean, sd = self.model.predict(self.design.matrix(np.concatenate([other[None, :], masks]), weights))
        error = np.zeros(len(masks)) if self.target is None else self.target.paired_errors(weights[1:], weights[0])
        return self.slope * (mean[1:] - mean[0]), self.slope * np.hypot(sd[1:], error)


def fit_outlook(
    kind: str,
    design: MixDesign,
    masks: Masks,
    scores: Floats,
    noise: Floats | None = None,
    extra_sd: float = 0.0,
    weights: Singles | None = None,
    target: ProxyMetric | None = None,
) -> Outlook:
    """Fit the named model (see regression.MODELS) to the scores [M] of masks [M, N], with their proxy models if known.

    Mixes that the model would not use (see regression.rows_used) are not described. Raises ValueError as fit_model.
    """
    rows = rows_used(kind, len(scores))
    part = None if weights is None else weights[rows]
    phi = design.matrix(masks[rows], part)
    model = fit_model(kind, phi, scores[rows], None if noise is None else noise[rows], len(SUMMARY_NAMES))
    return Outlook(kind, design, model, len(scores), extra_sd, target=target)


def fit_to_runs(outlook: Outlook, masks: Masks, values: Floats, slope_strength: float = 0.05) -> Outlook:
    """Carry a proxy outlook over to real runs: value ≈ shift + slope · proxy prediction, slope pulled towards 1.

    values [R] are the scores of finished reward-model runs on masks [R, N]. `slope_strength` is the prior spread of the
    proxy's predictions, in score units: runs that vary less than it hardly move the slope. The error that remains
    becomes common error. Returns the outlook unchanged without runs.
    """
    if not len(values):
        return outlook
    base = replace(outlook, shift=0.0, slope=1.0)
    mean, _ = base.predict(masks)
    centered = mean - mean.mean()
    prior = slope_strength**2
    slope = max((float(centered @ (values - values.mean())) + prior) / (float(centered @ centered) + prior), 0.0)
    shift = float(values.mean() - slope * mean.mean())
    left = values - shift - slope * mean
    error = float(np.sqrt((left @ left + outlook.extra_sd**2) / max(len(values) - 1, 1)))
    return replace(base, shift=shift, slope=slope, extra_sd=error)
