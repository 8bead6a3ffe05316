"""Davidson (1970): Bradley–Terry strengths from comparisons that may end in a tie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from feedback.aggregation.votes import Floats, Ints

FIRST, TIED, SECOND = 0, 1, 2


@dataclass(frozen=True)
class BradleyTerry:
    """``strength`` ``(n,)``: log worths with mean 0. ``tie``: ν, 0 when nothing tied. ``standard_error`` ``(n,)``:
    from the inverse Hessian. ``log_likelihood`` in nats, without the ridge."""

    strength: Floats
    tie: float
    standard_error: Floats
    log_likelihood: float
    converged: bool

    def probabilities(self, first: int, second: int) -> tuple[float, float, float]:
        """P(first wins), P(tie), P(second wins) of one comparison."""
        difference = float(self.strength[first] - self.strength[second])
        worth = np.array([np.exp(difference / 2), self.tie, np.exp(-difference / 2)])
        a, tie, b = (worth / worth.sum()).tolist()
        return a, tie, b


def davidson(
    first: ArrayLike,
    second: ArrayLike,
    outcome: ArrayLike,
    *,
    n: int | None = None,
    weights: ArrayLike | None = None,
    ridge: float = 1e-3,
    max_iterations: int = 100,
    tolerance: float = 1e-8,
) -> BradleyTerry:
    """Fit strengths ``θ`` and tie parameter ``ν`` to comparisons ``first[c]`` against ``second[c]``.

    ``outcome`` is 0 (first wins), 1 (tie) or 2 (second wins), ``weights`` counts each comparison.
    With ``d = θ_first − θ_second``: ``P ∝ (e^{d/2}, ν, e^{−d/2})``. The log likelihood is concave in ``(θ, log ν)``, so
    damped Newton steps find its maximum; ``ridge`` (a Gaussian prior with that precision on every ``θ``, and on
    ``log ν``) keeps undefeated and unconnected competitors finite. Source: Davidson, JASA 65(329), 1970.
    Raises ValueError for bad indices, outcomes or lengths.
    """
    games = _Games.of(first, second, outcome, n, weights)
    parameters = np.zeros(games.n + 1)
    converged = False
    for _ in range(max_iterations):
        gradient, hessian = games.derivatives(parameters, ridge)
        step: Floats = np.linalg.solve(hessian, gradient).astype(np.float64)
        step[: games.n] -= step[: games.n].mean()  # only differences count; along the rest a small ridge gives noise
        parameters = games.climb(parameters, step, ridge)
        if np.abs(step).max() < tolerance:
            converged = True
            break
    _, hessian = games.derivatives(parameters, ridge)
    inverse: Floats = np.linalg.inv(hessian).astype(np.float64)
    covariance = _centred(inverse[: games.n, : games.n])
    strength = parameters[: games.n] - parameters[: games.n].mean()
    tie = float(np.exp(parameters[-1])) if games.any_tie else 0.0
    error = np.sqrt(np.maximum(np.diag(covariance), 0))
    return BradleyTerry(strength, tie, error, games.log_likelihood(parameters), converged)


def _centred(covariance: Floats) -> Floats:
    n = covariance.shape[0]
    centre = np.eye(n) - 1.0 / n
    result: Floats = centre @ covariance @ centre
    return result


@dataclass(frozen=True)
class _Games:
    first: Ints
    second: Ints
    outcome: Ints
    weight: Floats
    n: int
    any_tie: bool

    @classmethod
    def of(
        cls, first: ArrayLike, second: ArrayLike, outcome: ArrayLike, n: int | None, weights: ArrayLike | None
    ) -> _Games:
        a, b, o = (np.asarray(column, dtype=np.int64) for column in (first, second, outcome))
        weight = np.ones(a.shape) if weights is None else np.asarray(weights, dtype=np.float64)
        if not a.ndim == 1 or not a.shape == b.shape == o.shape == weight.shape or not a.size:
            raise ValueError("first, second, outcome and weights need the same length, at least 1")
        n = int(max(a.max(), b.max())) + 1 if n is None else n
        if min(a.min(), b.min()) < 0 or max(a.max(), b.max()) >= n or (a == b).any():
            raise ValueError(f"competitors are numbered 0 to {n - 1} and never meet themselves")
        if not np.isin(o, (FIRST, TIED, SECOND)).all() or (weight < 0).any():
            raise ValueError("an outcome is 0, 1 or 2 and a weight is not negative")
        return cls(a, b, o, weight, n, bool(weight[o == TIED].sum() > 0))

    def _probabilities(self, parameters: Floats) -> Floats:
        """``(comparisons, 3)``; the tie column is 0 when nothing tied (ν at its limit 0)."""
        half = (parameters[self.first] - parameters[self.second]) / 2
        tie = np.full_like(half, parameters[-1]) if self.any_tie else np.full_like(half, -np.inf)
        scores = np.stack([half, tie, -half], axis=1)
        scores -= scores.max(axis=1, keepdims=True)
        mass = np.exp(scores)
        result: Floats = mass / mass.sum(axis=1, keepdims=True)
        return result

    def log_likelihood(self, parameters: Floats) -> float:
        chosen = self._probabilities(parameters)[np.arange(self.first.size), self.outcome]
        used = self.weight > 0
        return float((self.weight[used] * np.log(np.maximum(chosen[used], 1e-300))).sum())

    def _penalised(self, parameters: Floats, ridge: float) -> float:
        return self.log_likelihood(parameters) - ridge / 2 * float(parameters @ parameters)

    def climb(self, parameters: Floats, step: Floats, ridge: float) -> Floats:
        """The Newton step, halved until the penalised log likelihood does not fall."""
        before = self._penalised(parameters, ridge)
        for halvings in range(40):
            moved: Floats = parameters + step / 2**halvings
            if self._penalised(moved, ridge) >= before - 1e-12 * abs(before):
                return moved
        return parameters

    def derivatives(self, parameters: Floats, ridge: float) -> tuple[Floats, Floats]:
        """Gradient ``(n + 1,)`` and negated Hessian ``(n + 1, n + 1)`` of the penalised log likelihood."""
        p = self._probabilities(parameters)
        spread = (p[:, FIRST] - p[:, SECOND]) / 2
        seen = (self.outcome == FIRST) * 0.5 - (self.outcome == SECOND) * 0.5
        push = self.weight * (seen - spread)
        tied = self.weight * ((self.outcome == TIED) - p[:, TIED])
        gradient = -ridge * parameters
        np.add.at(gradient, self.first, push)
        np.add.at(gradient, self.second, -push)
        gradient[-1] += tied.sum()
        curve = self.weight * ((p[:, FIRST] + p[:, SECOND]) / 4 - spread**2)
        across = -self.weight * spread * p[:, TIED]
        hessian = np.eye(self.n + 1) * ridge
        for rows, columns, value in (
            (self.first, self.first, curve),
            (self.second, self.second, curve),
            (self.first, self.second, -curve),
            (self.second, self.first, -curve),
        ):
            np.add.at(hessian, (rows, columns), value)
        np.add.at(hessian[-1], self.first, across)
        np.add.at(hessian[-1], self.second, -across)
        hessian[:-1, -1] = hessian[-1, :-1]
        hessian[-1, -1] += float((self.weight * p[:, TIED] * (1 - p[:, TIED])).sum())
        return gradient, hessian
