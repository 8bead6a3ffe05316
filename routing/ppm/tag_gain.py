"""The paper's gain per instance: what a model of tag counts predicts that one more instance with these tags adds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routing.ppm.proxy import masked_sums
from routing.ppm.regression import FittedModel, fit_model

Floats = NDArray[np.float64]
Masks = NDArray[np.uint8]

ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class TagGain:
    """gain [N]: f(x_i) − f(0) per instance; weights [F]: the same for an instance with that tag alone; the model f."""

    kind: str
    gain: Floats
    weights: Floats
    model: FittedModel

    def scores(self, tags: Masks, masks: Masks) -> Floats:
        """What f predicts for masks [M, N] of instances with tags [N, F] → [M]."""
        return self.model.predict(_counts(tags, masks))[0]


def fit_tag_gain(tags: Masks, masks: Masks, scores: Floats, kind: str = "linear_ols") -> TagGain:
    """Regress scores [M] of masks [M, N] on tag counts (as shares of the pool) of tags [N, F], then gains of single
    rows.

    For `linear_ols` the gain is w·x_i; for `quadratic_ols` f(x_i) − f(0). Raises ValueError as `fit_model` does.
    """
    size = max(len(tags), 1)
    model = fit_model(kind, _counts(tags, masks), scores)
    nothing = float(model.predict(np.zeros((1, tags.shape[1])))[0][0])
    parts = [
        model.predict(tags[start : start + ROWS_AT_ONCE].astype(np.float64) / size)[0]
        for start in range(0, len(tags), ROWS_AT_ONCE)
    ]
    single = model.predict(np.eye(tags.shape[1]) / size)[0]
    return TagGain(kind, np.concatenate(parts) - nothing, single - nothing, model)


def _counts(tags: Masks, masks: Masks) -> Floats:
    """How many instances with each tag a mix gives to people, as shares of the pool [M, F]."""
    return masked_sums(masks, tags.astype(np.float32)) / max(len(tags), 1)
