"""Warm start: what a preference model learned on other pools as the prior of the next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from routing.ppm.preference_model import PreferenceModel, Prior
from routing.ppm.signals import Signals

# How far a weight moves from one pool to the next, measured in nothing but the sizes of the priors of signals.py:
# half of a verdict's. The sign of the length's weight reverses between sets, so it must stay free to turn.
BETWEEN_POOLS = 0.35
LEAST_LABELS = 50
WORDING = "wording_"


@dataclass(frozen=True)
class Learned:
    """What one pool taught: mean and variance of each weight by its signal's name, people's accuracy, from n labels."""

    weights: Mapping[str, tuple[float, float]]
    accuracy: float
    labels: int


def learned_from(signals: Signals, model: PreferenceModel, labels: int) -> Learned:
    """What to keep of a fit. Wording's parts are principal parts of its own pool and mean nothing in another."""
    variance = np.diag(model.curvature.weights)
    weights = {
        name: (float(mean), float(var))
        for name, mean, var in zip(signals.names, model.beta, variance, strict=True)
        if not name.startswith(WORDING)
    }
    return Learned(weights, model.accuracy, labels)


def warm_prior(signals: Signals, before: Sequence[Learned]) -> Prior:
    """The prior of these signals given what other pools taught: of each weight the precision-weighted mean.

    Each pool counts with its weight's variance plus BETWEEN_POOLS², the plain prior as one pool more; so a prior is
    never wider than the plain one. Pools with fewer than LEAST_LABELS labels are left out.
    """
    plain = signals.prior
    mean, sd = plain.mean.copy(), plain.sd.copy()
    for n, name in enumerate(signals.names):
        seen = [one.weights[name] for one in before if one.labels >= LEAST_LABELS and name in one.weights]
        if not seen:
            continue
        precision = 1.0 / sd[n] ** 2 + sum(1.0 / (variance + BETWEEN_POOLS**2) for _, variance in seen)
        total = mean[n] / sd[n] ** 2 + sum(value / (variance + BETWEEN_POOLS**2) for value, variance in seen)
        mean[n], sd[n] = total / precision, max(1.0 / np.sqrt(precision), min(BETWEEN_POOLS, sd[n]))
    return replace(plain, mean=mean, sd=sd)


def warm_signals(signals: Signals, before: Sequence[Learned]) -> Signals:
    """The same signals with the prior that other pools taught."""
    return replace(signals, prior=warm_prior(signals, before))
