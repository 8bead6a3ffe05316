"""What speaks for a rather than b in a pair before anybody labelled it: verdicts, lengths, format, wording.

Every signal changes its sign when the completions change sides, so the model cannot prefer a side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routing.features.embedding import FORMAT_DIMS
from routing.features.table import SIGNED_NAME, FeatureSet
from routing.ppm.preference_model import Prior, Sharing, sharing_of
from routing.ppm.proxy import principal_parts

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

WORDING_PARTS = 8
COMPLETION_STRENGTH = 0.7
HABIT_RIDGE = 1.0
TINY = 1e-9
# Prior mean and standard deviation of each kind of signal's weight, on signals of root mean square one (verdicts −1…1).
MAIN, PANEL, OTHER = (0.8, 0.7), (0.5, 0.5), (0.0, 0.5)
MAIN_HABIT, PANEL_HABIT = (0.4, 0.4), (0.2, 0.4)
LENGTH, LONGER, FORMAT, WORDING = (0.0, 0.4), (0.0, 0.3), (0.0, 0.2), (0.0, 0.2)


@dataclass(frozen=True)
class Verdicts:
    """Mean verdicts, −1 (b) … 1 (a), 0 for a tie or none: of the judge that is routed [N], and others' [N, J]."""

    main: Floats
    others: Floats


@dataclass(frozen=True)
class Signals:
    """The signals x [N, P] with their names, the prior of their weights, and which pairs share completions."""

    names: tuple[str, ...]
    x: Floats
    prior: Prior
    sharing: Sharing


def signals_of(
    verdicts: Verdicts, features: FeatureSet, group: Ints, a: Ints, b: Ints, other_names: Sequence[str] = ()
) -> Signals:
    """All signals of N pairs; group, a and b [N] number each pair's prompt and completions."""
    sharing = sharing_of(group, a, b)
    columns: list[tuple[str, Floats, tuple[float, float]]] = [("verdict", verdicts.main, MAIN)]
    panel = np.column_stack([verdicts.main, verdicts.others]).mean(axis=1)
    several = verdicts.others.shape[1] > 0
    if several:
        columns.append(("panel", _scaled(panel), PANEL))
        columns += [(name, verdicts.others[:, n], OTHER) for n, name in enumerate(other_names)]
    if sharing.groups:
        columns.append(("verdict_nearby", _scaled(margin_of_others(sharing, verdicts.main)), MAIN_HABIT))
        if several:
            columns.append(("panel_nearby", _scaled(margin_of_others(sharing, panel)), PANEL_HABIT))
    gap = features.table.column(SIGNED_NAME).astype(np.float64)
    columns += [("length", _scaled(gap), LENGTH), ("longer", _scaled(np.sign(gap)), LONGER)]
    form = features.difference[:, -FORMAT_DIMS + 1 :].astype(np.float64)
    columns += [(f"format_{n}", _scaled(form[:, n]), FORMAT) for n in range(form.shape[1])]
    parts = principal_parts(features.difference[:, :-FORMAT_DIMS], WORDING_PARTS).astype(np.float64)
    columns += [(f"wording_{n}", _scaled(parts[:, n]), WORDING) for n in range(parts.shape[1])]
    names, values, priors = zip(*columns, strict=True)
    mean, sd = np.array(priors, dtype=np.float64).T
    return Signals(tuple(names), np.column_stack(values), Prior(mean, sd, COMPLETION_STRENGTH), sharing)


def _scaled(values: Floats) -> Floats:
    """Divided by the root mean square: a signal's zero means something, so nothing is subtracted."""
    return np.asarray(values / max(float(np.sqrt(np.mean(values**2))), TINY), dtype=np.float64)


def margin_of_others(sharing: Sharing, verdict: Floats) -> Floats:
    """How far the judge's verdicts on a prompt's other pairs put a above b [N]: ridge scores of its completions, fitted
    without the pair itself (leave-one-out by leverage). 0 where there is no other pair.
    """
    out = np.zeros(len(verdict))
    inside = np.flatnonzero(sharing.group >= 0)
    if not len(inside):
        return out
    g, a, b = sharing.group[inside], sharing.a[inside], sharing.b[inside]
    grams = np.zeros((sharing.groups, sharing.most, sharing.most))
    diagonal = np.arange(sharing.most)
    grams[:, diagonal, diagonal] = HABIT_RIDGE
    totals = np.zeros((sharing.groups, sharing.most))
    for one, other, sign in ((a, b, 1.0), (b, a, -1.0)):
        np.add.at(grams, (g, one, one), 1.0)
        np.add.at(grams, (g, one, other), -1.0)
        np.add.at(totals, (g, one), sign * verdict[inside])
    inverse = np.linalg.inv(grams)
    scores = np.einsum("gkl,gl->gk", inverse, totals)
    leverage = inverse[g, a, a] + inverse[g, b, b] - 2.0 * inverse[g, a, b]
    fitted = scores[g, a] - scores[g, b]
    out[inside] = (fitted - leverage * verdict[inside]) / (1.0 - leverage)
    return out
